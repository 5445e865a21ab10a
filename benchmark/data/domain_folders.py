"""PACS: seven classes in four styles, a folder each."""

from __future__ import annotations

from pathlib import Path

from dabench.core import DabenchError, MissingData
from dabench.data.official import Dataset
from dabench.data.pictures import Picture, pictures_in

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


PACS = Dataset(
    name="pacs",
    licence="research use, no licence stated",
    citation="Li et al., Deeper, broader and artier domain generalization, ICCV 2017",
    homepage="https://huggingface.co/datasets/flwrlabs/pacs",
    size="191 MB",
    files=_pacs_files,
    download=_download_pacs,
)
