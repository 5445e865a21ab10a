"""Data sets on disk to uint8 arrays: which files must exist, how to get them, how they are read.

Small official files are read into memory; folders and archives of pictures are decoded once into a
memory-mapped array. Splits that the releases lack are made by a hash of the file names, so that they are
the same everywhere.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
import tarfile
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from dabench.cameras import CAMERAS
from dabench.checkpoints import Checkpoint, enrolled, is_torchscript
from dabench.core import Camera, DabenchError, Domain, Domains, MissingData, Protocol, Recipe, Task, nearest


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One data set's facts, the files it needs under the data root, and how to fetch them.

    `files(root)` lists the files and raises MissingData with a remedy; `download(root)` is None where the
    licence asks everyone to fetch it for themselves. `size` is the download's.
    """

    name: str
    licence: str
    citation: str
    homepage: str
    size: str
    files: Callable[[Path], list[Path]]
    download: Callable[[Path], None] | None = None


def _existing(name: str, paths: list[Path]) -> list[Path]:
    for path in paths:
        if not path.is_file():
            raise MissingData(f"{name}: {path} is missing; `dabench data download {name}` fetches it")
    return paths


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what a reader raises on a truncated or corrupt file into one clear error."""
    try:
        yield
    except (
        OSError,
        AssertionError,
        RuntimeError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        EOFError,
    ) as error:
        remedy = "the file is truncated or corrupt; delete it and fetch it again"
        raise DabenchError(f"cannot read {path}: {error or type(error).__name__}; {remedy}") from error


# MNIST, USPS, SVHN, CIFAR-10: the official files, small enough to hold in memory


def _mnist_files(root: Path) -> list[Path]:
    parts = [f"{split}-{part}" for split in ("train", "t10k") for part in ("images-idx3", "labels-idx1")]
    return _existing("mnist", [root / "MNIST" / "raw" / f"{part}-ubyte" for part in parts])


def _download_mnist(root: Path) -> None:
    from torchvision.datasets import MNIST

    MNIST(root, download=True)


def mnist(root: Path, split: str) -> Domain:
    """MNIST's "train" (60,000) or "test" (10,000) split: (n, 1, 28, 28)."""
    images, labels = _mnist_files(root)[:2] if split == "train" else _mnist_files(root)[2:]
    return Domain(_idx(images)[:, None], _idx(labels).astype(np.int64))


def _idx(path: Path) -> np.ndarray:
    from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

    with _reading(path):
        return read_sn3_pascalvincent_tensor(path).numpy()


def _usps_files(root: Path) -> list[Path]:
    return _existing("usps", [root / "USPS" / "usps.bz2", root / "USPS" / "usps.t.bz2"])


def _download_usps(root: Path) -> None:
    from torchvision.datasets import USPS

    (root / "USPS").mkdir(parents=True, exist_ok=True)
    for train in (True, False):
        USPS(root / "USPS", train=train, download=True)


def usps(root: Path, split: str) -> Domain:
    """USPS's "train" (7,291) or "test" (2,007) split: (n, 1, 16, 16)."""
    from torchvision.datasets import USPS

    path = _usps_files(root)[split == "test"]
    with _reading(path):
        stored = USPS(path.parent, train=split == "train")
    return Domain(stored.data[:, None], np.array(stored.targets, np.int64))


def _svhn_files(root: Path) -> list[Path]:
    return _existing("svhn", [root / "SVHN" / "train_32x32.mat", root / "SVHN" / "test_32x32.mat"])


def _download_svhn(root: Path) -> None:
    from torchvision.datasets import SVHN

    for split in ("train", "test"):
        SVHN(root / "SVHN", split=split, download=True)


def svhn(root: Path, split: str) -> Domain:
    """SVHN's "train" (73,257) or "test" (26,032) split of cropped digits: (n, 3, 32, 32)."""
    from scipy.io import loadmat

    path = _svhn_files(root)[split == "test"]
    with _reading(path):
        stored = loadmat(path)
        images = np.ascontiguousarray(stored["X"].transpose(3, 2, 0, 1))
        return Domain(images, stored["y"].ravel().astype(np.int64) % 10)  # the files call zero 10


