"""The site: a pure function from rows to the files of static pages, which open from disk and ask no network.

`data.js` holds what every page needs (cells, rankings, methods, tasks), `task-N.js` the long parts of one task and
`compare.js` the paired tests; a page adds the latter two as scripts when it shows them, because a page opened from
disk may not fetch. Every statistic is computed here or below; the script in `assets` only draws.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import json
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd

from dabench import registry
from dabench.core import DabenchError, MissingData, Reference, Setting, Task
from dabench.evaluation import standings, statistics
from dabench.evaluation.standings import BENCH, CELL
from dabench.registry import Description
from dabench.results import provenance, store
from dabench.results.provenance import TODAY, Age

ASSETS = Path(__file__).parent / "assets"
COLUMNS = [*standings.COLUMNS, "checkpoint_progress"]
_PREDICTED = ["key", "n_test", "predictions", "predictions_before", "truth"]

_DETAILED = 3000  # cells with curves and confusions; the others keep their line and their seeds
_COMPARED = 50  # methods tested against each other, those with the most results first
_MATRIX = 30  # classes above which only the most frequent confusions are kept
_CONFUSIONS = 15
_TILES, _TILE = 8, 48  # example pictures of a domain, and their side in pixels
_PLACE = ["task", "protocol", "backbone", "image_size"]
_COSTS = ["seconds", "ms_per_image", "peak_memory", "trained_parameters"]
_IMAGE_TYPES = (".png", ".svg", ".jpg", ".webp")


@dataclass(frozen=True)
class Sources:
    """What stands beside the rows: methods with their files' text, tasks, published numbers and pictures.

    `sprites` maps a task to the PNG of its example pictures, `figures` a name to the file of a picture to show.
    """

    methods: Mapping[str, Description] = field(default_factory=dict)
    tasks: Mapping[str, Task] = field(default_factory=dict)
    references: Sequence[Reference] = ()
    sprites: Mapping[str, bytes] = field(default_factory=dict)
    figures: Mapping[str, bytes] = field(default_factory=dict)


def files(
    rows: pd.DataFrame,
    predictions: Iterable[pd.DataFrame] = (),
    sources: Sources | None = None,
    *,
    age: Age = TODAY,
) -> dict[str, bytes]:
    """Every file of the site by its path, from rows with COLUMNS and from tables of their predictions.

    `predictions` come in pieces, because all of them together may not fit into memory.
    `age` tells which rows today's code might not give again (`provenance.age` gives it).
    """
    sources = sources or Sources()
    evidence = _evidence(rows, age.stale)
    tasks = sorted({*evidence.cells["task"], *evidence.bad["task"]})
    benches = _benches(evidence)
    methods = sorted({*evidence.cells["method"], *evidence.bad["method"]})
    data = {
        "rows": len(rows),
        "doubts": provenance.summary(age.of({*evidence.rows["key"], *evidence.bad["key"]})),
        "newest": max(evidence.rows["created"], default=""),
        "settings": [str(setting) for setting in Setting],
        "benches": benches.to_dict("records"),
        "tasks": [_task(name, sources.tasks.get(name), evidence) for name in tasks],
        "methods": [_method(name, sources.methods.get(name), evidence) for name in methods],
        "cells": _cells(evidence.cells, tasks, methods, benches),
        "overall": _overall(evidence.cells),
        "cost": _cost(evidence.cells),
        "bad": _bad(evidence.bad, tasks),
        "published": _published(sources.references, tasks),
        "figures": [[name, _caption(content)] for name, content in sorted(sources.figures.items())],
    }
    made = {path.name: path.read_bytes() for path in sorted(ASSETS.iterdir()) if path.name != "live.js"}
    made["data.js"] = _script("DABENCH.data", data)
    made["compare.js"] = _script("DABENCH.compare", _compare(evidence, methods, tasks))
    for number, (task, details) in enumerate(zip(tasks, _details(evidence, tasks, predictions), strict=True)):
        picture = sources.sprites.get(task)
        details["sprite"] = picture and "data:image/png;base64," + base64.b64encode(picture).decode()
        made[f"task-{number}.js"] = _script(f"DABENCH.details[{number}]", details)
    # Shown as text: a browser would save a file that ends in .py.
    made |= {
        f"methods/{name}.py.txt": sources.methods[name].file.read_bytes() for name in methods if name in sources.methods
    }
    return made | {f"figures/{name}": content for name, content in sources.figures.items()}


def _script(place: str, value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f"{place}={text};\n".encode()


# -------------------------------------------------------------------------------------------------- evidence


@dataclass(frozen=True)
class _Evidence:
    """Rows on their benches, their cells, and choices of checkpoints.

    `rows` are ok and name their cell in the column `cell`; `bad` are the others. In `cells`, `main` marks the
    budget that most methods have, and `gain_half` is half of the interval of the gain.
    """

    rows: pd.DataFrame
    bad: pd.DataFrame
    cells: pd.DataFrame
    choices: standings.Choices


def _evidence(rows: pd.DataFrame, stale: Collection[str]) -> _Evidence:
    lists = [*standings.LISTS, "checkpoint_progress"]
    short = rows.drop(columns=lists).assign(at=np.arange(len(rows)))
    placed = standings.on_benches(standings.current(short, stale))
    ok = placed[placed["status"] == "ok"].reset_index(drop=True)
    ok = pd.concat([ok, rows[lists].iloc[ok["at"]].set_axis(ok.index)], axis=1)
    chosen = standings.choices(ok)
    ok = ok.assign(figure=standings.figures(ok, chosen, standings.LAST))
    cells = standings.cells(ok).reset_index(drop=True)
    cells["main"] = _main(cells)
    position = ok[CELL].merge(cells[CELL].assign(cell=cells.index), on=CELL, how="left")["cell"]
    ok = ok.assign(cell=position.to_numpy())
    ok = ok[ok["cell"].notna()].astype({"cell": int})
    gain = (ok["figure"] - ok["accuracy_before"]).groupby(ok["cell"]).agg(["std", "count"]).reindex(cells.index)
    cells["gain_half"] = statistics.half_width(gain["std"], gain["count"])
    return _Evidence(ok, placed[placed["status"] != "ok"], cells, chosen)


def _main(cells: pd.DataFrame) -> pd.Series:
    """Marks the budget that most methods have, the largest of equals, of each task, protocol, backbone and size."""
    budgets = ["budget", "target_images", "labels"]
    counts = cells[cells["default"]].groupby([*_PLACE, *budgets])["method"].nunique().reset_index(name="methods")
    sizes = counts[budgets].astype(float).where(counts[budgets] >= 0, np.inf)
    order = pd.concat([counts["methods"], sizes], axis=1).sort_values(["methods", *budgets], ascending=False).index
    best = counts.loc[order].drop_duplicates(_PLACE)[[*_PLACE, *budgets]]
    found = cells[[*_PLACE, *budgets]].merge(best, how="left", indicator=True)["_merge"]
    return pd.Series((found == "both").to_numpy(), cells.index)


def _benches(evidence: _Evidence) -> pd.DataFrame:
    """Every bench, the fullest first."""
    counts = evidence.cells.groupby(BENCH).size().sort_values(ascending=False, kind="stable")
    return counts.reset_index()[BENCH]


# ------------------------------------------------------------------------------------------- compact columns


def _scaled(values: Iterable[float], scale: float) -> list[int | None]:
    return [None if np.isnan(value) else round(scale * value) for value in values]


def _figures(values: Iterable[float], digits: int = 3) -> list[float | int | None]:
    """Numbers with that many significant digits, whole where they are; None for nan."""
    short = (None if np.isnan(value) else float(f"{value:.{digits}g}") for value in values)
    return [value if value is None or value % 1 else int(value) for value in short]


def _cells(cells: pd.DataFrame, tasks: list[str], methods: list[str], benches: pd.DataFrame) -> dict[str, list]:
    """A list for each column; accuracies in tenths of a percent, which is what is shown."""
    bench = cells[BENCH].merge(benches.assign(bench=benches.index), on=BENCH, how="left")["bench"]
    place = {name: at for at, name in enumerate(tasks)}
    who = {name: at for at, name in enumerate(methods)}
    settings = {str(setting): at for at, setting in enumerate(Setting)}
    fractions = ["mean", "half", "gain", "gain_half", "ece", "source_before", "source_after"]
    return {
        "bench": bench.tolist(),
        "task": cells["task"].map(place).tolist(),
        "method": cells["method"].map(who).tolist(),
        "setting": cells["setting"].map(settings).tolist(),
        # The name again would be most of the file's size.
        "variant": ["" if cell.default else cell.variant for cell in cells.itertuples()],
        **{name: _scaled(cells[name], 1000) for name in fractions},
        "closed": _scaled(cells["closed"], 100),
        "nll": _figures(cells["nll"], 4),
        **{name: _figures(cells[name]) for name in _COSTS},
        "n": cells["n"].tolist(),
        "letters": cells["letters"].tolist(),
        **{name: cells[name].astype(int).tolist() for name in ("best", "worse", "collapsed", "main")},
    }


def _seeds(evidence: _Evidence, at: pd.Index) -> dict[int, list[list[int | None]]]:
    """Of each cell the seeds and the accuracy of each in tenths of a percent."""
    rows = evidence.rows.loc[
        evidence.rows["cell"].isin(at) & evidence.rows["figure"].notna(), ["cell", "seed", "figure"]
    ]
    return {
        cell: [group["seed"].tolist(), _scaled(group["figure"], 1000)]
        for cell, group in rows.groupby("cell", sort=True)
    }


def _overall(cells: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """The rankings over all tasks (under the empty name) and over those of each family."""
    scopes = {"": cells} | {family: cells[cells["family"] == family] for family in sorted(cells["family"].unique())}
    return {scope: [_ranking(ranking) for ranking in standings.rankings(inside)] for scope, inside in scopes.items()}


def _ranking(ranking: standings.Ranking) -> dict[str, Any]:
    table = ranking.table
    return {
        "setting": str(ranking.setting),
        "tasks": ranking.shared,
        "lacking": ranking.lacking,
        "left_out": ranking.left_out,
        "method": table["method"].tolist(),
        "closed": _scaled(table["closed"], 100),
        # In tenths, rounded here as in leaderboard.md: a browser rounds halves the other way.
        **{name: _scaled(table[name], 10) for name in ("rank", "low", "high")},
        **{name: _figures(table[name]) for name in ("seconds", "ms_per_image")},
    }


def _cost(cells: pd.DataFrame) -> dict[str, Any]:
    """Mean gain and costs of the default variants over the tasks that all of them have.

    A method with fewer than half of the tasks is left out rather than taking the tasks from all others.
    """
    used = cells[cells["default"] & cells["main"]]
    used = used.assign(place=used[_PLACE].astype(str).agg(" ".join, axis=1))
    has = used.pivot_table(index="place", columns=["setting", "method"], values="gain").notna()
    has = has.loc[:, has.sum() * 2 >= len(has)]
    shared = used[used["place"].isin(has.index[has.all(axis=1)])]
    means = shared.groupby(["setting", "method"])[["gain", *_COSTS]].mean().reindex(has.columns).reset_index()
    return {
        "tasks": int(has.all(axis=1).sum()),
        "of": len(has),
        "setting": means["setting"].tolist(),
        "method": means["method"].tolist(),
        "gain": _scaled(means["gain"], 1000),
        **{name: _figures(means[name]) for name in _COSTS},
    }


def _bad(bad: pd.DataFrame, tasks: list[str]) -> list[list[Any]]:
    """Task, method variant, status, reason and number of the cells without a result."""
    groups = bad.groupby(["task", "variant", "status", "reason"], sort=True)["key"].nunique()
    return [
        [tasks.index(task), variant, status, reason, int(n)] for (task, variant, status, reason), n in groups.items()
    ]


def _published(references: Sequence[Reference], tasks: list[str]) -> list[list[Any]]:
    return [
        [tasks.index(each.task), each.method, each.accuracy, each.std, each.protocol, each.backbone, each.source]
        for each in references
        if each.task in tasks
    ]


def _task(name: str, task: Task | None, evidence: _Evidence) -> dict[str, Any]:
    """The facts of a task; of one that is not installed here, what its rows say."""
    rows = evidence.rows if name in set(evidence.cells["task"]) else evidence.bad
    rows = rows[rows["task"] == name]
    facts = {"name": name, "family": rows["family"].iloc[0], "partial": sorted({*rows["partial"]} - {""})}
    if task is None:
        return facts
    return facts | {
        "source": task.source,
        "target": task.target,
        "camera": "" if task.camera is None else str(task.camera),
        "protocols": {each.name: [each.adapts_on, each.scores_on] for each in task.protocols},
        "classes": list(task.class_names) if task.num_classes <= _MATRIX else task.num_classes,
        "shape": task.image_shape,
        "licence": task.licence,
        "citation": task.citation,
        "note": task.note,
    }


def _method(name: str, method: Description | None, evidence: _Evidence) -> dict[str, Any]:
    """What a method's file says of it; of one that is not installed here, its name and setting."""
    if method is None:
        rows = pd.concat([evidence.cells[["method", "setting"]], evidence.bad[["method", "setting"]]])
        return {"name": name, "setting": rows.loc[rows["method"] == name, "setting"].iloc[0]}
    tree = ast.parse(method.file.read_text())
    return {
        "name": name,
        "setting": str(method.setting),
        "claim": method.claim,
        "text": ast.get_docstring(tree) or method.claim,
        "paper": method.paper,
        "needs": [str(need.name).lower().replace("_", " ") for need in method.needs],
        "parameters": [
            [key, str(value), _allowed(method.allowed[key])] for key, value in sorted(method.parameters.items())
        ],
        "file": f"methods/{name}.py.txt",
    }


