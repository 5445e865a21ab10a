"""Accuracy against one number: a camera's severity, target labels a class, target images, or a hyper-parameter.

A curve's cells are ordinary cells, so what is stored is not computed again, and its table and plot are pure functions
of the rows: the same rows give the same bytes.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from tabulate import tabulate

from dabench import registry
from dabench.core import DabenchError, Needs, Task, nearest
from dabench.evaluation import statistics
from dabench.registry import Variant
from dabench.run.plan import ALL, Planned, Request

COLUMNS = ("key", "status", "variant", "seed", "accuracy", "setting")
LABELS, TARGET_IMAGES = "labels", "target_images"
_COUNTED = {LABELS: "target labels a class", TARGET_IMAGES: "target images"}
DEFAULT_VALUES = {"angle": "0:360:10", LABELS: "1,3,10,30,all", TARGET_IMAGES: "30,100,300,1000,all"}
_LABELLED = "adapternet,finetune_last1,finetune_last2,finetune_last3,finetune_all,lp_ft"
_UNLABELLED = "source_only,adabn,tent,adapternet_unlabelled"
DEFAULT_METHODS = {
    LABELS: f"{_LABELLED},{_UNLABELLED}",
    TARGET_IMAGES: f"{_UNLABELLED},dann,adapternet,finetune_last1",
}
_MOST_VALUES = 1000


@dataclass(frozen=True)
class Point:
    """One value of a curve and the cells that stand at it; None is the cells that stand at every value."""

    value: float | None
    request: Request


@dataclass(frozen=True)
class Line:
    """A method's mean accuracies and half-widths of their 95 % intervals, a pair for each value of the curve.

    A `level` line does not depend on the parameter: its one pair stands at every value.
    """

    name: str
    figures: tuple[tuple[float, float], ...]
    seeds: int
    level: bool = False


def values(text: str, parameter: str) -> tuple[float, ...]:
    """`0.05,0.2,0.6`, or `0:360:10` (first, last and step, both ends inside); `all` for a count, which is ALL."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        found = [number for part in parts for number in _numbers(part, parameter)]
    except (ValueError, OverflowError):
        found = []
    counted = parameter in _COUNTED
    if not found or (counted and not all(value == ALL or value >= 1 for value in found)):
        wanted = (
            f"counts such as {DEFAULT_VALUES[parameter]}" if counted else "numbers such as 0:360:10 or 0.05,0.2,0.6"
        )
        raise DabenchError(f"--values {text}: give {wanted}")
    return tuple(dict.fromkeys(found))


def _numbers(part: str, parameter: str) -> list[float]:
    if parameter in _COUNTED:
        return [ALL if part == "all" else int(part)]
    numbers = [float(number) for number in part.split(":")]
    if not all(map(math.isfinite, numbers)) or len(numbers) not in (1, 3):
        raise ValueError
    if len(numbers) == 1:
        return numbers
    first, last, step = numbers
    count = math.floor((last - first) / step + 1e-9) + 1 if step else 0
    if not 0 < count <= _MOST_VALUES:
        raise ValueError
    return [round(first + index * step, 10) for index in range(count)]


def points(
    found: tuple[str, Task], methods: tuple[Variant, ...], parameter: str, values: Sequence[float], request: Request
) -> tuple[Point, ...]:
    """What to plan at each value of one task, as `registry.tasks` found it; `request` says seeds, budget and the like.

    The parameter is `labels`, `target_images`, a number of the task's camera, or a hyper-parameter of a method; methods
    that it does not touch stand at every value. Raises DabenchError for a parameter that is none of these.
    """
    camera = found[1].camera
    known = [field.name for field in fields(camera)] if camera else []
    here = replace(request, tasks=(found,), methods=methods)
    if parameter == LABELS:
        return (Point(None, replace(here, labels=tuple(int(value) for value in values))),)
    if parameter in known:
        return tuple(Point(value, replace(here, tasks=(_seen(found, parameter, value),))) for value in values)
    if parameter == TARGET_IMAGES:
        varied = tuple(each for each in methods if registry.describe(each.file).needs & Needs.TARGET_IMAGES)
        moving = [Point(value, replace(here, methods=varied, target_images=int(value))) for value in values]
    else:
        varied = tuple(each for each in methods if parameter in registry.describe(each.file).parameters)
        moving = [
            Point(value, replace(here, methods=tuple(_with(each, parameter, value) for each in varied)))
            for value in values
        ]
    if not varied:
        hyper = {name for variant in methods for name in registry.describe(variant.file).parameters}
        choices = nearest(parameter, [*_COUNTED, *known, *hyper])
        raise DabenchError(f"no parameter '{parameter}' to vary here; {choices}")
    level = tuple(variant for variant in methods if variant not in varied)
    return (*moving, Point(None, replace(here, methods=level))) if level else tuple(moving)


