"""Figures of stored rows: accuracy against labels, against cost, mean ranks, and how well the scores choose.

The same rows give the same bytes. What a figure shows stands in its table too.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dabench.core import DabenchError, Setting, nearest
from dabench.evaluation import standings, statistics
from dabench.evaluation.standings import CEILING, FLOOR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("svg", "png", "pdf")
_UNLABELLED = (Setting.GENERALIZATION, Setting.TEST_TIME, Setting.SOURCE_FREE, Setting.UNSUPERVISED)
_COLOURS = {  # colour-blind safe (Okabe and Ito)
    Setting.SOURCE_ONLY: "#666666",
    Setting.GENERALIZATION: "#56b4e9",
    Setting.TEST_TIME: "#e69f00",
    Setting.SOURCE_FREE: "#009e73",
    Setting.UNSUPERVISED: "#0072b2",
    Setting.SUPERVISED: "#d55e00",
    Setting.ORACLE: "#000000",
}
_MARKERS = "osD^vP*X<>"
_LEAST_CLOSED = -60.0  # percent; what does more harm would leave no room for the others


@dataclass(frozen=True)
class Plot:
    """A figure, the table of what it shows, and what it says in words."""

    figure: Figure
    header: Sequence[str]
    lines: Sequence[Sequence[str]]
    words: str = ""


def drawn(kind: str, rows: pd.DataFrame, what: str) -> Plot:
    """The figure of that kind: `labels` and `cost` of a task, `ranks` of a setting, `validators` of a family.

    `rows` needs standings.COLUMNS. Raises DabenchError where the rows do not hold what the figure needs.
    """
    makers: Mapping[str, Callable[[pd.DataFrame, str], Plot]] = {
        "labels": labels,
        "cost": cost,
        "ranks": ranks,
        "validators": validators,
    }
    return makers[kind](rows, what)


def saved(figure: Figure, kind: str) -> bytes:
    """The figure's file, byte for byte the same from the same numbers; `kind` is one of KINDS."""
    import matplotlib

    if kind not in KINDS:
        raise DabenchError(
            f"cannot draw a '.{kind}' file; give --output a name that ends in one of: {', '.join(KINDS)}"
        )
    nameless = {"svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None, "Creator": None}}
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "dabench", "svg.fonttype": "none"}):
        figure.savefig(file, format=kind, bbox_inches="tight", dpi=150, metadata=nameless.get(kind, {"Software": None}))
    return file.getvalue()


def _rows_of(rows: pd.DataFrame, column: str, what: str) -> pd.DataFrame:
    """The ok rows of a task, setting or family, of the conditions that most of them share."""
    rows = standings.current(rows)
    rows = rows[rows["status"] == "ok"]
    known = sorted(rows[column].unique())
    if what not in known:
        raise DabenchError(f"no finished cells of the {column} '{what}'; {nearest(what, known)}")
    rows = rows[rows[column] == what]
    return rows.reset_index(drop=True)


