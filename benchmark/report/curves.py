"""A curve's table and plot from the rows of its cells: the same rows give the same bytes."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from dabench.core import ALL
from dabench.evaluation import statistics
from dabench.files import write_whole
from dabench.results.curve import COUNTED, Curve

COLUMNS = ("key", "status", "variant", "seed", "accuracy", "accuracy_before", "setting")
_BASELINE = "source_only"


@dataclass(frozen=True)
class CurveLine:
    """A method's mean accuracies and half-widths of their 95 % intervals, a pair for each value of the curve.

    A `level` line does not depend on the parameter: its one pair stands at every value.
    """

    name: str
    figures: tuple[tuple[float, float], ...]
    seeds: int
    level: bool = False


def lines(drawn: Curve, rows: Iterable[Mapping[str, Any]]) -> tuple[CurveLine, ...]:
    """The curve's lines from the rows of its cells, in the order of the methods; a value without rows is nan."""
    ok = {row["key"]: row for row in rows if row["status"] == "ok"}
    stored = {key: row["accuracy"] for key, row in ok.items()}
    found: dict[tuple[str, bool], dict[float | None, list[float]]] = {}
    for cell in drawn.cells:
        accuracies = found.setdefault((cell.line, cell.value is None), {}).setdefault(cell.value, [])
        if cell.key in stored:
            accuracies.append(stored[cell.key])
    drawn_lines = []
    for (name, level), at in found.items():
        figures = tuple(statistics.interval(at.get(value, [])) for value in ([None] if level else drawn.values))
        seeds = max(map(len, at.values()))
        if seeds:
            drawn_lines.append(CurveLine(name, figures, seeds, level))
    if drawn_lines and _BASELINE not in (line.name for line in drawn_lines):
        drawn_lines += _source_model(drawn, ok)
    return tuple(drawn_lines)


def _source_model(drawn: Curve, ok: Mapping[str, Mapping[str, Any]]) -> list[CurveLine]:
    """The line of the source model as the methods' own rows saw it, one number for each seed."""
    by_seed: dict[float | None, dict[int, float]] = {}
    for cell in drawn.cells:
        row = ok.get(cell.key, {})
        if row.get("accuracy_before") is not None:
            by_seed.setdefault(cell.value, {})[row["seed"]] = row["accuracy_before"]
    at = {value: list(seeds.values()) for value, seeds in by_seed.items() if value is not None}
    if not at:
        return []
    figures = tuple(statistics.interval(at.get(value, [])) for value in drawn.values)
    level = len({mean for mean, _ in figures}) == 1  # a hyper-parameter or a number of labels does not change it
    return [CurveLine(_BASELINE, figures[:1] if level else figures, max(map(len, at.values())), level)]


def band(drawn: Sequence[CurveLine]) -> CurveLine | None:
    """The best line that the parameter does not move."""
    level = [line for line in drawn if line.level]
    return max(level, key=lambda line: line.figures[0][0], default=None)


def markdown(drawn: Curve, found: Sequence[CurveLine]) -> str:
    """The table: a line for each value, a column for each method."""
    if not found:
        return f"# {drawn.task}: accuracy against {_axis(drawn.parameter)}\n\nNo cell of this curve has a result.\n"
    header = [_axis(drawn.parameter), *(f"`{line.name}`" for line in found)]
    body = [
        [_value(value), *(_figure(*line.figures[0 if line.level else index]) for line in found)]
        for index, value in enumerate(drawn.values)
    ]
    table = tabulate(body, header, tablefmt="pipe", colalign=("right",) * len(header), disable_numparse=True)
    conditions = (
        f"Accuracy in percent on the target test images, mean ± half of the 95 % t-interval over "
        f"{max(line.seeds for line in found)} seeds. {drawn.conditions}."
    )
    level = band(found)
    note = "" if level is None else f"\n`{level.name}` is the best of the methods that do not depend on it.\n"
    name = picture_name(drawn)
    return (
        f"# {drawn.task}: accuracy against {_axis(drawn.parameter)}\n\n{conditions}\n\n![]({name})\n\n{table}\n{note}"
    )


def _axis(parameter: str) -> str:
    return COUNTED.get(parameter, parameter)


def _value(value: float) -> str:
    return "all" if value == ALL else f"{value:g}"


def _figure(mean: float, half: float) -> str:
    if math.isnan(mean):
        return "-"
    return f"{100 * mean:.1f}" + ("" if math.isnan(half) else f" ± {100 * half:.1f}")


def svg(drawn: Curve, found: Sequence[CurveLine]) -> str:
    """The plot, byte for byte the same from the same numbers; counts are drawn evenly spaced."""
    import matplotlib
    from matplotlib.figure import Figure

    even = drawn.parameter in COUNTED
    places = list(range(len(drawn.values))) if even else list(drawn.values)
    best = band(found)
    with matplotlib.rc_context({"svg.hashsalt": "dabench", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for line in found:
            means, halves = 100 * np.array(line.figures, dtype=float).T
            if line.level and line is not best and line.name != _BASELINE:
                continue
            if line.level:
                style = ":" if line.name == _BASELINE else "--"
                axes.axhline(means[0], color="grey", linestyle=style, linewidth=1, label=line.name)
                if not math.isnan(halves[0]):
                    axes.axhspan(means[0] - halves[0], means[0] + halves[0], color="grey", alpha=0.15, linewidth=0)
                continue
            look: dict[str, Any] = {"color": "grey", "linestyle": ":"} if line.name == _BASELINE else {}
            (stroke,) = axes.plot(places, means, marker="o", markersize=3, linewidth=1.2, label=line.name, **look)
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


def picture_name(drawn: Curve) -> str:
    """The plot's file name, without the characters that links and shells trip over."""
    return re.sub(r"[^\w.-]+", "-", f"{drawn.task}-{drawn.parameter}") + ".svg"


def write(results: Path, drawn: Curve, rows: Iterable[Mapping[str, Any]]) -> tuple[Path, Path]:
    """Writes the table and the plot under `results/curves`; returns their paths."""
    found = lines(drawn, rows)
    picture = results / "curves" / picture_name(drawn)
    table = picture.with_suffix(".md")
    write_whole(picture, svg(drawn, found), "--results")
    write_whole(table, markdown(drawn, found), "--results")
    return table, picture
