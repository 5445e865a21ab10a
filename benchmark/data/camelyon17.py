"""Camelyon17 as WILDS packs it: patches of lymph nodes with and without tumour, from five hospitals."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from dabench.core import DabenchError, MissingData
from dabench.data.official import Dataset
from dabench.data.pictures import Picture, mixed

CAMELYON17_CLASSES = ("normal", "tumor")

CAMELYON17_PATCHES = 455_954

_FOLDER = "camelyon17_v1.0"

_TRAINING = {1: 0, 2: 3, 3: 4}  # WILDS numbers the hospitals from 1 in its paper, the file from 0 in another order
_CENTERS = {**_TRAINING, 4: 1, 5: 2}

_REMEDY = (
    f"fetch the archive that the WILDS package downloads and unpack it, so that there is {_FOLDER}/metadata.csv beside "
    f"{_FOLDER}/patches"
)


def camelyon17_training(root: Path, split: str) -> list[Picture]:
    """The patches of hospitals 1, 2 and 3: WILDS' training patches ("train") or those held out of them ("id_val")."""
    wanted = {"train": "0", "id_val": "1"}[split]
    centers = set(_TRAINING.values())
    return _pictures(root, [row for row in _rows(root) if int(row["center"]) in centers and row["split"] == wanted])


def camelyon17_hospital(root: Path, hospital: int) -> list[Picture]:
    """Every patch of one hospital, numbered as in the paper of WILDS: 4 validates there and 5 tests."""
    return _pictures(root, [row for row in _rows(root) if int(row["center"]) == _CENTERS[hospital]])


def _rows(root: Path) -> Iterator[dict[str, str]]:
    path = root / _FOLDER / "metadata.csv"
    if not path.is_file():
        raise MissingData(f"camelyon17: {path} is missing; {_REMEDY}")
    columns = {"patient", "node", "x_coord", "y_coord", "tumor", "center", "split"}
    with path.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        if missing := columns - set(reader.fieldnames or ()):
            raise DabenchError(f"{path} has no column {', '.join(sorted(missing))}; fetch it again")
        yield from reader


def _pictures(root: Path, rows: list[dict[str, str]]) -> list[Picture]:
    pictures = []
    for row in rows:
        node = f"patient_{row['patient']}_node_{row['node']}"
        name = f"patch_{node}_x_{row['x_coord']}_y_{row['y_coord']}.png"
        path = root / _FOLDER / "patches" / node / name
        if not path.is_file():
            raise MissingData(f"camelyon17: {path}, which metadata.csv names, is missing; {_REMEDY}")
        pictures.append(Picture(f"{node}/{name}", int(row["tumor"]), path))
    if not pictures:
        raise DabenchError(f"{root / _FOLDER / 'metadata.csv'} names no patch of this hospital; fetch it again")
    return mixed(pictures)


def _files(root: Path) -> list[Path]:
    patches = [picture.path for picture in _pictures(root, list(_rows(root)))]
    return [root / _FOLDER / "metadata.csv", *patches]


def camelyon17_partial(root: Path) -> str:
    """In words, how many patches are missing; empty where all are there."""
    count = sum(1 for _ in _rows(root))
    return "" if count == CAMELYON17_PATCHES else f"{count:,} of {CAMELYON17_PATCHES:,} patches"


CAMELYON17 = Dataset(
    name="camelyon17",
    licence="CC0",
    citation="Bandi et al., From detection of individual metastases to classification of lymph node status at the "
    "patient level, IEEE TMI 2019; Koh et al., WILDS: a benchmark of in-the-wild distribution shifts, ICML 2021",
    homepage="https://wilds.stanford.edu/datasets/",
    files=_files,
)
