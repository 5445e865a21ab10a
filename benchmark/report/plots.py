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
from dabench.evaluation.comparison import Verdict
from dabench.evaluation.leaderboard import Leaderboard
from dabench.evaluation.rankings import Ranking
from dabench.evaluation.tables import BASELINE, CONDITIONS, LABELLED, UNLABELLED, UPPER_BOUND
from dabench.report.palette import LOOKS
from dabench.report.wording import bounded, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("svg", "png", "pdf")
_MARKERS = "osD^vP*X<>"
_LEAST_CLOSED = -60.0  # percent; what does more harm would leave no room for the others


@dataclass(frozen=True)
class Plot:
    """A figure, the table of what it shows, and what it says in words."""

    figure: Figure
    header: Sequence[str]
    lines: Sequence[Sequence[str]]
    words: str = ""


def drawn(kind: str, board: Leaderboard, what: str) -> Plot:
    """The figure of that kind: `labels` and `cost` of a task, `ranks` of a setting, `validators` of a family.

    Raises DabenchError where the rows do not hold what the figure needs.
    """
    makers: Mapping[str, Callable[[Leaderboard, str], Plot]] = {
        "labels": labels,
        "cost": cost,
        "ranks": ranks,
        "validators": validators,
    }
    return makers[kind](board, what)


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


def _entries_of(board: Leaderboard, column: str, what: str) -> pd.DataFrame:
    """The entries of default methods of a task or setting."""
    entries = board.entries[board.entries["default"]]
    known = sorted(entries[column].unique())
    if what not in known:
        raise DabenchError(f"no finished cells of the {column} '{what}'; {nearest(what, known)}")
    return entries[entries[column] == what]


