"""Anyone's own pictures: a TOML file that names two folders, or one folder and a camera."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from dabench.core import Camera, DabenchError, Domains, Protocol, Recipe, Task, nearest
from dabench.data.cameras import CAMERAS
from dabench.data.pictures import HOLDOUT, TRANSDUCTIVE, classes_in, pictures_in, split


def load_folders(task: Task, root: Path, cache: Path, protocol: Protocol) -> Domains:
    """Two folders of pictures by class, or one folder and the same pictures behind the task's camera."""
    for folder in task.folders:
        differing = sorted(set(classes_in(folder)) ^ set(task.class_names))
        if differing:
            raise DabenchError(
                f"the classes of {folder} differ from those of {task.folders[0]} in: {', '.join(differing)}; "
                "give both folders the same class folders"
            )
    source, target = (pictures_in(folder, task.class_names) for folder in (task.folders[0], task.folders[-1]))
    source_train, source_test = split(source, cache, task.image_shape, HOLDOUT)
    target_train, target_test = split(target, cache, task.image_shape, protocol, task.camera)
    return Domains(source_train, source_test, target_train, target_test)


_TOML_TYPES = {
    "name": str,
    "source": str,
    "target": str,
    "camera": str,
    "angle": float,
    "exponents": list,
    "backbone": str,
    "checkpoint": str,
    "mean": list,
    "std": list,
    "protocol": str,
    "image_size": int,
    "source_steps": int,
    "steps": int,
    "batch_size": int,
}


def task_from_toml(path: Path) -> Task:
    """The task a TOML file declares: `name`, `source`, and `target` or `camera`.

    Folders are relative to the file. Optional: `angle` (rotated), `exponents` (power), `backbone`,
    `checkpoint` (the source model's own weights, with `mean` and `std` of its images), `protocol`,
    `image_size`, `source_steps`, `steps`, `batch_size`. Raises DabenchError that names the file, the key
    and the remedy.
    """
    try:
        declared = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DabenchError(f"cannot read the task file {path}: {error}") from error
    _check_toml(path, declared)
    camera = _toml_camera(path, declared) if "camera" in declared else None
    names = ("source",) if camera else ("source", "target")
    folders = tuple((path.parent / declared[name]).resolve() for name in names)
    protocols = (HOLDOUT,) if camera else (HOLDOUT, TRANSDUCTIVE)
    chosen = declared.get("protocol", "holdout")
    if chosen not in [protocol.name for protocol in protocols]:
        known = ", ".join(protocol.name for protocol in protocols)
        raise DabenchError(f"{path}: protocol = '{chosen}' is not to be had here; choose: {known}")
    size = declared.get("image_size", 224)
    class_names = classes_in(folders[0])
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
            flip=True,
            crop=size // 14,
        ),
        protocols=tuple(sorted(protocols, key=lambda protocol: protocol.name != chosen)),
        load=load_folders,
        folders=folders,
        camera=camera,
        pretrained=pretrained,
        note=f"declared in {path.name}",
    )


def _toml_checkpoint(path: Path, declared: dict[str, Any], backbone: str, num_classes: int, size: int) -> str:
    """The name by which the declared checkpoint is built."""
    from dabench.models.own import Checkpoint, enrolled, is_torchscript  # brings torch along

    file = (path.parent / declared["checkpoint"]).resolve()
    architecture = "" if is_torchscript(file) else backbone
    mean, std = (tuple(map(float, declared[key])) if key in declared else None for key in ("mean", "std"))
    return enrolled(Checkpoint(file, architecture, num_classes, (3, size, size), mean, std))


def _check_toml(path: Path, declared: dict[str, Any]) -> None:
    for key, value in declared.items():
        if key not in _TOML_TYPES:
            raise DabenchError(f"{path}: unknown key '{key}'; {nearest(key, _TOML_TYPES)}")
        wanted = _TOML_TYPES[key]
        fits = isinstance(value, (int, float) if wanted is float else wanted) and not isinstance(value, bool)
        if not fits:
            raise DabenchError(f"{path}: {key} = {value!r} must be of type {wanted.__name__}")
        if wanted is int and value < 1:
            raise DabenchError(f"{path}: {key} = {value} must be 1 or more")
        if key in ("mean", "std") and (len(value) != 3 or not all(isinstance(one, int | float) for one in value)):
            raise DabenchError(f"{path}: {key} = {value} must be 3 numbers, for red, green and blue in [0, 1]")
        if key in ("mean", "std") and "checkpoint" not in declared:
            raise DabenchError(f'{path}: {key} belongs to a checkpoint; add checkpoint = "...", or remove {key}')
    for key in ("name", "source"):
        if not declared.get(key):
            raise DabenchError(f"{path}: the key '{key}' is missing; add: {key} = \"...\"")
    if ("target" in declared) == ("camera" in declared):
        raise DabenchError(f"{path}: give either target (a folder) or camera ({', '.join(CAMERAS)}), not both or none")
    if not re.fullmatch(r"[\w.-]+", declared["name"]):
        raise DabenchError(f"{path}: name = '{declared['name']}' may hold letters, digits, '-', '_' and '.' only")


def _toml_camera(path: Path, declared: dict[str, Any]) -> Camera:
    if declared["camera"] not in CAMERAS:
        raise DabenchError(f"{path}: unknown camera '{declared['camera']}'; {nearest(declared['camera'], CAMERAS)}")
    camera = CAMERAS[declared["camera"]]()
    count = len(fields(camera))
    given = {"rotated": "angle", "power": "exponents"}[declared["camera"]]
    for key in {"angle", "exponents"} & declared.keys():
        if key != given:
            raise DabenchError(f"{path}: the camera '{declared['camera']}' has no '{key}'; it takes '{given}'")
    if given not in declared:
        return camera
    values = declared[given] if given == "exponents" else [declared[given]]
    if len(values) != count or not all(isinstance(value, (int, float)) for value in values):
        raise DabenchError(f"{path}: {given} = {values} must be {count} numbers")
    return type(camera)(*map(float, values))