def _seen(found: tuple[str, Task], parameter: str, value: float) -> tuple[str, Task]:
    """The task behind another camera, with the words that find it; at the camera's own value the task itself."""
    words, task = found
    if getattr(task.camera, parameter) == value:
        return found
    if "::" in words:
        raise DabenchError(f"cannot vary the camera of {words} from outside; write its {parameter} in the task's file")
    name, _, given = words.rstrip("]").partition("[")
    kept = [pair for pair in given.split(",") if pair and pair.partition("=")[0].strip() != parameter]
    return registry.tasks(f"{name}[{','.join([*kept, f'{parameter}={value:g}'])}]")[0]


def _with(variant: Variant, parameter: str, value: float) -> Variant:
    """The variant with one hyper-parameter more; raises DabenchError for a value out of its range."""
    given = {**dict(variant.given), parameter: f"{value:g}"}
    where = variant.name if variant.name in registry.method_files() else str(variant.file)
    return registry.methods(f"{where}[{','.join(f'{name}={text}' for name, text in given.items())}]")[0]


# ------------------------------------------------------------------------------------------ rows to lines


@dataclass(frozen=True)
class Curve:
    """A task, the parameter, its values, and the planned cells with the value each stands at (None: every one)."""

    task: str
    parameter: str
    values: tuple[float, ...]
    cells: tuple[tuple[float | None, Planned], ...]


def curve(
    found: tuple[str, Task],
    methods: tuple[Variant, ...],
    parameter: str,
    values: tuple[float, ...],
    request: Request,
    plan: Callable[[Request], tuple[Planned, ...]],
) -> Curve:
    """The curve of one task, as `registry.tasks` found it; `plan` plans its cells."""
    cells: list[tuple[float | None, Planned]] = []
    for point in points(found, methods, parameter, values, request):
        for planned in plan(point.request):
            at = point.value
            if parameter == LABELS and planned.identity["labels"] in values:
                at = planned.identity["labels"]
            cells.append((at, planned))
    return Curve(found[1].name, parameter, values, tuple(cells))


def lines(drawn: Curve, rows: Iterable[Mapping[str, Any]]) -> tuple[Line, ...]:
    """The curve's lines from the rows of its cells, in the order of the methods; a value without rows is nan."""
    stored = {row["key"]: row["accuracy"] for row in rows if row["status"] == "ok"}
    found: dict[tuple[str, bool], dict[float | None, list[float]]] = {}
    for value, planned in drawn.cells:
        accuracies = found.setdefault((_line_name(planned, drawn.parameter), value is None), {}).setdefault(value, [])
        if planned.key in stored:
            accuracies.append(stored[planned.key])
    drawn_lines = []
    for (name, level), at in found.items():
        figures = tuple(statistics.interval(at.get(value, [])) for value in ([None] if level else drawn.values))
        seeds = max(map(len, at.values()))
        if seeds:
            drawn_lines.append(Line(name, figures, seeds, level))
    return tuple(drawn_lines)


def _line_name(planned: Planned, parameter: str) -> str:
    given = tuple(pair for pair in planned.cell.variant.given if pair[0] != parameter)
    return Variant(planned.cell.variant.name, planned.cell.variant.file, given).label


def band(drawn: Sequence[Line]) -> Line | None:
    """The best line that the parameter does not move."""
    level = [line for line in drawn if line.level]
    return max(level, key=lambda line: line.figures[0][0], default=None)


# ---------------------------------------------------------------------------------------- lines to pages


