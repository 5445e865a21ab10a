"""Example pictures of tasks, and the pictures that lie beside the results."""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np

from dabench.core import MissingData, Task

_TILES, _TILE = 8, 48  # example pictures of a domain, and their side in pixels
_IMAGE_TYPES = (".png", ".svg", ".jpg", ".webp")


@cache
def sprite(task: Task, root: Path, folder: Path) -> bytes:
    """PNG of example pictures, the source's above the target's, a column a class (or the same picture seen twice).

    Raises MissingData where the task's files are not here.
    """
    from PIL import Image

    domains = task.read(root, folder, task.protocols[0])
    source, target = domains.source_test, domains.target_test
    classes = np.intersect1d(source.labels, target.labels)[:_TILES]
    places = [np.flatnonzero(source.labels == label)[0] for label in classes]
    twins = places if task.camera else [np.flatnonzero(target.labels == label)[0] for label in classes]
    sheet = Image.new("RGB", (_TILE * len(classes), 2 * _TILE))
    for line, pixels in enumerate((source.images[places], target.images[twins])):
        for column, image in enumerate(np.broadcast_to(pixels, (len(classes), 3, *pixels.shape[2:]))):
            tile = Image.fromarray(image.transpose(1, 2, 0)).resize((_TILE, _TILE), Image.Resampling.BICUBIC)
            sheet.paste(tile, (column * _TILE, line * _TILE))
    file = io.BytesIO()
    sheet.quantize(128).save(file, "png", optimize=True)
    return file.getvalue()


def sprites(tasks: Iterable[Task], root: Path, folder: Path, *, every: bool) -> dict[str, bytes]:
    """Example pictures of the tasks whose pictures dabench makes or embeds, and with `every` of all that are here."""
    found = {}
    for task in tasks:
        if every or not (task.datasets or task.folders):
            try:
                found[task.name] = sprite(task, root, folder)
            except MissingData:
                continue
    return found


def caption(picture: bytes) -> str:
    """What a PNG says of itself; nothing where it does not, or is none."""
    from PIL import Image

    if not picture.startswith(b"\x89PNG"):
        return ""
    with Image.open(io.BytesIO(picture)) as image:
        return str(image.info.get("caption", ""))


def figures(results: Path) -> dict[str, bytes]:
    """The pictures under `reproductions` and `curves` of the results folder."""
    found = {}
    for name in ("reproductions", "curves"):
        for file in sorted((results / name).rglob("*")):
            if file.suffix in _IMAGE_TYPES and file.is_file():
                found[file.relative_to(results).as_posix()] = file.read_bytes()
    return found
