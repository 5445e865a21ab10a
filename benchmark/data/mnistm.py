"""MNIST-M: MNIST's digits blended into photographs, as Ganin's release packs them."""

from __future__ import annotations

from pathlib import Path

from dabench.core import DabenchError, MissingData
from dabench.data.official import Dataset
from dabench.data.pictures import Picture, mixed

MNISTM_COUNTS = {"train": 59_001, "test": 9_001}

_REMEDY = "fetch mnist_m.tar.gz from its page and unpack it into the data root"


def mnistm(root: Path, split: str) -> list[Picture]:
    """The pictures of the split "train" or "test", labelled by mnist_m/mnist_m_<split>_labels.txt, in a mixed order."""
    folder, labels = root / "mnist_m" / f"mnist_m_{split}", root / "mnist_m" / f"mnist_m_{split}_labels.txt"
    if not labels.is_file():
        raise MissingData(f"mnistm: {labels} is missing; {_REMEDY}")
    pictures = []
    for line in labels.read_text(encoding="utf-8").splitlines():
        name, _, label = line.strip().partition(" ")
        if Path(name).name != name or label not in tuple("0123456789"):
            raise DabenchError(f"{labels} holds the line '{line[:80]}', not <picture> <digit>; fetch it again")
        if not (folder / name).is_file():
            raise MissingData(f"mnistm: {folder / name}, which {labels.name} names, is missing; {_REMEDY}")
        pictures.append(Picture(name, int(label), folder / name))
    return mixed(pictures)


def mnistm_partial(root: Path) -> str:
    """In words, how many pictures are missing; empty where all are there."""
    counts = {split: len(mnistm(root, split)) for split in MNISTM_COUNTS}
    short = [f"{counts[split]:,} of {full:,}" for split, full in MNISTM_COUNTS.items() if counts[split] != full]
    return f"{' and '.join(short)} MNIST-M pictures" if short else ""


def _files(root: Path) -> list[Path]:
    labels = [root / "mnist_m" / f"mnist_m_{split}_labels.txt" for split in MNISTM_COUNTS]
    return labels + [picture.path for split in MNISTM_COUNTS for picture in mnistm(root, split)]


MNISTM = Dataset(
    name="mnistm",
    licence="research use, no licence stated",
    citation="Ganin et al., Domain-adversarial training of neural networks, JMLR 2016",
    homepage="http://yaroslav.ganin.net/",
    files=_files,
)