def _cifar10_files(root: Path) -> list[Path]:
    batches = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    return _existing("cifar10", [root / "cifar-10-batches-py" / batch for batch in batches])


def _download_cifar10(root: Path) -> None:
    from torchvision.datasets import CIFAR10

    CIFAR10(root, download=True)


class _ArraysOnly(pickle.Unpickler):
    """CIFAR-10 comes pickled; this reads its arrays and lists and runs nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {"_reconstruct": np.zeros(0).__reduce__()[0], "ndarray": np.ndarray, "dtype": np.dtype}
        if module.partition(".")[0] != "numpy" or name not in allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR-10 file does")
        return allowed[name]


def cifar10(root: Path, split: str) -> Domain:
    """CIFAR-10's "train" (50,000) or "test" (10,000) split: (n, 3, 32, 32)."""
    files = _cifar10_files(root)
    images, labels = [], []
    for path in files[:5] if split == "train" else files[5:]:
        with _reading(path), open(path, "rb") as file:
            try:
                batch = _ArraysOnly(file, encoding="latin1").load()
            except pickle.UnpicklingError as error:
                raise ValueError(str(error)) from error
            images.append(batch["data"].reshape(-1, 3, 32, 32))
            labels.append(np.array(batch["labels"], np.int64))
    return Domain(np.concatenate(images), np.concatenate(labels))


# Pictures: files of any size, in folders by class or inside an archive