def markdown(drawn: Curve, found: Sequence[Line]) -> str:
    """The table: a line for each value, a column for each method."""
    if not found:
        return f"# {drawn.task}: accuracy against {_axis(drawn.parameter)}\n\nNo cell of this curve has a result.\n"
    header = [_axis(drawn.parameter), *(f"`{line.name}`" for line in found)]
    body = [
        [_value(value), *(_figure(*line.figures[0 if line.level else index]) for line in found)]
        for index, value in enumerate(drawn.values)
    ]
    table = tabulate(body, header, tablefmt="pipe", colalign=("right",) * len(header), disable_numparse=True)
    first = drawn.cells[0][1].identity
    conditions = (
        f"Accuracy in percent on the target test images, mean ± half of the 95 % t-interval over "
        f"{max(line.seeds for line in found)} seeds. Protocol `{first['protocol']}`, backbone `{first['backbone']}`, "
        f"{first['image_size']} px, budget {first['budget']:g}."
    )
    level = band(found)
    note = "" if level is None else f"\n`{level.name}` is the best of the methods that do not depend on it.\n"
    name = picture_name(drawn)
    return (
        f"# {drawn.task}: accuracy against {_axis(drawn.parameter)}\n\n{conditions}\n\n![]({name})\n\n{table}\n{note}"
    )


def _axis(parameter: str) -> str:
    return _COUNTED.get(parameter, parameter)


def _value(value: float) -> str:
    return "all" if value == ALL else f"{value:g}"


def _figure(mean: float, half: float) -> str:
    if math.isnan(mean):
        return "-"
    return f"{100 * mean:.1f}" + ("" if math.isnan(half) else f" ± {100 * half:.1f}")


def svg(drawn: Curve, found: Sequence[Line]) -> str:
    """The plot, byte for byte the same from the same numbers; counts are drawn evenly spaced."""
    import matplotlib
    from matplotlib.figure import Figure

    even = drawn.parameter in _COUNTED
    places = list(range(len(drawn.values))) if even else list(drawn.values)
    best = band(found)
    with matplotlib.rc_context({"svg.hashsalt": "dabench", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for line in found:
            means, halves = (100 * number for number in _arrays(line.figures))
            if line.level and line is not best:
                continue
            if line.level:
                axes.axhline(means[0], color="grey", linestyle="--", linewidth=1, label=line.name)
                if not math.isnan(halves[0]):
                    axes.axhspan(means[0] - halves[0], means[0] + halves[0], color="grey", alpha=0.15, linewidth=0)
                continue
            (stroke,) = axes.plot(places, means, marker="o", markersize=3, linewidth=1.2, label=line.name)
            axes.fill_between(places, means - halves, means + halves, color=stroke.get_color(), alpha=0.15, linewidth=0)
        if even:
            axes.set_xticks(places, [_value(value) for value in drawn.values])
        elif drawn.parameter == "angle":
            axes.xaxis.set_major_locator(matplotlib.ticker.MultipleLocator(60))
        axes.set_xlabel(_axis(drawn.parameter) + (" (degrees)" if drawn.parameter == "angle" else ""))
        axes.set_ylabel("accuracy on target test images (%)")
        axes.set_title(drawn.task, fontsize=9)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if found:
            figure.legend(fontsize=8, loc="outside right upper", frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def _arrays(figures: Sequence[tuple[float, float]]) -> tuple[Any, Any]:
    import numpy as np

    means, halves = np.array(figures, dtype=float).T
    return means, halves


def picture_name(drawn: Curve) -> str:
    """The plot's file name, without the characters that links and shells trip over."""
    return re.sub(r"[^\w.-]+", "-", f"{drawn.task}-{drawn.parameter}") + ".svg"


def write(results: Path, drawn: Curve, rows: Iterable[Mapping[str, Any]]) -> tuple[Path, Path]:
    """Writes the table and the plot under `results/curves`; returns their paths."""
    found = lines(drawn, rows)
    picture = results / "curves" / picture_name(drawn)
    table = picture.with_suffix(".md")
    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_text(svg(drawn, found))
        table.write_text(markdown(drawn, found))
    except OSError as error:
        raise DabenchError(f"cannot write {error.filename}: {error.strerror}; choose another with --results") from error
    return table, picture
