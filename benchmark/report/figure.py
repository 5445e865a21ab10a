"""What every figure of stored rows shares: its size on paper, its file, and names that do not overprint."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dabench.core import DabenchError
from dabench.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("svg", "png", "pdf")
WIDTH = 6.9  # inches: a page of two columns; a column is 3.3
NARROW = 5.0  # below which a legend stands above the axes
SMALL = 7  # points of a name beside a mark
_STYLE: dict[Any, Any] = {"svg.hashsalt": "dabench", "svg.fonttype": "none", "pdf.fonttype": 42}
_BESIDE = ((4, 3, "left"), (-4, 3, "right"), (4, -9, "left"), (-4, -9, "right"))  # points from the mark


@dataclass(frozen=True)
class Plot:
    """A figure, the table of what it shows, and what it says in words."""

    figure: Figure
    header: Sequence[str]
    lines: Sequence[Sequence[str]]
    words: str = ""


def drawn_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Axes that fill a figure of that size in inches, names and legends included."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return figure, axes


def height_for(width: float) -> float:
    """Of axes with a legend: beside them on a page, above them in a column."""
    return 0.65 * width if width >= NARROW else 1.25 * width


def labelled(figure: Figure, axes: Axes, across: str, up: str, title: str) -> None:
    """The axes' names and the title, which is broken where the figure is narrow."""
    if figure.get_figwidth() >= NARROW:
        axes.set_xlabel(across, fontsize=8)
    else:
        figure.supxlabel(across, fontsize=8)  # which may be longer than the axes
    axes.set_ylabel(up, fontsize=8)
    axes.set_title(title.replace(" (", "\n(", 1), fontsize=8)


def legend(figure: Figure) -> None:
    """The legend beside the axes, or above them where there is no room: below, it would hide their name."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    look: dict[str, Any] = {"fontsize": SMALL, "frameon": False}
    if figure.get_figwidth() >= NARROW:
        figure.legend(handles, names, loc="outside right upper", **look)
    else:
        figure.legend(handles, names, loc="outside upper center", ncols=2, **look)


def name_points(figure: Figure, axes: Axes, points: Sequence[tuple[float, float, str]]) -> list[str]:
    """Writes names beside points (x, y, name), the first ones first; returns those for which no free place is left."""
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()  # lays the axes out, so that places are those of the file
    marks = [axes.transData.transform((x, y)) for x, y, _ in points]
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in marks]
    inside = axes.get_window_extent()
    left_out = []
    for at, (x, y, name) in enumerate(points):
        for right, up, side in _BESIDE:
            text = axes.annotate(
                name, (x, y), (right, up), textcoords="offset points", fontsize=SMALL, ha=side, annotation_clip=False
            )
            box = text.get_window_extent().padded(1.5)
            free = inside.x0 <= box.x0 and box.x1 <= inside.x1
            if free and not any(box.overlaps(other) for other in (*taken[:at], *taken[at + 1 :])):
                taken.append(box)
                break
            text.remove()
        else:
            left_out.append(name)
    return left_out


def apart(heights: Sequence[float], least: float) -> np.ndarray:
    """The heights moved as little as their order allows, so that neighbours are `least` apart."""
    order = np.argsort(heights, kind="stable")
    moved = np.array(heights, dtype=float)[order]
    groups: list[list[float]] = []  # mean and size of heights that touch
    for height in moved:
        groups.append([height, 1])
        while len(groups) > 1 and groups[-1][0] - groups[-2][0] < least * (groups[-1][1] + groups[-2][1]) / 2:
            (low, few), (high, many) = groups[-2:]
            groups[-2:] = [[(low * few + high * many) / (few + many), few + many]]
    placed = [mean + least * (at - (size - 1) / 2) for mean, size in groups for at in range(int(size))]
    made = np.empty(len(placed))
    made[order] = placed
    return made


def saved(figure: Figure, kind: str) -> bytes:
    """The figure's file, byte for byte the same from the same numbers; `kind` is one of KINDS."""
    import matplotlib

    if kind not in KINDS:
        raise DabenchError(
            f"cannot draw a '.{kind}' file; give --output a name that ends in one of: {', '.join(KINDS)}"
        )
    nameless = {"svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None, "Creator": None}}
    file = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(file, format=kind, dpi=150, metadata=nameless.get(kind, {"Software": None}))
    return file.getvalue()


def write(plot: Plot, output: Path) -> None:
    """Stores the figure under its file name's suffix."""
    content = saved(plot.figure, output.suffix.removeprefix(".").lower())
    write_whole(output, content, "--output")