@dataclass(frozen=True)
class Picture:
    """An encoded picture and its class: a file, or `size` bytes from `offset` of an uncompressed archive."""

    name: str
    label: int
    path: Path
    offset: int = 0
    size: int = -1

    def decoded(self, image_shape: tuple[int, int, int], resize: int) -> np.ndarray:
        """The shorter side resized to `resize` (bicubic), then the centre cropped: uint8 `image_shape`."""
        from PIL import Image

        channels, height, width = image_shape
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                picture = Image.open(io.BytesIO(file.read(self.size))).convert("L" if channels == 1 else "RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            inside = f" inside {self.path}" if self.size >= 0 else f" ({self.path})"
            raise DabenchError(f"cannot decode {self.name}{inside}: {error}; fetch it again or remove it") from error
        scale = resize / min(picture.size)
        across, down = (max(resize, round(side * scale)) for side in picture.size)
        picture = picture.resize((across, down), Image.Resampling.BICUBIC)
        left, top = (across - width) // 2, (down - height) // 2
        pixels = np.asarray(picture.crop((left, top, left + width, top + height)))
        return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"}
_IN_MEMORY = 64_000_000  # bytes; larger arrays stay on disk
_DECODED_AT_ONCE = 256


def classes_in(folder: Path) -> tuple[str, ...]:
    """The names of the folders inside `folder`, sorted; raises MissingData where there is no such folder."""
    if not folder.is_dir():
        raise MissingData(f"{folder} is no folder; it must hold one folder of pictures a class")
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise DabenchError(f"{folder} has no class folders; put the pictures into {folder}/<class>/")
    return tuple(names)


def pictures_in(folder: Path, class_names: tuple[str, ...]) -> list[Picture]:
    """Every picture of `folder`/<class>/ in a mixed order; raises DabenchError for an empty class.

    The order is that of a hash of the names: class by class, it would tell the labels, and a batch hold one class.
    """
    pictures = []
    for label, name in enumerate(class_names):
        paths = sorted((folder / name).glob("*"))
        found = [path for path in paths if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")]
        if not found:
            raise DabenchError(f"class '{name}' has no pictures: put some into {folder / name} or remove the folder")
        pictures += [Picture(f"{name}/{path.name}", label, path) for path in found]
    return sorted(pictures, key=_place)


def _place(picture: Picture) -> bytes:
    return hashlib.sha256(Path(picture.name).with_suffix("").as_posix().encode()).digest()


def held_out(pictures: list[Picture], fraction: float) -> tuple[list[Picture], list[Picture]]:
    """Splits each class by a fixed hash of the file names: those to keep, then `fraction` of them held out.

    A class of two pictures or more leaves at least one on either side; both sides keep the order they had.
    """
    out = set()
    for label in sorted({picture.label for picture in pictures}):
        mine = [picture for picture in pictures if picture.label == label]
        ranked = sorted(mine, key=lambda picture: hashlib.sha256(Path(picture.name).stem.encode()).digest())
        count = min(max(1, round(fraction * len(mine))), len(mine) - 1)
        out.update(ranked[:count])
    return [picture for picture in pictures if picture not in out], [picture for picture in pictures if picture in out]


def decoded(
    pictures: list[Picture],
    cache: Path,
    image_shape: tuple[int, int, int],
    resize: int | None = None,
    camera: Camera | None = None,
) -> Domain:
    """The pictures as one array, behind a camera where one is given; decoded once, then kept in `cache`.

    The shorter side becomes `resize` (by default the height of `image_shape`), then the centre is cropped.
    """
    resize = resize or image_shape[1]
    labels = np.array([picture.label for picture in pictures], np.int64)
    stats = {path: path.stat() for path in {picture.path for picture in pictures}}
    key = hashlib.sha256(repr((image_shape, resize, camera)).encode())
    for picture in pictures:
        stat = stats[picture.path]
        key.update(repr((picture.name, picture.offset, picture.size, stat.st_size, stat.st_mtime_ns)).encode())
    path = cache / f"{key.hexdigest()[:24]}.npy"
    if not path.exists():
        _decode(pictures, path, image_shape, resize, camera)
    try:
        large = path.stat().st_size > _IN_MEMORY
        # Copy on write: torch warns of arrays that it cannot write to, and nobody writes to this one.
        return Domain(np.load(path, mmap_mode="c" if large else None), labels)
    except (OSError, ValueError, EOFError) as error:
        raise DabenchError(f"cannot read the decoded pictures {path}: {error}; delete that file") from error


def split(
    pictures: list[Picture],
    cache: Path,
    image_shape: tuple[int, int, int],
    protocol: Protocol,
    camera: Camera | None = None,
) -> tuple[Domain, Domain]:
    """Those to train on and those to score: 80 % and 20 % of each class, or twice all where transductive."""
    kept, out = held_out(pictures, 0.2)
    domain = decoded(kept + out, cache, image_shape, camera=camera)
    return (domain, domain) if protocol.transductive else (domain[: len(kept)], domain[len(kept) :])


def _decode(
    pictures: list[Picture], path: Path, image_shape: tuple[int, int, int], resize: int, camera: Camera | None
) -> None:
    """Writes the array beside its place, then moves it. Plain writes, so that a full disk is an OSError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            try:
                header = {"descr": "|u1", "fortran_order": False, "shape": (len(pictures), *image_shape)}
                np.lib.format.write_array_header_1_0(file, header)
                with ThreadPoolExecutor(os.cpu_count()) as threads:  # decoding releases the interpreter lock
                    for start in range(0, len(pictures), _DECODED_AT_ONCE):
                        some = pictures[start : start + _DECODED_AT_ONCE]
                        images = np.stack(list(threads.map(lambda one: one.decoded(image_shape, resize), some)))
                        file.write((camera.apply(images) if camera else images).tobytes())
                file.close()
                os.replace(file.name, path)
            finally:
                Path(file.name).unlink(missing_ok=True)
    except OSError as error:
        raise DabenchError(
            f"cannot keep decoded pictures in {path.parent}: {error}; free the disk or choose another cache"
        ) from error


# PACS


PACS_CLASSES = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
PACS_DOMAINS = {"art": "art_painting", "cartoon": "cartoon", "photo": "photo", "sketch": "sketch"}


def pacs(root: Path, domain: str) -> list[Picture]:
    """The pictures of one PACS domain, from pacs/<domain>/<class>/."""
    folder = root / "pacs" / PACS_DOMAINS[domain]
    for name in PACS_CLASSES:
        if not (folder / name).is_dir():
            raise MissingData(f"pacs: {folder / name} is missing; `dabench data download pacs` fetches it")
    return pictures_in(folder, PACS_CLASSES)


_PACS_OFFICIAL = {"art": 2048, "cartoon": 2344, "photo": 1670, "sketch": 3929}


def pacs_partial(root: Path, *domains: str) -> str:
    """In words, which of these domains have fewer pictures than the release; empty where none has."""
    counts = {domain: len(pacs(root, domain)) for domain in domains}
    short = [
        f"{count:,} of {_PACS_OFFICIAL[domain]:,} {domain} pictures"
        for domain, count in counts.items()
        if count != _PACS_OFFICIAL[domain]
    ]
    return ", ".join(short)


def _pacs_files(root: Path) -> list[Path]:
    return [picture.path for domain in PACS_DOMAINS for picture in pacs(root, domain)]


def _download_pacs(root: Path) -> None:
    from datasets import Image, load_dataset

    rows = load_dataset("flwrlabs/pacs", split="train").cast_column("image", Image(decode=False))
    known = rows.features["label"].names
    for index, row in enumerate(rows):
        domain, label = row["domain"], known[row["label"]]
        if domain not in PACS_DOMAINS.values() or label not in PACS_CLASSES:
            raise DabenchError(f"flwrlabs/pacs holds an unknown domain or class: {domain}/{label}")
        name = Path(row["image"]["path"] or f"{index:05d}.png").name
        path = root / "pacs" / domain / label / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(row["image"]["bytes"])


# ImageNet's validation pictures and imagenette


_VALIDATION_TAR = "ILSVRC2012_img_val.tar"
_DEVKIT = "ILSVRC2012_devkit_t12"
_GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"


def _imagenet_files(root: Path) -> list[Path]:
    """The archive, or pictures under their official names or in folders by class; the devkit where needed."""
    folder = root / "imagenet"
    by_class = sorted((folder / "val").glob("n*/*.JPEG"))
    if by_class:
        return by_class
    archive = folder / _VALIDATION_TAR
    found = [archive] if archive.is_file() else sorted((folder / "val").glob("ILSVRC2012_val_*.JPEG"))
    if not found:
        raise MissingData(
            f"imagenet: neither {archive} nor pictures in {folder / 'val'}; its licence asks you to fetch "
            f"{_VALIDATION_TAR} from https://image-net.org/download-images for yourself"
        )
    devkit = [folder / f"{_DEVKIT}.tar.gz"]
    if not devkit[0].is_file():
        devkit = [folder / _DEVKIT / "data" / name for name in ("meta.mat", _GROUND_TRUTH)]
    for path in devkit:
        if not path.is_file():
            raise MissingData(
                f"imagenet: {folder / _DEVKIT}.tar.gz, which holds the labels, is missing; fetch it from "
                "https://image-net.org/download-images, or sort the pictures into val/<wnid>/"
            )
    return [*found, *devkit]


def imagenet(root: Path) -> list[Picture]:
    """ILSVRC2012's validation pictures in the order of their IDs, labelled by sorted WordNet IDs."""
    files = _imagenet_files(root)
    if files[0].parent.name.startswith("n"):
        classes = {wnid: index for index, wnid in enumerate(_wnids())}
        for path in files:
            if path.parent.name not in classes:
                raise DabenchError(f"{path.parent} is no class of ILSVRC2012; remove it")
        pictures = [Picture(path.name, classes[path.parent.name], path) for path in files]
        return sorted(pictures, key=lambda picture: picture.name)
    labels = _imagenet_labels(root / "imagenet")
    if files[0].suffix == ".tar":
        with _reading(files[0]), tarfile.open(files[0], "r:") as archive:
            members = [member for member in archive if member.isfile() and member.name.endswith(".JPEG")]
        found = [(Path(member.name).name, files[0], member.offset_data, member.size) for member in members]
    else:
        found = [(path.name, path, 0, -1) for path in files if path.suffix == ".JPEG"]
    pictures = []
    for name, path, offset, size in sorted(found):
        number = Path(name).stem.rpartition("_")[2]
        if not number.isdigit() or not 1 <= int(number) <= len(labels):
            raise DabenchError(f"{name} in {path} is not named ILSVRC2012_val_<00000001 to {len(labels):08d}>.JPEG")
        pictures.append(Picture(name, labels[int(number) - 1], path, offset, size))
    return pictures


def _wnids() -> list[str]:
    from timm.data import ImageNetInfo

    return ImageNetInfo("imagenet-1k").label_names()


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"{name} inside it is not a file")
    return file.read()


def _imagenet_labels(folder: Path) -> list[int]:
    """The label of each validation ID: the devkit's own class numbers, translated to sorted WordNet IDs."""
    from scipy.io import loadmat

    archive = folder / f"{_DEVKIT}.tar.gz"
    if archive.is_file():
        with _reading(archive), tarfile.open(archive, "r:gz") as devkit:
            meta, truth = (_member(devkit, f"{_DEVKIT}/data/{name}") for name in ("meta.mat", _GROUND_TRUTH))
    else:
        archive = folder / _DEVKIT / "data"
        meta, truth = ((archive / name).read_bytes() for name in ("meta.mat", _GROUND_TRUTH))
    with _reading(archive):
        synsets = loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
        leaves = [entry for entry in synsets if entry["num_children"] == 0]
        numbers = {int(entry["ILSVRC2012_ID"]): str(entry["WNID"]) for entry in leaves}
        order = {wnid: index for index, wnid in enumerate(sorted(numbers.values()))}
        return [order[numbers[int(line)]] for line in truth.split()]


# The order of the class indices, with their places among ImageNet's thousand logits.
IMAGENETTE_CLASSES = {
    "n01440764": ("tench", 0),
    "n02102040": ("English springer", 217),
    "n02979186": ("cassette player", 482),
    "n03000684": ("chain saw", 491),
    "n03028079": ("church", 497),
    "n03394916": ("French horn", 566),
    "n03417042": ("garbage truck", 569),
    "n03425413": ("gas pump", 571),
    "n03445777": ("golf ball", 574),
    "n03888257": ("parachute", 701),
}
_IMAGENETTE_FOLDERS = ("imagenette2", "imagenette2-320", "imagenette2-224")


def _imagenette_folder(root: Path) -> Path:
    for name in _IMAGENETTE_FOLDERS:
        if (root / name).is_dir():
            return root / name
    places = ", ".join(_IMAGENETTE_FOLDERS)
    raise MissingData(f"imagenette: {root} has none of {places}; `dabench data download imagenette` fetches it")


def imagenette(root: Path, split: str) -> list[Picture]:
    """Imagenette's pictures of the split "train" (9,469 in the release) or "val" (3,925)."""
    folder = _imagenette_folder(root) / split
    for wnid in IMAGENETTE_CLASSES:
        if not (folder / wnid).is_dir():
            raise MissingData(f"imagenette: {folder / wnid} is missing; `dabench data download imagenette` fetches it")
    return pictures_in(folder, tuple(IMAGENETTE_CLASSES))


def imagenette_resize(root: Path, height: int) -> int:
    """What the shorter side becomes before the crop: 8/7 of `height`, or that itself where 224 is stored."""
    return height if _imagenette_folder(root).name.endswith("-224") else round(height * 8 / 7)


def _imagenette_files(root: Path) -> list[Path]:
    return [picture.path for split in ("train", "val") for picture in imagenette(root, split)]


def _download_imagenette(root: Path) -> None:
    from torchvision.datasets import Imagenette

    Imagenette(root, split="train", size="320px", download=True)


# Anyone's own folders


HOLDOUT = Protocol(
    name="holdout",
    adapts_on="80 % of each target class, by a fixed hash of the file names",
    scores_on="the other 20 %",
)
TRANSDUCTIVE = Protocol(
    name="transductive",
    adapts_on="all target images, unlabelled",
    scores_on="the same images",
    transductive=True,
)


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


# Files and arrays to one print


def files_of(task: Task, root: Path) -> list[Path]:
    """Every file that the task's images come from; none for the embedded tasks."""
    files = [path for name in task.datasets for path in DATASETS[name].files(root)]
    for folder in task.folders:
        files += [picture.path for picture in pictures_in(folder, task.class_names)]
    return files


def manifest(files: list[Path]) -> str:
    """A fast print of names, sizes and times: while it stays, so does the fingerprint of what is loaded."""
    shared = os.path.commonpath([path.parent for path in files]) if files else ""
    digest = hashlib.sha256()
    for path in sorted(files):
        stat = path.stat()
        digest.update(f"{path.relative_to(shared).as_posix()}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def domain_print(domain: Domain) -> str:
    """A print of every pixel and label, the same however the files were packed."""
    digest = hashlib.sha256(repr(domain.images.shape).encode())
    for start in range(0, len(domain), 4096):
        digest.update(np.ascontiguousarray(domain.images[start : start + 4096]).data)
    digest.update(np.ascontiguousarray(domain.labels, np.int64).data)
    return digest.hexdigest()[:16]


def fingerprint(domains: Domains) -> str:
    """The prints of every domain in one."""
    names = ("source_train", "source_test", "target_train", "target_test", "target_validation")
    found = {name: getattr(domains, name) for name in names}
    prints = "".join(f"{name}{domain_print(domain)}" for name, domain in found.items() if domain is not None)
    return hashlib.sha256(prints.encode()).hexdigest()[:16]


# What the loaders of several families share


def fitted(domain: Domain, image_shape: tuple[int, int, int]) -> Domain:
    """The domain enlarged by nearest neighbour to `image_shape`, a single channel repeated to three."""
    channels, height, width = image_shape
    images = domain.images
    if images.shape[2:] != (height, width):
        rows, columns = (
            np.arange(new) * old // new for new, old in zip(image_shape[1:], images.shape[2:], strict=True)
        )
        images = images[:, :, rows[:, None], columns]
    if images.shape[1] != channels:
        if images.shape[1] != 1:
            raise DabenchError(f"images of {images.shape[1]} channels cannot be given {channels}")
        images = np.repeat(images, channels, axis=1)
    return Domain(np.ascontiguousarray(images), domain.labels)


def drawn(domain: Domain, count: int | None) -> Domain:
    """A fixed draw of `count` images, the same on every machine; all of them for None."""
    if count is None or count >= len(domain):
        return domain
    return domain[np.sort(np.random.default_rng(0).permutation(len(domain))[:count])]


def seen_by(camera: Camera | None, domain: Domain) -> Domain:
    """The domain behind a camera; as it is where there is none."""
    return domain if camera is None else Domain(camera.apply(domain.images), domain.labels)


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="mnist",
            licence="CC BY-SA 3.0",
            citation="LeCun et al., Gradient-based learning applied to document recognition, Proc. IEEE 1998",
            homepage="http://yann.lecun.com/exdb/mnist/",
            size="11 MB",
            files=_mnist_files,
            download=_download_mnist,
        ),
        Dataset(
            name="usps",
            licence="research use, no licence stated",
            citation="Hull, A database for handwritten text recognition research, PAMI 1994",
            homepage="https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps",
            size="8 MB",
            files=_usps_files,
            download=_download_usps,
        ),
        Dataset(
            name="svhn",
            licence="non-commercial use only",
            citation="Netzer et al., Reading digits in natural images, NIPS workshop 2011",
            homepage="http://ufldl.stanford.edu/housenumbers/",
            size="236 MB",
            files=_svhn_files,
            download=_download_svhn,
        ),
        Dataset(
            name="cifar10",
            licence="research use, no licence stated",
            citation="Krizhevsky, Learning multiple layers of features from tiny images, 2009",
            homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
            size="163 MB",
            files=_cifar10_files,
            download=_download_cifar10,
        ),
        Dataset(
            name="pacs",
            licence="research use, no licence stated",
            citation="Li et al., Deeper, broader and artier domain generalization, ICCV 2017",
            homepage="https://huggingface.co/datasets/flwrlabs/pacs",
            size="191 MB",
            files=_pacs_files,
            download=_download_pacs,
        ),
        Dataset(
            name="imagenet",
            licence="non-commercial research, by agreement with image-net.org",
            citation="Russakovsky et al., ImageNet large scale visual recognition challenge, IJCV 2015",
            homepage="https://image-net.org/challenges/LSVRC/2012/",
            size="6.7 GB",
            files=_imagenet_files,
        ),
        Dataset(
            name="imagenette",
            licence="ImageNet's terms for the pictures (non-commercial research)",
            citation="Howard, Imagenette: 10 easily classified classes of ImageNet, 2019",
            homepage="https://github.com/fastai/imagenette",
            size="342 MB",
            files=_imagenette_files,
            download=_download_imagenette,
        ),
    )
}
