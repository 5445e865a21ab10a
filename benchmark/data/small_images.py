"""Digits and CIFAR-10: small images in one file a split, read as the releases pack them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from dabench.core import Domain
from dabench.data.official import Dataset, existing, labelled, matlab, reading


def _mnist_files(root: Path) -> list[Path]:
    parts = [f"{split}-{part}" for split in ("train", "t10k") for part in ("images-idx3", "labels-idx1")]
    return existing("mnist", [root / "MNIST" / "raw" / f"{part}-ubyte" for part in parts])


def _download_mnist(root: Path) -> None:
    from torchvision.datasets import MNIST

    MNIST(root, download=True)


def mnist(root: Path, split: str) -> Domain:
    """MNIST's "train" (60,000) or "test" (10,000) split: (n, 1, 28, 28)."""
    images, labels = _mnist_files(root)[:2] if split == "train" else _mnist_files(root)[2:]
    pixels, classes = _idx(images), _idx(labels)
    with reading(images):
        return labelled(pixels[:, None], classes, 10)


def _idx(path: Path) -> np.ndarray:
    from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

    with reading(path):
        return np.asarray(read_sn3_pascalvincent_tensor(str(path)).numpy())


def _usps_files(root: Path) -> list[Path]:
    return existing("usps", [root / "USPS" / "usps.bz2", root / "USPS" / "usps.t.bz2"])


def _download_usps(root: Path) -> None:
    from torchvision.datasets import USPS

    (root / "USPS").mkdir(parents=True, exist_ok=True)
    for train in (True, False):
        USPS(root / "USPS", train=train, download=True)


def usps(root: Path, split: str) -> Domain:
    """USPS's "train" (7,291) or "test" (2,007) split: (n, 1, 16, 16)."""
    from torchvision.datasets import USPS

    path = _usps_files(root)[split == "test"]
    with reading(path):
        stored = USPS(path.parent, train=split == "train")
        return labelled(stored.data[:, None], np.array(stored.targets), 10)


def _svhn_files(root: Path) -> list[Path]:
    return existing("svhn", [root / "SVHN" / "train_32x32.mat", root / "SVHN" / "test_32x32.mat"])


def _download_svhn(root: Path) -> None:
    from torchvision.datasets import SVHN

    for split in ("train", "test"):
        SVHN(root / "SVHN", split=split, download=True)


def svhn(root: Path, split: str) -> Domain:
    """SVHN's "train" (73,257) or "test" (26,032) split of cropped digits: (n, 3, 32, 32)."""
    path = _svhn_files(root)[split == "test"]
    with reading(path):
        stored = matlab(path)
        labels = stored["y"].ravel()
        return labelled(stored["X"].transpose(3, 2, 0, 1), np.where(labels == 10, 0, labels), 10)  # zero is called 10


def _cifar10_files(root: Path) -> list[Path]:
    batches = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    return existing("cifar10", [root / "cifar-10-batches-py" / batch for batch in batches])


def _download_cifar10(root: Path) -> None:
    from torchvision.datasets import CIFAR10

    CIFAR10(root, download=True)


class _ArraysOnly(pickle.Unpickler):
    """CIFAR-10 comes pickled; this reads its arrays and lists and runs nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes in the older protocols
            return _latin1
        allowed = {"_reconstruct": _RECONSTRUCT, "_frombuffer": _FROM_BUFFER, "ndarray": np.ndarray, "dtype": np.dtype}
        if module.partition(".")[0] != "numpy" or name not in allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR-10 file does")
        return allowed[name]


_RECONSTRUCT = np.zeros(0).__reduce__()[0]
_FROM_BUFFER = np.zeros(1).__reduce_ex__(5)[0]


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it encodes text as {encoding}, which no CIFAR-10 file does")
    return text.encode("latin1")


def cifar10(root: Path, split: str) -> Domain:
    """CIFAR-10's "train" (50,000) or "test" (10,000) split: (n, 3, 32, 32)."""
    files = _cifar10_files(root)
    images, labels = [], []
    for path in files[:5] if split == "train" else files[5:]:
        with reading(path), open(path, "rb") as file:
            batch = _ArraysOnly(file, encoding="latin1").load()
            stored = {key.decode() if isinstance(key, bytes) else key: value for key, value in batch.items()}
            some = labelled(stored["data"].reshape(-1, 3, 32, 32), np.array(stored["labels"]), 10)
            images.append(some.images)
            labels.append(some.labels)
    return Domain(np.concatenate(images), np.concatenate(labels))


def cifar10_partial(train: Domain, test: Domain) -> str:
    """In words, how much of the release these splits are; empty where they are all of it."""
    missing = (len(train), len(test)) != (50_000, 10_000)
    return f"{len(train):,} of 50,000 and {len(test):,} of 10,000 pictures" if missing else ""


SMALL_IMAGES = (
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
