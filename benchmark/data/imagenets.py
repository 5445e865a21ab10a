"""ImageNet's validation pictures, and Imagenette, ten of its classes."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np

from dabench.core import DabenchError, Domains, MissingData, Protocol, Task
from dabench.data.official import Dataset, matlab, reading
from dabench.data.pictures import Picture, decoded, held_out, pictures_in

_VALIDATION_TAR = "ILSVRC2012_img_val.tar"


_DEVKIT = "ILSVRC2012_devkit_t12"


_GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"


def load_imagenet(task: Task, root: Path, cache: Path, protocol: Protocol) -> Domains:
    """Pictures in the order of their IDs; a partial copy is cut at the same fractions.

    The last tenth scores and the tenth before it validates; with folds, each in its turn is last and scores.
    """
    pictures = imagenet(root)
    count = len(pictures)
    parts, part = (protocol.folds, protocol.fold) if protocol.folds > 1 else (10, 9)
    start, stop = count * part // parts, count * (part + 1) // parts
    second = count - (stop - start)
    first = second - count // 10
    height = task.image_shape[1]
    resize = round(height * 8 / 7)
    source, target = (decoded(pictures, cache, task.image_shape, resize, camera) for camera in (None, task.camera))
    if stop < count:
        order = np.roll(np.arange(count), -stop)
        source, target = source[order], target[order]
    return Domains(
        source_train=None,
        source_test=source[second:],
        target_train=target[:first],
        target_validation=target[first:second],
        target_test=target[second:],
        partial="" if count == 50_000 else f"{count:,} of 50,000 pictures",
    )


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
        classes = {wnid: index for index, wnid in enumerate(wnids())}
        for path in files:
            if path.parent.name not in classes:
                raise DabenchError(f"{path.parent} is no class of ILSVRC2012; remove it")
        pictures = [Picture(path.name, classes[path.parent.name], path) for path in files]
        return sorted(pictures, key=lambda picture: picture.name)
    labels = _imagenet_labels(root / "imagenet")
    if files[0].suffix == ".tar":
        with reading(files[0]), tarfile.open(files[0], "r:") as archive:
            # Read where they lie: nothing is unpacked, so that no name or link in it leads outside.
            members = [member for member in archive if member.isfile() and member.name.endswith(".JPEG")]
            if any(member.issparse() for member in members):
                raise ValueError("it holds sparse files, which the release has not")
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


def wnids() -> list[str]:
    """ImageNet's thousand WordNet IDs in the order of the logits."""
    from timm.data.imagenet_info import ImageNetInfo

    return list(ImageNetInfo("imagenet-1k").label_names())


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"{name} inside it is not a file")
    return file.read()


def _imagenet_labels(folder: Path) -> list[int]:
    """The label of each validation ID: the devkit's own class numbers, translated to sorted WordNet IDs."""
    archive = folder / f"{_DEVKIT}.tar.gz"
    if archive.is_file():
        with reading(archive), tarfile.open(archive, "r:gz") as devkit:
            meta, truth = (_member(devkit, f"{_DEVKIT}/data/{name}") for name in ("meta.mat", _GROUND_TRUTH))
    else:
        archive = folder / _DEVKIT / "data"
        meta, truth = ((archive / name).read_bytes() for name in ("meta.mat", _GROUND_TRUTH))
    with reading(archive):
        synsets = matlab(io.BytesIO(meta))["synsets"]
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


def load_imagenette(task: Task, root: Path, cache: Path, protocol: Protocol) -> Domains:
    """The validation pictures as they are for a source; training and validation pictures behind the task's camera."""
    train, test = imagenette(root, "train"), imagenette(root, "val")
    resize = imagenette_resize(root, task.image_shape[1])
    kept, out = held_out(train, 0.1)
    target = decoded(kept + out, cache, task.image_shape, resize, task.camera)
    missing = (len(train), len(test)) != (9469, 3925)
    return Domains(
        source_train=None,
        source_test=decoded(test, cache, task.image_shape, resize),
        target_train=target[: len(kept)],
        target_validation=target[len(kept) :],
        target_test=decoded(test, cache, task.image_shape, resize, task.camera),
        partial=f"{len(train):,} of 9,469 and {len(test):,} of 3,925 pictures" if missing else "",
    )


def _imagenette_files(root: Path) -> list[Path]:
    return [picture.path for split in ("train", "val") for picture in imagenette(root, split)]


def _download_imagenette(root: Path) -> None:
    from torchvision.datasets import Imagenette

    Imagenette(root, split="train", size="320px", download=True)


IMAGENET = (
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
