"""Pictures as they are, behind a camera and after the adapter: those of a study, and those that a site may show."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dabench import registry
from dabench.core import ALL, DabenchError
from dabench.files import write_whole
from dabench.papers.measures import Row
from dabench.papers.planned import PlannedStudy, stored_rows
from dabench.papers.study import PictureGrid
from dabench.results import store
from dabench.run.plan import Cell, Environment, Planned

if TYPE_CHECKING:
    from PIL.Image import Image

_SIDE, _SHOWN = 96, 4  # pixels of a picture in a grid, and how many originals it shows


def draw(planned: PlannedStudy, place: Environment, results: Path) -> None:
    """Draws the study's pictures under `results`, each from a cell that has a result and is then adapted anew.

    A file that is of this very cell stays. Raises DabenchError where a file cannot be written.
    """
    stored = stored_rows(results)
    for picture in planned.study.pictures:
        cell, file = cell_of(picture, planned, stored), results / "reproductions" / picture.file
        if cell is None or caption_of(file, cell):
            continue
        grid, caption = adapted_grid(cell.cell, cell.identity["task"], place)
        write_whole(file, _png(grid, {"cell": cell.key, "caption": caption}), "--results")


def cell_of(picture: PictureGrid, planned: PlannedStudy, stored: Mapping[str, Row]) -> Planned | None:
    """The first cell of the picture that has a result."""
    for each in planned.by_experiment[picture.experiment]:
        of_it = each.identity["task"] == picture.task and each.cell.variant.label == picture.variant
        if of_it and stored.get(each.key, {}).get("status") == "ok":
            return each
    return None


def caption_of(file: Path, cell: Planned) -> str:
    """The caption that a picture of this very cell carries; empty where there is none."""
    from PIL import Image

    if not file.is_file():
        return ""
    with Image.open(file) as there:
        facts = getattr(there, "text", {})
    return facts["caption"] if facts.get("cell") == cell.key else ""


def of_embedded_tasks(
    results: Path, place: Environment, say: Callable[[str], None], *, draw: bool, every: bool
) -> dict[str, bytes]:
    """PNGs for a site, by file name: of each camera task whose pictures dabench makes and AdapterNet has a result on.

    The newest cell of seed 0 with every label is adapted anew, which takes as long as it took, and the picture is kept
    in the cache under the cell's key; without `draw` only those kept are given. `every` adds the tasks on CIFAR-10,
    whose licence is not stated. `say` hears what is being drawn, and why a picture cannot be.
    """
    rows = store.load(results, ["key", "task", "variant", "seed", "labels", "status", "created"]).to_pylist()
    wanted = {"variant": "adapternet", "seed": 0, "labels": ALL, "status": "ok"}
    newest: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: row["created"] or ""):
        if all(row[name] == value for name, value in wanted.items()):
            newest[row["task"]] = row["key"]
    found = {}
    for name, task in registry.known_tasks().items():
        may_show = task.datasets == () or (every and tuple(task.datasets) == ("cifar10",))
        if name not in newest or task.camera is None or task.folders or not may_show:
            continue
        file = place.cache / "pictures" / f"{newest[name]}.png"
        if draw and not file.is_file():
            try:
                _draw_stored(name, newest[name], file, results, place, say)
            except DabenchError as error:
                say(f"no picture of adapternet on {name}: {error}")
        if file.is_file():
            found[f"reproductions/adapternet-{name}.png"] = file.read_bytes()
    return found


def _draw_stored(
    name: str, key: str, file: Path, results: Path, place: Environment, say: Callable[[str], None]
) -> None:
    """Adapts the stored cell of that key anew and keeps its picture."""
    from dabench.run import export

    stored = export.find(f"{name}/adapternet", results, 0, key)
    task = registry.task(name)
    task.protocol(stored.cell.protocol)  # before any training
    say(f"drawing what adapternet gives back on {name}; kept for the next time")
    grid, caption = adapted_grid(stored.cell, name, place)
    write_whole(file, _png(grid, {"caption": caption}), "--cache")


def _png(picture: Image, facts: Mapping[str, str]) -> bytes:
    """The picture's file, with the facts as its texts."""
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    for name, text in facts.items():
        texts.add_text(name, text)
    file = io.BytesIO()
    picture.save(file, "png", pnginfo=texts, optimize=True)
    return file.getvalue()


def adapted_grid(cell: Cell, name: str, place: Environment) -> tuple[Image, str]:
    """Adapts the cell anew; pictures as they are, behind the camera and adapted, a line each, with a caption."""
    import torch

    from dabench.run.cell import adapt

    run = adapt(cell, place, lambda stage, step, steps, loss: None)
    task = registry.sized(registry.task(cell.task), cell.image_size)
    domains = task.read(place.data, place.cache, task.protocol(cell.protocol))
    shown = _one_a_class(domains.target_test.labels)
    originals, seen = (np.asarray(domain.images[shown]) for domain in (domains.source_test, domains.target_test))
    with torch.no_grad():
        inside = torch.from_numpy(seen).to(place.device) / 255
        given = run.adapted.get_submodule("adapter")(inside).clamp(0, 1).mul(255).round().byte().cpu().numpy()
    away, back = (_distance(images, originals) for images in (seen, given))
    caption = (
        f"{name}: original, behind the camera, after the adapter; the mean distance of a value to "
        f"the original's (of 255) over the pictures shown goes from {away:.0f} to {back:.0f}"
    )
    return _grid((originals, seen, given)), caption


def _one_a_class(labels: np.ndarray) -> np.ndarray:
    """The first image of each of the first few classes."""
    return np.unique(labels, return_index=True)[1][:_SHOWN]


def _distance(images: np.ndarray, originals: np.ndarray) -> float:
    return float(np.abs(images.astype(float) - originals).mean())


def _grid(lines: Sequence[np.ndarray]) -> Image:
    """Pictures (n, 3, height, width) of each line side by side, the lines below each other."""
    from PIL import Image

    page = Image.new("RGB", (_SIDE * len(lines[0]), _SIDE * len(lines)), "white")
    for row, images in enumerate(lines):
        for column, image in enumerate(images):
            small = image.shape[1] < _SIDE
            way = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
            tile = Image.fromarray(np.moveaxis(image, 0, 2)).resize((_SIDE - 2, _SIDE - 2), way)
            page.paste(tile, (column * _SIDE + 1, row * _SIDE + 1))
    return page
