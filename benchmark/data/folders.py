"""Anyone's own pictures: a TOML file that names two folders, or one folder and a camera."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from dataclasses import fields
from math import isfinite
from pathlib import Path
from typing import Any

from dabench.core import Camera, DabenchError, Domains, Protocol, Recipe, Task, nearest
from dabench.data.cameras import CAMERAS
from dabench.data.corruptions import CORRUPTIONS, Corruption
from dabench.data.pictures import HOLDOUT, TRANSDUCTIVE, classes_in, pictures_in, split, unsorted_pictures_in


def load_folders(task: Task, root: Path, cache: Path, protocol: Protocol) -> Domains:
    """Two folders of pictures by class, or one folder and the same pictures behind the task's camera.

    The target's pictures may lie in its folder without classes.
    """
    source = pictures_in(task.folders[0], task.class_names)
    target = pictures_in(task.folders[-1], task.class_names) if task.scored else unsorted_pictures_in(task.folders[-1])
    source_train, source_test = split(source, cache, task.image_shape, HOLDOUT)
    target_train, target_test = split(target, cache, task.image_shape, protocol, task.camera)
    return Domains(source_train, source_test, target_train, target_test)


def check_task_name(name: str, file: Path) -> None:
    """Raises DabenchError for a name that could not be that of a folder of results."""
    if not re.fullmatch(r"\w[\w.-]{0,99}", name):
        raise DabenchError(
            f"{file}: name = {name!r} may hold up to 100 letters, digits, '-', '_' and '.', the first a letter or digit"
        )


_TOML_TYPES = {
    "name": str,
    "source": str,
    "target": str,
    "camera": str,
    "angle": float,
    "exponents": list,
    "severity": int,
    "backbone": str,
    "checkpoint": str,
    "mean": list,
    "std": list,
    "protocol": str,
    "image_size": int,
    "source_steps": int,
    "steps": int,
    "batch_size": int,
    "flip": bool,
    "crop": int,
}
_LARGEST = 10_000_000  # of whole numbers: a mistyped one would run for years


def task_from_toml(path: Path) -> Task:
    """The task a TOML file declares: `name`, `source`, and `target` or `camera`.

    Folders are relative to the file, `~` is the home folder. Optional: `angle` (rotated), `exponents` (power),
    `severity` (a corruption), `backbone`, `checkpoint` (the source model's own weights, with `mean` and `std` of its
    images), `protocol`, `image_size`, `source_steps`, `steps`, `batch_size`, `flip`, `crop`. Raises DabenchError that
    names the file, the key and the remedy; the folders are looked into, and no picture is decoded.
    """
    try:
        # Windows editors begin a file with a byte-order mark.
        declared = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        remedy = "; save it as UTF-8" if isinstance(error, UnicodeDecodeError) else ""
        raise DabenchError(f"cannot read the task file {path}: {error}{remedy}") from error
    _check_toml(path, declared)
    camera = _toml_camera(path, declared) if "camera" in declared else None
    names = ("source",) if camera else ("source", "target")
    folders = tuple(_located(path, declared, name) for name in names)
    protocols = (HOLDOUT,) if camera else (HOLDOUT, TRANSDUCTIVE)
    chosen = declared.get("protocol", "holdout")
    if chosen not in [protocol.name for protocol in protocols]:
        known = ", ".join(protocol.name for protocol in protocols)
        raise DabenchError(f"{path}: protocol = '{chosen}' is not to be had here; choose: {known}")
    size = declared.get("image_size", 224)
    crop = declared.get("crop", size // 14)
    if crop >= size:
        raise DabenchError(f"{path}: crop = {crop} must be less than image_size = {size}")
    if len(set(folders)) < len(names):
        raise DabenchError(f"{path}: source and target are the same folder, {folders[0]}; name two, or a camera")
    unsorted = len(folders) > 1 and len(unsorted_pictures_in(folders[1])) > 1
    class_names = _common_classes(path, folders[:1] if unsorted else folders)
    pretrained = "checkpoint" in declared
    backbone = declared.get("backbone", "resnet18")
    return Task(
        name=declared["name"],
        family="own",
        source=folders[0].name,
        target=declared["camera"] if camera else folders[1].name,
        class_names=class_names,
        image_shape=(3, size, size),
        backbone=_toml_checkpoint(path, declared, backbone, len(class_names), size) if pretrained else backbone,
        recipe=Recipe(
            source_steps=declared.get("source_steps", 1500),
            source_lr=1e-4,
            steps=declared.get("steps", 2000),
            batch_size=declared.get("batch_size", 32),
            flip=declared.get("flip", False),
            crop=crop,
        ),
        protocols=tuple(sorted(protocols, key=lambda protocol: protocol.name != chosen)),
        load=load_folders,
        folders=folders,
        camera=camera,
        pretrained=pretrained,
        scored=not unsorted,
        note=f"declared in {path.name}" + ("; the target has no labels, so nothing is scored" if unsorted else ""),
    )


def _toml_checkpoint(path: Path, declared: dict[str, Any], backbone: str, num_classes: int, size: int) -> str:
    """The name by which the declared checkpoint is built."""
    from dabench.models.own import Checkpoint, enrolled, is_torchscript  # brings torch along

    file = _located(path, declared, "checkpoint")
    architecture = "" if is_torchscript(file) else backbone
    mean, std = (tuple(map(float, declared[key])) if key in declared else None for key in ("mean", "std"))
    return enrolled(Checkpoint(file, architecture, num_classes, (3, size, size), mean, std))


def _located(path: Path, declared: dict[str, Any], key: str) -> Path:
    """The file or folder that a key names."""
    try:
        place = (path.parent / Path(declared[key]).expanduser()).resolve()
        place.exists()
    except (OSError, ValueError, RuntimeError) as error:
        raise DabenchError(f"{path}: {key} = {declared[key]!r} is no path: {error}") from error
    return place


def _common_classes(path: Path, folders: tuple[Path, ...]) -> tuple[str, ...]:
    """The classes that every folder has, each of two pictures or more; raises DabenchError where they differ."""
    class_names = classes_in(folders[0])
    for folder in folders[1:]:
        differing = sorted(set(classes_in(folder)) ^ set(class_names))
        if differing:
            cases = Counter(name.casefold() for name in differing)
            case = " (some differ in letter case alone)" if max(cases.values()) > 1 else ""
            raise DabenchError(
                f"the classes of {folder} differ from those of {folders[0]} in: {', '.join(differing)}{case}; "
                "give both folders the same class folders"
            )
    if len(class_names) == 1:
        raise DabenchError(f"{path}: {folders[0]} has one class, '{class_names[0]}'; give two or more to tell apart")
    for folder in folders:
        counts = Counter(picture.label for picture in pictures_in(folder, class_names))
        few = [class_names[label] for label, count in sorted(counts.items()) if count < 2]
        if few:
            raise DabenchError(
                f"{folder} has one picture of: {', '.join(few)}; give every class at least two, one to train on and "
                "one to score (five or more are better)"
            )
    return class_names


def _check_toml(path: Path, declared: dict[str, Any]) -> None:
    for key, value in declared.items():
        if key not in _TOML_TYPES:
            raise DabenchError(f"{path}: unknown key '{key}'; {nearest(key, _TOML_TYPES)}")
        _check_value(path, key, value)
        if key in ("mean", "std") and "checkpoint" not in declared:
            raise DabenchError(f'{path}: {key} belongs to a checkpoint; add checkpoint = "...", or remove {key}')
    for key in ("name", "source"):
        if not declared.get(key):
            raise DabenchError(f"{path}: the key '{key}' is missing; add: {key} = \"...\"")
    if ("target" in declared) == ("camera" in declared):
        raise DabenchError(
            f"{path}: give either target (a folder) or camera ({', '.join([*CAMERAS, *CORRUPTIONS])}), not both or none"
        )
    check_task_name(declared["name"], path)


def _check_value(path: Path, key: str, value: Any) -> None:
    wanted = _TOML_TYPES[key]
    if wanted is float:
        fits = _is_number(value)
    else:
        fits = isinstance(value, wanted) and isinstance(value, bool) == (wanted is bool)
    if not fits:
        kind = "a finite number" if wanted is float else f"of type {wanted.__name__}"
        raise DabenchError(f"{path}: {key} = {value!r} must be {kind}")
    # Batch norm and covariances need two images; the smallest side is that of --image-size.
    least = {"crop": 0, "batch_size": 2, "image_size": 8}.get(key, 1)
    if wanted is int and not least <= value <= _LARGEST:
        raise DabenchError(f"{path}: {key} = {value} must be {least} or more, and at most {_LARGEST:,}")
    if key in ("mean", "std"):
        if len(value) != 3 or not all(_is_number(one) for one in value):
            raise DabenchError(f"{path}: {key} = {value} must be 3 numbers, for red, green and blue in [0, 1]")
        if key == "std" and min(value) <= 0:
            raise DabenchError(f"{path}: std = {value} must be above 0")


def _is_number(value: Any) -> bool:
    """A whole or real number that is finite as a float."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30 and isfinite(value)


def _toml_camera(path: Path, declared: dict[str, Any]) -> Camera:
    name, known = declared["camera"], [*CAMERAS, *CORRUPTIONS]
    if name not in known:
        raise DabenchError(f"{path}: unknown camera '{name}'; {nearest(name, known)}")
    given = {"rotated": "angle", "power": "exponents"}.get(name, "severity")
    for key in sorted({"angle", "exponents", "severity"} & declared.keys()):
        if key != given:
            raise DabenchError(f"{path}: the camera '{name}' has no '{key}'; it takes '{given}'")
    if name in CORRUPTIONS:
        return Corruption(name, declared.get("severity", 5))
    camera = CAMERAS[name]()
    count = len(fields(camera))
    if given not in declared:
        return camera
    values = declared[given] if given == "exponents" else [declared[given]]
    if len(values) != count or not all(_is_number(value) for value in values):
        raise DabenchError(f"{path}: {given} = {values} must be {count} numbers")
    return type(camera)(*map(float, values))