def _usual(entries: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The entries of the conditions under which most cells ran, and these in words."""
    names = [*CONDITIONS, "target_images"]
    counts = entries.groupby(names, sort=True)["seeds"].sum().reset_index(name="rows")
    usual = counts.sort_values(["rows", "budget"], kind="stable").iloc[-1]
    inside = entries[(entries[names] == usual[names]).all(axis=1)]
    words = f"protocol {usual['protocol']}, {usual['backbone']}, {usual['image_size']} px"
    words += "" if usual["budget"] == 1 else f", budget {usual['budget']:g}"
    words += "" if usual["target_images"] < 0 else f", {usual['target_images']} target images"
    return inside, words


def _largest(counts: pd.Series) -> int:
    return -1 if (counts < 0).any() else int(counts.max())


def _axes(width: float = 7, height: float = 4) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return figure, axes


# ------------------------------------------------------------------------------------------------ labels


def labels(board: Leaderboard, task: str) -> Plot:
    """Accuracy against target labels a class, with the methods that use none as level lines."""
    entries, where = _usual(_entries_of(board, "task", task))
    budgeted = entries[entries["setting"].isin(LABELLED)]
    if budgeted.empty:
        raise DabenchError(f"no method that uses target labels on '{task}'; run one with --labels 1,3,10,all")
    budgets = sorted(budgeted["labels"].unique(), key=lambda count: np.inf if count < 0 else count)
    figure, axes = _axes()
    # Methods without labels stand in the group of every budget that they were placed beside, the same each time.
    level = entries[~entries["setting"].isin(LABELLED)].drop_duplicates(["setting", "method"])
    lines = _levels(axes, level, len(budgets))
    for index, (method, group) in enumerate(budgeted.groupby("method", sort=True)):
        by_budget = group.set_index("labels").reindex(budgets)
        mean, ci = 100 * by_budget["mean"].to_numpy(), 100 * by_budget["ci"].to_numpy()
        axes.errorbar(
            range(len(budgets)),
            mean,
            yerr=np.nan_to_num(ci),
            marker=_MARKERS[index % len(_MARKERS)],
            color=f"C{index}",
            markersize=4,
            capsize=2,
            label=method,
        )
        texts = [
            "-" if np.isnan(one) else spread(one, half)
            for one, half in zip(by_budget["mean"], by_budget["ci"], strict=True)
        ]
        lines.append([group["setting"].iloc[0], str(method), *texts])
    names = ["all" if count < 0 else str(count) for count in budgets]
    axes.set_xticks(range(len(budgets)), names)
    axes.set_xlabel("target labels a class")
    axes.set_ylabel("target accuracy, %")
    axes.set_title(f"{task} ({where})", fontsize=9)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.2, 0.5))
    words = [overtaking(board, entries, method) for method in sorted(budgeted["method"].unique())]
    return Plot(figure, ["setting", "method", *names], lines, "\n".join(words))


def _levels(axes: Axes, level: pd.DataFrame, points: int) -> list[list[str]]:
    """A line across for each method that uses no labels; gives its lines of the table."""
    lines = []
    order = {str(setting): place for place, setting in enumerate(Setting)}
    for line in sorted(level.itertuples(), key=lambda line: (order[line.setting], line.method)):
        style = {BASELINE: ":", UPPER_BOUND: "-."}.get(line.method, "--")
        colour = LOOKS[Setting(line.setting)].light
        axes.axhline(100 * line.mean, color=colour, linestyle=style, linewidth=1)
        # Lines of one setting share its colour: the name stands at the line.
        axes.annotate(
            line.method,
            (1, 100 * line.mean),
            (4, 0),
            ("axes fraction", "data"),
            "offset points",
            va="center",
            fontsize=7,
            color=colour,
        )
        lines.append([line.setting, line.method, *[spread(line.mean, line.ci)] * points])
    return lines


def overtaking(board: Leaderboard, entries: pd.DataFrame, method: str) -> str:
    """The sentence that says at how many labels a class `method` passes the best method that uses none.

    `entries` are of one task under one set of conditions. From the budget named on, every larger one is ahead too.
    """
    none = entries[entries["setting"].isin(UNLABELLED)]
    if none.empty:
        return f"No method that uses no labels is stored beside {method}."
    rival = none.sort_values(["mean", "method"], ascending=[False, True], kind="stable").iloc[0]
    own = entries[entries["method"] == method].set_index("labels")
    ahead = None
    for count in sorted(own.index, key=lambda count: -np.inf if count < 0 else -count):
        if own.at[count, "mean"] <= rival["mean"]:
            break
        ahead = count
    known = f"the best method that uses none ({rival['method']}, {spread(rival['mean'], rival['ci'])} %)"
    if ahead is None:
        return f"{method} does not overtake {known} at the largest label budget stored."
    number = entries.index[(entries["method"] == method) & (entries["labels"] == ahead)][0]
    difference = board.difference(int(number), int(rival.name))
    doubt = {
        Verdict.UNTESTED: "one seed alone cannot tell",
        Verdict.TIED: f"{difference.n} seeds do not tell them apart, p = {difference.p:.2g}",
    }.get(difference.verdict, f"paired over {difference.n} seeds, p = {difference.p:.2g}")
    name = "all" if ahead < 0 else str(ahead)
    there = spread(own.at[ahead, "mean"], own.at[ahead, "ci"])
    return f"At {name} labels a class {method} ({there} %) overtakes {known}; {doubt}."


# -------------------------------------------------------------------------------------------------- cost


def cost(board: Leaderboard, task: str) -> Plot:
    """Accuracy against the seconds of adaptation, with the front of methods that none beats in both."""
    entries, where = _usual(_entries_of(board, "task", task))
    entries = entries[entries["labels"] == _largest(entries["labels"])]
    table = entries[["setting", "method", "mean", "ci", "seconds"]].sort_values(["setting", "method"])
    table = table.sort_values(["seconds", "mean"], ascending=[True, False], kind="stable")
    table["front"] = table["mean"] > table["mean"].cummax().shift(fill_value=-1.0)
    figure, axes = _axes()
    shown = table.assign(seconds=table["seconds"].clip(lower=0.1))  # source-only takes no time, which no log axis has
    front = shown[shown["front"]]
    axes.step(front["seconds"], 100 * front["mean"], where="post", color="#bbbbbb", linewidth=1, zorder=0)
    for setting in (setting for setting in Setting if setting in set(shown["setting"])):
        inside = shown[shown["setting"] == setting]
        axes.scatter(inside["seconds"], 100 * inside["mean"], s=18, color=LOOKS[setting].light, label=str(setting))
    for line in shown.itertuples():
        axes.annotate(line.method, (line.seconds, 100 * line.mean), (3, 3), textcoords="offset points", fontsize=7)
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
            spread(line.mean, line.ci),
            "yes" if line.front else "",
        ]
        for line in table.itertuples()
    ]
    return Plot(figure, ["setting", "method", "seconds", "accuracy, %", "on the front"], lines)


# ------------------------------------------------------------------------------------ ranks, validators


def ranks(board: Leaderboard, setting: str) -> Plot:
    """Mean ranks of a setting over the tasks that all its methods have."""
    _entries_of(board, "setting", setting)
    fitting = [ranking for ranking in board.rankings if ranking.setting == setting]
    if not fitting or min(fitting[0].accuracy.shape) < 3:
        tasks, methods = fitting[0].accuracy.shape if fitting else (0, 0)
        raise DabenchError(
            f"mean ranks of '{setting}' need 3 methods on 3 tasks that all of them have; "
            f"there are {methods} methods on {tasks}"
        )
    return mean_ranks(fitting[0])


def mean_ranks(ranking: Ranking) -> Plot:
    """Every method's mean rank with its interval, the best above."""
    table = ranking.table
    height = np.arange(len(table))
    figure, axes = _axes(7, 0.9 + 0.25 * len(table))
    colour = LOOKS[Setting(ranking.setting)].light
    axes.hlines(height, table["rank_low"], table["rank_high"], colors=f"{colour}73", linewidth=2.5)
    axes.scatter(table["rank"], height, s=22, color=colour, zorder=3)
    axes.set_yticks(height, table["method"])
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.set_xlabel("mean rank, 1 is best (95 % interval over families, tasks and seeds)", fontsize=8)
    axes.set_title(f"{ranking.setting}, {len(ranking.shared)} tasks", fontsize=9)
    lines = [
        [line.method, f"{line.rank:.2f}", f"{line.rank_low:.2f}", f"{line.rank_high:.2f}"]
        for line in table.itertuples()
    ]
    words = f"Mean ranks over {len(ranking.shared)} tasks that all methods have."
    return Plot(figure, ["method", "mean rank", "2.5 %", "97.5 %"], lines, words)


def gap_closed(rankings: Sequence[Ranking]) -> Plot:
    """Every ranked method's share of the gap closed, setting by setting, the better first.

    The bounds are a bootstrap over families, tasks and seeds. What lies outside of the axis is
    an arrow on its edge; the number stands beside it.
    """
    lines, places = [], []
    at = 0.0
    for ranking in rankings:
        at += 0.6
        places.append((at, ranking))
        names = ["gap_closed", "gap_closed_low", "gap_closed_high"]
        for line in ranking.table.sort_values(["gap_closed", "method"], ascending=[False, True]).itertuples():
            at += 1
            shares = (100 * getattr(line, name) for name in names)
            lines.append((at, Setting(ranking.setting), line.method, *shares))
        at += 1
    figure, axes = _axes(8, 0.6 + 0.23 * at)
    left, right = _LEAST_CLOSED, max([120.0, *(bound for *_, bound in lines if not np.isnan(bound))])
    for edge, name in ((0, "source-only"), (100, "upper bound")):
        axes.axvline(edge, color="#999999", linewidth=0.8, zorder=0)
        axes.annotate(name, (edge, 0), (0, 4), textcoords="offset points", ha="center", fontsize=8, color="#666666")
    found = np.array([line[3:] for line in lines]).reshape(-1, 3)
    mean, low, high = np.clip(found.T, left, right)
    height = np.array([at for at, *_ in lines])
    colours = np.array([LOOKS[setting].light for _, setting, *_ in lines])
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
    axes.set_xlabel(
        "gap closed between source-only and the upper bound, %: mean and 95 % interval over tasks", fontsize=8
    )
    table = [[str(setting), name, _share(mean, low, high)] for _, setting, name, mean, low, high in lines]
    return Plot(figure, ["setting", "method", "gap closed, % [95 %]"], table)


def _share(mean: float, low: float, high: float) -> str:
    return bounded(mean, low, high, 0)


def validators(board: Leaderboard, family: str) -> Plot:
    """What each label-free score loses against the best checkpoint, for each setting of a family."""
    _entries_of(board, "family", family)
    table = board.validators[board.validators["family"] == family]
    table = table[~table["setting"].isin([Setting.SOURCE_ONLY, Setting.ORACLE])]
    if table.empty:
        raise DabenchError(f"no checkpoint scores of family '{family}'; run methods that train")
    names = list(table.groupby("validator")["regret"].mean().sort_values(kind="stable").index)
    settings = [setting for setting in Setting if setting in set(table["setting"])]
    figure, axes = _axes(7, 1 + 0.3 * len(names))
    for index, setting in enumerate(settings):
        inside = table[table["setting"] == setting].set_index("validator")["regret"].reindex(names)
        at = np.arange(len(names)) + 0.8 * ((index + 0.5) / len(settings) - 0.5)
        axes.barh(at, 100 * inside, height=0.8 / len(settings), color=LOOKS[setting].light, label=str(setting))
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
