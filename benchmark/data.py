"""Data sets on disk to uint8 arrays: which files must exist, how to get them, how they are read."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dabench.core import Camera, DabenchError, Domain, MissingData


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

    def find_class(self, module: str, name: str) -> type:
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


def seen_by(camera: Camera, domain: Domain) -> Domain:
    """The domain behind a camera."""
    return Domain(camera.apply(domain.images), domain.labels)


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
    )
}


def files(task, root):
    return [path for name in task.datasets for path in DATASETS[name].files(root)]


def manifest(paths):
    return repr([(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths])


def domain_print(domain):
    import hashlib

    digest = hashlib.sha256(repr(domain.images.shape).encode())
    digest.update(np.ascontiguousarray(domain.images))
    digest.update(np.ascontiguousarray(domain.labels))
    return digest.hexdigest()[:16]


def fingerprint(domains):
    from dabench.registry import fingerprint as combined

    parts = (domains.source_train, domains.source_test, domains.target_train, domains.target_validation, domains.target_test)
    return combined(*("" if part is None else domain_print(part) for part in parts))
