"""Official data sets: which files must exist under the data root, how to get them, how they are read."""

from __future__ import annotations

import io
import pickle
import tarfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dabench.core import DabenchError, Domain, MissingData, Task
from dabench.data.pictures import Picture, left_out, pictures_in


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


def files_of(task: Task, root: Path) -> list[Path]:
    """Every file that the task's images come from; none for the embedded tasks."""
    files = [path for name in task.datasets for path in DATASETS[name].files(root)]
    for folder in dict.fromkeys(task.folders):
        if said := left_out(folder, task.class_names):
            warnings.warn(said, stacklevel=2)
        files += [picture.path for picture in pictures_in(folder, task.class_names)]
    return files


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