def _usual(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows of the conditions that most rows share, and these in words."""
    names = [*standings.CONDITIONS, "target_images"]
    counts = rows.groupby(names, sort=True).size().reset_index(name="rows")
    usual = counts.sort_values(["rows", "budget"], kind="stable").iloc[-1]
    inside = rows[(rows[names] == usual[names]).all(axis=1)]
    words = f"protocol {usual['protocol']}, {usual['backbone']}, {usual['image_size']} px"
    words += "" if usual["budget"] == 1 else f", budget {usual['budget']:g}"
    words += "" if usual["target_images"] < 0 else f", {usual['target_images']} target images"
    return inside.reset_index(drop=True), words


def _axes(width: float = 7, height: float = 4) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return figure, axes


def _spread(mean: float, half: float) -> str:
    return f"{100 * mean:.1f}" + ("" if np.isnan(half) else f" ± {100 * half:.1f}")


# ------------------------------------------------------------------------------------------------ labels


def labels(rows: pd.DataFrame, task: str) -> Plot:
    """Accuracy against target labels a class, with the methods that use none as level lines."""
    rows, where = _usual(_rows_of(rows, "task", task))
    rows = rows[rows["variant"] == rows["method"]]
    budgeted = rows[rows["setting"] == Setting.SUPERVISED]
    if budgeted.empty:
        raise DabenchError(f"no method that uses target labels on '{task}'; run one with --labels 1,3,10,all")
    budgets = sorted(budgeted["labels"].unique(), key=lambda count: np.inf if count < 0 else count)
    figure, axes = _axes()
    lines: list[list[str]] = []
    level = rows[rows["setting"] != Setting.SUPERVISED]
    order = {str(setting): place for place, setting in enumerate(Setting)}
    for (setting, method), group in sorted(level.groupby(["setting", "method"]), key=lambda pair: order[pair[0][0]]):
        mean, half = statistics.interval(group["accuracy"])
        style = {FLOOR: ":", CEILING: "-."}.get(method, "--")
        colour = _COLOURS[Setting(setting)]
        axes.axhline(100 * mean, color=colour, linestyle=style, linewidth=1)
        # Lines of one setting share its colour: the name stands at the line.
        axes.annotate(
            method,
            (1, 100 * mean),
            (4, 0),
            ("axes fraction", "data"),
            "offset points",
            va="center",
            fontsize=7,
            color=colour,
        )
        lines.append([setting, method, *[_spread(mean, half)] * len(budgets)])
    for index, (method, group) in enumerate(budgeted.groupby("method", sort=True)):
        found = [statistics.interval(group.loc[group["labels"] == count, "accuracy"]) for count in budgets]
        mean, half = 100 * np.array(found).T
        axes.errorbar(
            range(len(budgets)),
            mean,
            yerr=np.nan_to_num(half),
            marker=_MARKERS[index % len(_MARKERS)],
            color=f"C{index}",
            markersize=4,
            capsize=2,
            label=method,
        )
        lines.append([str(Setting.SUPERVISED), method, *("-" if np.isnan(one[0]) else _spread(*one) for one in found)])
    names = ["all" if count < 0 else str(count) for count in budgets]
    axes.set_xticks(range(len(budgets)), names)
    axes.set_xlabel("target labels a class")
    axes.set_ylabel("target accuracy, %")
    axes.set_title(f"{task} ({where})", fontsize=9)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.2, 0.5))
    words = [overtaking(rows, method) for method in sorted(budgeted["method"].unique())]
    return Plot(figure, ["setting", "method", *names], lines, "\n".join(words))


def overtaking(rows: pd.DataFrame, method: str) -> str:
    """The sentence that says at how many labels a class `method` passes the best method that uses none.

    `rows` are of one task under one set of conditions. From the budget named on, every larger one is ahead too.
    """
    none = rows[rows["setting"].isin([str(setting) for setting in _UNLABELLED])]
    if none.empty:
        return f"No method that uses no labels is stored beside {method}."
    best = none.groupby("method", sort=True)["accuracy"].mean().idxmax()
    rival = none[none["method"] == best].set_index("seed")["accuracy"]
    own = rows[rows["method"] == method]
    ahead = None
    for count in sorted(own["labels"].unique(), key=lambda count: -np.inf if count < 0 else -count):
        there = own[own["labels"] == count].set_index("seed")["accuracy"]
        if there.mean() <= rival.mean():
            break
        ahead = count, there
    known = f"the best method that uses none ({best}, {_spread(*statistics.interval(rival))} %)"
    if ahead is None:
        return f"{method} does not overtake {known} at the largest label budget stored."
    count, there = ahead
    both = there.index.intersection(rival.index)
    p = statistics.paired_p_value(there[both], rival[both])
    doubt = "one seed alone cannot tell" if np.isnan(p) else f"paired over {len(both)} seeds, p = {p:.2g}"
    name = "all" if count < 0 else str(count)
    return f"At {name} labels a class {method} ({_spread(*statistics.interval(there))} %) overtakes {known}; {doubt}."


# -------------------------------------------------------------------------------------------------- cost


def cost(rows: pd.DataFrame, task: str) -> Plot:
    """Accuracy against the seconds of adaptation, with the front of methods that none beats in both."""
    rows, where = _usual(_rows_of(rows, "task", task))
    rows = rows[rows["variant"] == rows["method"]]
    rows = rows[(rows["setting"] != Setting.SUPERVISED) | (rows["labels"] == _largest(rows["labels"]))]
    groups = rows.groupby(["setting", "method"], sort=True)
    table = groups.agg(accuracy=("accuracy", "mean"), seconds=("seconds", "mean")).reset_index()
    table["half"] = [statistics.interval(group["accuracy"])[1] for _, group in groups]
    table = table.sort_values(["seconds", "accuracy"], ascending=[True, False], kind="stable")
    table["front"] = table["accuracy"] > table["accuracy"].cummax().shift(fill_value=-1.0)
    figure, axes = _axes()
    shown = table.assign(seconds=table["seconds"].clip(lower=0.1))  # source-only takes no time, which no log axis has
    front = shown[shown["front"]]
    axes.step(front["seconds"], 100 * front["accuracy"], where="post", color="#bbbbbb", linewidth=1, zorder=0)
    for setting in (setting for setting in Setting if setting in set(shown["setting"])):
        inside = shown[shown["setting"] == setting]
        axes.scatter(inside["seconds"], 100 * inside["accuracy"], s=18, color=_COLOURS[setting], label=str(setting))
    for line in shown.itertuples():
        axes.annotate(line.method, (line.seconds, 100 * line.accuracy), (3, 3), textcoords="offset points", fontsize=7)
    axes.set_xscale("log")
    axes.set_xlabel("adaptation, s (at least 0.1)")
    axes.set_ylabel("target accuracy, %")
    axes.set_title(f"{task} ({where})", fontsize=9)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    lines = [
        [
            line.setting,
            line.method,
            f"{line.seconds:.1f}",
            _spread(line.accuracy, line.half),
            "yes" if line.front else "",
        ]
        for line in table.itertuples()
    ]
    return Plot(figure, ["setting", "method", "seconds", "accuracy, %", "on the front"], lines)


def _largest(counts: pd.Series) -> int:
    return -1 if (counts < 0).any() else int(counts.max())


# ------------------------------------------------------------------------------------ ranks, validators


def ranks(rows: pd.DataFrame, setting: str) -> Plot:
    """The critical-difference diagram of a setting over the tasks that all its methods have."""
    rows = standings.on_benches(_rows_of(rows, "setting", setting))
    table = standings.cells(rows.assign(figure=rows["accuracy"]))
    found = [ranking for ranking in standings.rankings(table) if str(ranking.setting) == setting]
    if not found or min(found[0].accuracy.shape) < 3:
        tasks, methods = found[0].accuracy.shape if found else (0, 0)
        raise DabenchError(
            f"mean ranks of '{setting}' need 3 methods on 3 tasks that all of them have; "
            f"there are {methods} methods on {tasks}"
        )
    (ranking,) = found
    diagram = statistics.critical_difference(ranking.accuracy)
    lines = [
        [line.method, f"{line.rank:.2f}", f"{line.low:.2f}", f"{line.high:.2f}"] for line in ranking.table.itertuples()
    ]
    words = f"Friedman's test over {diagram.tasks} tasks: p = {diagram.friedman_p:.2g}."
    figure = statistics.critical_difference_figure(diagram)
    return Plot(figure, ["method", "mean rank", "2.5 %", "97.5 %"], lines, words)


def gap_closed(rankings: Sequence[standings.Ranking]) -> Plot:
    """Every ranked method's share of the gap closed, setting by setting, the better first.

    The bounds are a bootstrap over the tasks that all methods of the setting have. What lies outside of the axis is
    an arrow on its edge; the number stands beside it.
    """
    lines, places = [], []
    at = 0.0
    for ranking in rankings:
        at += 0.6
        places.append((at, ranking))
        shares = 100 * statistics.mean_over_tasks(ranking.closed)
        for place in np.argsort(-np.nan_to_num(shares[:, 0], nan=-np.inf), kind="stable"):
            at += 1
            lines.append((at, Setting(ranking.setting), ranking.closed.columns[place], *shares[place]))
        at += 1
    figure, axes = _axes(8, 0.6 + 0.23 * at)
    left, right = _LEAST_CLOSED, max([120.0, *(bound for *_, bound in lines if not np.isnan(bound))])
    for edge, name in ((0, "source-only"), (100, "oracle")):
        axes.axvline(edge, color="#999999", linewidth=0.8, zorder=0)
        axes.annotate(name, (edge, 0), (0, 4), textcoords="offset points", ha="center", fontsize=8, color="#666666")
    found = np.array([line[3:] for line in lines]).reshape(-1, 3)
    mean, low, high = np.clip(found.T, left, right)
    height = np.array([at for at, *_ in lines])
    colours = np.array([_COLOURS[setting] for _, setting, *_ in lines])
    axes.hlines(height, low, high, colors=[f"{colour}73" for colour in colours], linewidth=2.5)
    for marker, inside in (("o", found[:, 0] >= left), ("<", found[:, 0] < left)):
        axes.scatter(mean[inside], height[inside], s=22, marker=marker, c=colours[inside], clip_on=False, zorder=3)
    beside: dict[str, Any] = {
        "xycoords": ("axes fraction", "data"),
        "textcoords": "offset points",
        "va": "center",
        "fontsize": 8,
    }
    for at, _, _, *numbers in lines:
        axes.annotate(_share(*numbers), (1, at), (8, 0), **beside)
    for at, ranking in places:
        words = f"{ranking.setting} ({len(ranking.shared)} task{'s' * (len(ranking.shared) != 1)})"
        axes.annotate(words, (0, at), (-6, 0), **beside, ha="right", fontweight="bold")
    axes.set_yticks([at for at, *_ in lines], [name for _, _, name, *_ in lines])
    axes.set_ylim(max([at for at, *_ in lines], default=1) + 0.8, 0)
    axes.set_xlim(left, right)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("gap closed between source-only and oracle, %: mean and 95 % interval over tasks", fontsize=8)
    table = [[str(setting), name, _share(mean, low, high)] for _, setting, name, mean, low, high in lines]
    return Plot(figure, ["setting", "method", "gap closed, % [95 %]"], table)


def _share(mean: float, low: float, high: float) -> str:
    if np.isnan(mean):
        return "-"
    return f"{mean:.0f}" + ("" if np.isnan(low) else f" [{low:.0f}, {high:.0f}]")


def validators(rows: pd.DataFrame, family: str) -> Plot:
    """What each label-free score loses against the best checkpoint, for each setting of a family."""
    rows = standings.on_benches(_rows_of(rows, "family", family))
    table = standings.validators(rows, standings.choices(rows))
    table = table[~table["setting"].isin([Setting.SOURCE_ONLY, Setting.ORACLE])]
    if table.empty:
        raise DabenchError(f"no checkpoint scores of family '{family}'; run methods that train")
    names = list(table.groupby("validator")["regret"].mean().sort_values(kind="stable").index)
    settings = [setting for setting in Setting if setting in set(table["setting"])]
    figure, axes = _axes(7, 1 + 0.3 * len(names))
    for index, setting in enumerate(settings):
        inside = table[table["setting"] == setting].set_index("validator")["regret"].reindex(names)
        at = np.arange(len(names)) + 0.8 * ((index + 0.5) / len(settings) - 0.5)
        axes.barh(at, 100 * inside, height=0.8 / len(settings), color=_COLOURS[setting], label=str(setting))
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("accuracy lost against the best checkpoint, points")
    axes.set_title(family, fontsize=9)
    axes.legend(fontsize=7, frameon=False)
    lines = [
        [line.setting, line.validator, f"{100 * line.regret:.1f}", f"{line.over_checkpoints:.2f}", str(line.runs)]
        for line in table.itertuples()
    ]
    return Plot(figure, ["setting", "score", "regret, points", "rank correlation", "runs"], lines)


def write(plot: Plot, output: Path) -> None:
    """Stores the figure under its file name's suffix."""
    content = saved(plot.figure, output.suffix.removeprefix(".").lower())
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(content)