def _allowed(allowed: registry.Allowed) -> str:
    if allowed.choices:
        return "one of " + ", ".join(map(str, allowed.choices))
    return "" if np.isinf(allowed.low) else f"{allowed.low:g} to {allowed.high:g}"


# ---------------------------------------------------------------------------------- what a task's page needs


def _details(evidence: _Evidence, tasks: list[str], predictions: Iterable[pd.DataFrame]) -> list[dict[str, Any]]:
    """For each task: seeds of all its cells, curves, choices and confusions of the detailed ones."""
    cells = evidence.cells
    order = cells[["default", "main"]].sort_values(["default", "main"], ascending=False, kind="stable")
    detailed = order.index[:_DETAILED]
    seeds = _seeds(evidence, cells.index)
    curves = _curves(evidence, detailed)
    before, after = _confusions(evidence, detailed, predictions)
    result = []
    for task in tasks:
        own = cells.index[cells["task"] == task]
        result.append(
            {
                "seeds": {str(at): seeds[at] for at in own if at in seeds},
                "curves": {str(at): curves[at] for at in own if at in curves},
                "after": {str(at): after[at] for at in own if at in after},
                "before": {str(at): before[at] for at in own if at in before},
            }
        )
    return result


def _curves(evidence: _Evidence, detailed: pd.Index) -> dict[int, dict[str, Any]]:
    """Progress and mean accuracy at the checkpoints, and where the choice of each score lies on average."""
    rows = evidence.rows
    rows = rows[rows["cell"].isin(detailed) & rows["checkpoint_accuracy"].notna() & rows["checkpoint_progress"].notna()]
    accuracy = {at: np.asarray(values, dtype=float) for at, values in rows["checkpoint_accuracy"].items()}
    progress = {at: np.asarray(values, dtype=float) for at, values in rows["checkpoint_progress"].items()}
    curves: dict[int, dict[str, Any]] = {}
    for cell, group in rows.groupby("cell"):
        lengths = {len(accuracy[at]) for at in group.index} | {len(progress[at]) for at in group.index}
        if len(lengths) > 1 or lengths == {0}:
            continue  # runs that ended early have no common checkpoints
        mean = np.mean([accuracy[at] for at in group.index], axis=0)
        share = np.mean([progress[at] for at in group.index], axis=0)
        curves[cell] = {"progress": _scaled(share, 1000), "accuracy": _scaled(mean, 1000), "chosen": {}}
    chosen = evidence.choices.table
    chosen = chosen[chosen["row"].isin(rows.index) & chosen["chosen"].notna()]
    chosen = chosen.assign(cell=rows["cell"].reindex(chosen["row"]).to_numpy())
    chosen = chosen[chosen["cell"].isin(curves.keys())]
    chosen = chosen.assign(
        progress=[progress[row][at] for row, at in zip(chosen["row"], chosen["checkpoint"], strict=True)]
    )
    means = chosen.groupby(["cell", "validator"])[["progress", "chosen"]].mean()
    for (cell, validator), mean in zip(means.index, means.itertuples(), strict=True):
        curves[cell]["chosen"][validator] = [round(1000 * mean.progress), round(1000 * mean.chosen)]
    return curves


