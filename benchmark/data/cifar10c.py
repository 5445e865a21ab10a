"""CIFAR-10-C as released: the 10,000 test pictures of CIFAR-10, corrupted in 15 ways at five severities."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dabench.core import Domain, MissingData
from dabench.data.corruptions import CORRUPTIONS
from dabench.data.official import Dataset, labelled, reading

_SEVERITIES = 5


def _files(root: Path) -> list[Path]:
    paths = [root / "CIFAR-10-C" / f"{name}.npy" for name in ("labels", *CORRUPTIONS)]
    for path in paths:
        if not path.is_file():
            raise MissingData(
                f"cifar10c: {path} is missing; fetch CIFAR-10-C.tar from {CIFAR10C.homepage} and unpack it"
            )
    return paths


def cifar10c(root: Path, corruption: str, severity: int) -> Domain:
    """One corruption's pictures at one severity, (n, 3, 32, 32): a fifth of its file, in the order of the test set."""
    labels_file, *_ = _files(root)
    images_file = root / "CIFAR-10-C" / f"{corruption}.npy"
    with reading(labels_file):
        labels = np.load(labels_file)
        if labels.ndim != 1 or len(labels) % _SEVERITIES:
            raise ValueError(f"it holds {labels.dtype} {labels.shape}, not as many labels for each of five severities")
    count = len(labels) // _SEVERITIES
    part = slice((severity - 1) * count, severity * count)
    with reading(images_file):
        images = np.load(images_file, mmap_mode="r")
        if images.shape != (len(labels), 32, 32, 3):
            raise ValueError(f"it holds {images.dtype} {images.shape} for {len(labels)} labels")
        return labelled(images[part].transpose(0, 3, 1, 2), labels[part], 10)


CIFAR10C = Dataset(
    name="cifar10c",
    licence="CC BY 4.0",
    citation="Hendrycks and Dietterich, Benchmarking neural network robustness to common corruptions, ICLR 2019",
    homepage="https://zenodo.org/records/2535967",
    size="2.9 GB",
    files=_files,
)