def _confusions(
    evidence: _Evidence, detailed: pd.Index, predictions: Iterable[pd.DataFrame]
) -> tuple[dict[int, Any], dict[int, Any]]:
    """Of the cells the confusions of the source model and of the adapted one, summed over seeds."""
    rows = evidence.rows.loc[evidence.rows["cell"].isin(detailed), ["key", "cell"]]
    places = rows.groupby("key")["cell"].agg(list).to_dict()
    before: dict[int, np.ndarray] = {}
    after: dict[int, np.ndarray] = {}
    for piece in predictions:
        for row in piece.itertuples():
            if row.key not in places or row.truth is None or row.predictions is None or not row.n_test > 0:
                continue
            truth = store.classes(row.truth, row.n_test)
            for sums, encoded in ((after, row.predictions), (before, row.predictions_before)):
                if encoded is None:
                    continue
                counts = _counts(truth, store.classes(encoded, row.n_test))
                for cell in places[row.key]:
                    sums[cell] = _sum(sums[cell], counts) if cell in sums else counts
    return {at: _shares(each) for at, each in before.items()}, {at: _shares(each) for at, each in after.items()}


def _counts(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    size = int(max(truth.max(), predicted.max())) + 1
    return np.bincount(truth.astype(int) * size + predicted, minlength=size * size).reshape(size, size)


def _sum(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    size = max(len(first), len(second))
    return np.sum([np.pad(each, (0, size - len(each))) for each in (first, second)], axis=0)


def _shares(counts: np.ndarray) -> str | list[list[int]]:
    """Percent of each true class, or [true, predicted, percent] of the most frequent mistakes of many classes.

    The matrix is a text, line after line a character for each percent from `#`, half as long as its numbers.
    """
    percent = np.rint(100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).astype(int)
    if len(counts) <= _MATRIX:
        return "".join(chr(ord("#") + share) for share in percent.flat)
    wrong = np.where(np.eye(len(counts), dtype=bool), 0, percent)
    most = np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSIONS]
    return [
        [int(true), int(said), int(wrong[true, said])]
        for true, said in zip(*np.unravel_index(most, wrong.shape), strict=True)
    ]


# -------------------------------------------------------------------------------------------------- compare


@dataclass(frozen=True)
class Comparison:
    """Two methods paired over tasks: mean differences in accuracy, half intervals, Holm-adjusted p values.

    `overall` is the p value of the paired test over the tasks' means; nan for a single task.
    """

    difference: np.ndarray
    half: np.ndarray
    p: np.ndarray
    overall: float


def compare(first: np.ndarray, second: np.ndarray, n_images: np.ndarray) -> Comparison:
    """Pairs accuracies (tasks, seeds) of two methods, nan where a run is missing, on `n_images` (tasks,)."""
    difference = first - second
    n = (~np.isnan(difference)).sum(axis=1)
    mean = np.where(n > 0, np.nansum(difference, axis=1) / np.maximum(n, 1), np.nan)
    squares = np.nansum((difference - mean[:, None]) ** 2, axis=1)
    std = np.where(n > 1, np.sqrt(squares / np.maximum(n - 1, 1)), np.nan)
    paired = np.isnan(difference)
    means = [np.nansum(np.where(paired, np.nan, each), axis=1) / np.maximum(n, 1) for each in (first, second)]
    error = np.hypot(*(statistics.image_error(each, n_images) for each in means))
    p = statistics.holm(statistics.difference_p_value(mean, std, n, error))
    overall = statistics.paired_p_value(*means) if len(mean) > 1 else float("nan")
    return Comparison(mean, statistics.half_width(std, n), p, overall)


def verdict(first: str, second: str, result: Comparison) -> str:
    """The comparison in words."""
    certain = result.p < statistics.ALPHA
    better, worse = int((certain & (result.difference > 0)).sum()), int((certain & (result.difference < 0)).sum())
    untested = int(np.isnan(result.p).sum())
    unclear = len(result.p) - better - worse - untested
    if not better + worse + unclear:
        words = f"{first} and {second} cannot be tested: no task has two seeds of both."
    elif len(result.p) == 1:
        told = "is better than" if better else "is worse than" if worse else "is not told apart from"
        words = f"{first} {told} {second} ({_p(result.p[0])})."
    else:
        outcomes = [(better, "better", "than"), (worse, "worse", "than"), (unclear, "not told apart", "from")]
        outcomes = [outcome for outcome in [*outcomes, (untested, "not testable", "against")] if outcome[0]]
        (count, told, than), *others = outcomes
        parts = [f"{told} {than} {second} on {count}", *(f"{told} on {count}" for count, told, _ in others)]
        words = f"{first} is {', '.join(parts)} of {len(result.p)} tasks."
    mean = 100 * np.nanmean(result.difference)
    words += f" Its accuracy is {abs(mean):.1f} points {'higher' if mean >= 0 else 'lower'}"
    if len(result.p) == 1 or np.isnan(result.overall):
        return words + "."
    supported = "which holds over tasks" if result.overall < statistics.ALPHA else "which the tasks do not settle"
    return f"{words} on average, {supported} ({_p(result.overall)})."


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def _compare(evidence: _Evidence, methods: list[str], tasks: list[str]) -> dict[str, Any]:
    """Every pair of default variants on the tasks that both have."""
    cells = evidence.cells[evidence.cells["default"] & evidence.cells["main"]]
    often = cells.groupby("method").size().sort_values(ascending=False, kind="stable").index[:_COMPARED]
    cells = cells[cells["method"].isin(often)]
    columns = cells[[*BENCH, "task"]].drop_duplicates().reset_index(drop=True)
    column = cells[[*BENCH, "task"]].merge(columns.assign(column=columns.index), how="left")["column"].to_numpy()
    n_images = cells.groupby(column)["n_test"].mean().to_numpy()
    rows = evidence.rows[evidence.rows["cell"].isin(cells.index)]
    seeds, seed = np.unique(rows["seed"], return_inverse=True)
    names = sorted(often)
    values = np.full((len(names), len(columns), len(seeds)), np.nan)
    who = dict(zip(cells.index, (names.index(name) for name in cells["method"]), strict=True))
    where = dict(zip(cells.index, column, strict=True))
    values[rows["cell"].map(who), rows["cell"].map(where), seed] = rows["figure"]
    pairs = []
    for first, second in combinations(range(len(names)), 2):
        both = np.flatnonzero((~np.isnan(values[first] - values[second])).any(axis=1))
        if not len(both):
            continue
        if np.nanmean((values[first] - values[second])[both]) < 0:
            first, second = second, first  # the better one speaks
        result = compare(values[first, both], values[second, both], n_images[both])
        pairs.append(
            [
                *(methods.index(names[first]), methods.index(names[second])),
                verdict(names[first], names[second], result),
                both.tolist(),
                _scaled(result.difference, 1000),
                _scaled(result.half, 1000),
                _figures(result.p, 2),
            ]
        )
    return {
        "methods": [methods.index(name) for name in names],
        "tasks": [tasks.index(task) for task in columns["task"]],
        "benches": [f"{line.protocol}, {line.backbone}, {line.image_size} px" for line in columns.itertuples()],
        "pairs": pairs,
    }


# ------------------------------------------------------------------------------------------------- pictures


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


def _caption(picture: bytes) -> str:
    """What a PNG says of itself; nothing where it does not, or is none."""
    from PIL import Image

    if not picture.startswith(b"\x89PNG"):
        return ""
    with Image.open(io.BytesIO(picture)) as image:
        return image.info.get("caption", "")


def figures(results: Path) -> dict[str, bytes]:
    """The pictures under `reproductions` and `curves` of the results folder."""
    found = {}
    for name in ("reproductions", "curves"):
        for file in sorted((results / name).rglob("*")):
            if file.suffix in _IMAGE_TYPES and file.is_file():
                found[file.relative_to(results).as_posix()] = file.read_bytes()
    return found


# ------------------------------------------------------------------------------------------ reading, writing


def build(results: Path, data: Path, folder: Path, *, pictures: bool = False) -> dict[str, bytes]:
    """The site of a results folder; `pictures` shows those whose licence keeps them on one's own machine too."""
    rows = store.load(results, COLUMNS).to_pandas(types_mapper=_nested)
    if rows.empty:
        raise DabenchError(f"no rows in {results}; start with `dabench run`, or name the folder with --results")
    known = registry.method_files()
    here = {name: file for name, file in known.items() if name in set(rows["method"])}
    tasks = {name: task for name, task in registry.known_tasks().items() if name in set(rows["task"])}
    sources = Sources(
        methods={name: registry.describe(file) for name, file in here.items()},
        tasks=tasks,
        references=registry.references(),
        sprites=sprites(tasks.values(), data, folder, every=pictures),
        figures=figures(results),
    )
    pieces = (table.to_pandas() for table in store.tables(results, _PREDICTED))
    return files(rows, pieces, sources, age=provenance.age(results))


def _nested(kind: Any) -> pd.ArrowDtype | None:
    """Lists and maps stay in Arrow, which is fast."""
    import pyarrow as pa

    return pd.ArrowDtype(kind) if pa.types.is_nested(kind) else None


def write(folder: Path, made: Mapping[str, bytes]) -> None:
    """Writes the files; of an earlier site, the pages of tasks that are gone are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("task-*.js"):
        old.unlink()
    for name, content in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


# ---------------------------------------------------------------------------------------------------- serve


def version(results: Path) -> str:
    """Changes when a file of the results folder does."""
    found = ((path.name, path.parent.name, path.stat()) for path in sorted(results.glob("*/*.parquet")))
    text = "".join(f"{parent}/{name} {stat.st_mtime_ns} {stat.st_size}\n" for name, parent, stat in found)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def server(make: Callable[[], Mapping[str, bytes]], now: Callable[[], str], port: int) -> ThreadingHTTPServer:
    """Serves the site on this machine alone; made anew when a page is opened and `now()` says something new.

    Its pages ask for `version` every few seconds and reload on a change. Raises DabenchError where the port is taken.
    """
    types = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    types |= {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}
    lock = threading.Lock()
    held: dict[str, Any] = {"version": None, "files": {}}

    def answer(name: str) -> bytes | None:
        with lock:
            if name == "index.html" and held["version"] != (current := now()):
                held.update(version=current, files=make())
            page = held["files"].get(name)
        return (
            page and page.replace(b"</body>", b'<script src="live.js"></script></body>')
            if name == "index.html"
            else page
        )

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = unquote(urlsplit(self.path).path).lstrip("/") or "index.html"
            if name == "version":
                content: bytes | None = now().encode()
            elif name == "live.js":
                content = (ASSETS / name).read_bytes()
            else:
                content = answer(name)
            self.send_response(200 if content is not None else 404)
            kind = types.get(Path(name).suffix, "text/plain")
            self.send_header("Content-Type", kind if kind.startswith("image/p") else f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content or b"")))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *arguments: Any) -> None:
            """Says nothing: a page that is looked at asks every few seconds."""

    try:
        return ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise DabenchError(f"cannot serve on port {port}: {error.strerror}; choose another with --port") from error
