"""Figures of stored rows: accuracy against labels, against cost, mean ranks, and how well the scores choose.

The same rows give the same bytes. What a figure shows stands in its table too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dabench.core import DabenchError, Setting, nearest
from dabench.evaluation.comparison import Verdict
from dabench.evaluation.leaderboard import Leaderboard
from dabench.evaluation.rankings import Ranking
from dabench.evaluation.tables import BASELINE, CONDITIONS, LABELLED, UNLABELLED, UPPER_BOUND
from dabench.report.figure import SMALL, WIDTH, Plot, apart, drawn_axes, height_for, labelled, legend, name_points
from dabench.report.palette import LOOKS, MARKERS
from dabench.report.wording import bounded, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEAST_CLOSED = -60.0  # percent; what does more harm would leave no room for the others
_HUES = ("#0072b2", "#d55e00", "#009e73", "#b4558a", "#b87400", "#3a9ad9", "#59626e")  # told apart by the colour-blind
_STROKES = ("-", "--", "-.", ":")


def drawn(kind: str, board: Leaderboard, what: str, width: float = WIDTH) -> Plot:
    """The figure of that kind: `labels` and `cost` of a task, `ranks` of a setting, `validators` of a family.

    `width` is in inches.

    Raises DabenchError where the rows do not hold what the figure needs.
    """
    makers: Mapping[str, Callable[[Leaderboard, str, float], Plot]] = {
        "labels": labels,
        "cost": cost,
        "ranks": ranks,
        "validators": validators,
    }
    return makers[kind](board, what, width)


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


# ------------------------------------------------------------------------------------------------ labels


def labels(board: Leaderboard, task: str, width: float = WIDTH) -> Plot:
    """Accuracy against target labels a class, with the methods that use none as level lines.

    Of those that use none the source model, the upper bound and the best of each setting are drawn; of those that do,
    the ones with two numbers of labels or more. The table has all.
    """
    entries, where = _usual(_entries_of(board, "task", task))
    budgeted = entries[entries["setting"].isin(LABELLED)]
    if budgeted.empty:
        raise DabenchError(f"no method that uses target labels on '{task}'; run one with --labels 1,3,10,all")
    budgets = sorted(budgeted["labels"].unique(), key=lambda count: np.inf if count < 0 else count)
    # Methods without labels stand in the group of every budget that they were placed beside, the same each time.
    level = entries[~entries["setting"].isin(LABELLED)].drop_duplicates(["setting", "method"])
    order = {str(setting): place for place, setting in enumerate(Setting)}
    lines = [
        [line.setting, line.method, *[spread(line.mean, line.ci)] * len(budgets)]
        for line in sorted(level.itertuples(), key=lambda line: (order[line.setting], line.method))
    ]
    curves = {}
    for method, group in budgeted.groupby("method", sort=True):
        by_budget = group.set_index("labels").reindex(budgets)
        pairs = list(zip(by_budget["mean"], by_budget["ci"], strict=True))
        lines.append(
            [
                group["setting"].iloc[0],
                str(method),
                *("-" if np.isnan(one) else spread(one, half) for one, half in pairs),
            ]
        )
        if len(group) > 1 or len(budgets) == 1:
            curves[str(method)] = 100 * np.array(pairs)
    figure, axes = drawn_axes(width, height_for(width))
    for index, (method, pairs_of) in enumerate(curves.items()):
        # Side by side, so that no interval hides another.
        at = np.arange(len(budgets)) + 0.5 * ((index + 0.5) / len(curves) - 0.5)
        look: dict[str, Any] = {
            "color": _HUES[index % len(_HUES)],
            "linestyle": _STROKES[index // len(_HUES) % len(_STROKES)],
        }
        marker = list(MARKERS.values())[index % len(MARKERS)]
        mean, half = pairs_of.T
        has = ~np.isnan(mean)
        axes.errorbar(
            at[has], mean[has], np.nan_to_num(half[has]), **look, marker=marker, markersize=4, capsize=2, label=method
        )
    names = ["all" if count < 0 else str(count) for count in budgets]
    axes.set_xticks(range(len(budgets)), names)
    labelled(figure, axes, "target labels a class", "target accuracy, %", f"{task} ({where})")
    legend(figure)
    _levels(figure, axes, _telling(level))
    words = [overtaking(board, entries, method) for method in sorted(budgeted["method"].unique())]
    return Plot(figure, ["setting", "method", *names], lines, "\n".join(words))


def _telling(level: pd.DataFrame) -> pd.DataFrame:
    """The baseline, the upper bound, and the best of each other setting."""
    best = level.sort_values(["mean", "method"], ascending=[False, True], kind="stable").drop_duplicates("setting")
    known = level["method"].isin([BASELINE, UPPER_BOUND])
    return pd.concat([level[known], best[~best["method"].isin([BASELINE, UPPER_BOUND])]])


def _levels(figure: Figure, axes: Axes, level: pd.DataFrame) -> None:
    """A line across for each, in its setting's colour, with its name at the right edge."""
    figure.draw_without_rendering()
    low, high = axes.get_ylim()
    heights = 100 * level["mean"].to_numpy()
    axes.set_ylim(min(low, heights.min() - 1), max(high, heights.max() + 1))
    low, high = axes.get_ylim()
    tall = axes.get_window_extent().height * 72 / figure.dpi  # points
    for line, height in zip(level.itertuples(), apart(heights, (high - low) * 1.2 * SMALL / tall), strict=True):
        colour = LOOKS[Setting(line.setting)].light
        style = {BASELINE: ":", UPPER_BOUND: "-."}.get(line.method, "--")
        axes.axhline(100 * line.mean, color=colour, linestyle=style, linewidth=1, zorder=0)
        axes.annotate(
            line.method,
            (1, 100 * line.mean),
            (1.06, height),
            ("axes fraction", "data"),
            ("axes fraction", "data"),
            va="center",
            fontsize=SMALL,
            color=colour,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 0},
        )


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


def cost(board: Leaderboard, task: str, width: float = WIDTH) -> Plot:
    """Accuracy with its interval against the seconds of adaptation, with the front of methods that none beats in both.

    Names that would overprint are left out, those on the front last; the words name them and the table has all.
    """
    entries, where = _usual(_entries_of(board, "task", task))
    entries = entries[entries["labels"] == _largest(entries["labels"])]
    table = entries[["setting", "method", "mean", "ci", "seconds"]].sort_values(["setting", "method"])
    table = table.sort_values(["seconds", "mean"], ascending=[True, False], kind="stable")
    table["front"] = table["mean"] > table["mean"].cummax().shift(fill_value=-1.0)
    figure, axes = drawn_axes(width, height_for(width))
    shown = table.assign(seconds=table["seconds"].clip(lower=0.1))  # source-only takes no time, which no log axis has
    front = shown[shown["front"]]
    axes.step(front["seconds"], 100 * front["mean"], where="post", color="#bbbbbb", linewidth=1, zorder=0)
    for setting in (setting for setting in Setting if setting in set(shown["setting"])):
        inside, look = shown[shown["setting"] == setting], LOOKS[setting]
        axes.errorbar(
            inside["seconds"],
            100 * inside["mean"],
            100 * np.nan_to_num(inside["ci"]),
            fmt=MARKERS[look.shape],
            color=look.light,
            markersize=4,
            elinewidth=0.6,
            ecolor=f"{look.light}73",
            label=str(setting),
        )
    axes.set_xscale("log")
    axes.margins(0.12, 0.05)
    labelled(figure, axes, "adaptation, s (at least 0.1)", "target accuracy, %", f"{task} ({where})")
    legend(figure)
    first = shown.sort_values(["front", "mean", "method"], ascending=[False, False, True], kind="stable")
    nameless = name_points(figure, axes, [(line.seconds, 100 * line.mean, line.method) for line in first.itertuples()])
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
    words = f"Drawn without a name, for want of room: {', '.join(sorted(nameless))}." if nameless else ""
    return Plot(figure, ["setting", "method", "seconds", "accuracy, %", "on the front"], lines, words)


# ------------------------------------------------------------------------------------ ranks, validators


def ranks(board: Leaderboard, setting: str, width: float = WIDTH) -> Plot:
    """Mean ranks of a setting over the tasks that all its methods have."""
    _entries_of(board, "setting", setting)
    fitting = [ranking for ranking in board.rankings if ranking.setting == setting]
    if not fitting or min(fitting[0].accuracy.shape) < 3:
        tasks, methods = fitting[0].accuracy.shape if fitting else (0, 0)
        raise DabenchError(
            f"mean ranks of '{setting}' need 3 methods on 3 tasks that all of them have; "
            f"there are {methods} methods on {tasks}"
        )
    return mean_ranks(fitting[0], width)


def mean_ranks(ranking: Ranking, width: float = WIDTH) -> Plot:
    """Every method's mean rank with its interval, the best above."""
    table = ranking.table
    height = np.arange(len(table))
    figure, axes = drawn_axes(width, 0.9 + 0.2 * len(table))
    colour = LOOKS[Setting(ranking.setting)].light
    axes.hlines(height, table["rank_low"], table["rank_high"], colors=f"{colour}73", linewidth=2.5)
    axes.scatter(table["rank"], height, s=22, color=colour, zorder=3)
    axes.set_yticks(height, table["method"])
    axes.set_ylim(len(table) - 0.4, -0.6)
    words = "mean rank, 1 is best\n(95 % interval over families, tasks and seeds)"
    labelled(figure, axes, words, "", f"{ranking.setting}, {len(ranking.shared)} tasks")
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
    figure, axes = drawn_axes(8, 0.6 + 0.23 * at)
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
    cut = (found[:, 1] < left) & (found[:, 0] >= left)  # an interval that goes on beyond the edge
    axes.scatter(low[cut], height[cut], s=14, marker="<", c=[f"{colour}73" for colour in colours[cut]], clip_on=False)
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


def validators(board: Leaderboard, family: str, width: float = WIDTH) -> Plot:
    """What each label-free score loses against the best checkpoint, for each setting of a family."""
    _entries_of(board, "family", family)
    table = board.validators[board.validators["family"] == family]
    table = table[~table["setting"].isin([Setting.SOURCE_ONLY, Setting.UPPER_BOUND])]
    if table.empty:
        raise DabenchError(f"no checkpoint scores of family '{family}'; run methods that train")
    names = list(table.groupby("validator")["regret"].mean().sort_values(kind="stable").index)
    settings = [setting for setting in Setting if setting in set(table["setting"])]
    figure, axes = drawn_axes(width, 1 + 0.3 * len(names))
    for index, setting in enumerate(settings):
        inside = table[table["setting"] == setting].set_index("validator")["regret"].reindex(names)
        at = np.arange(len(names)) + 0.8 * ((index + 0.5) / len(settings) - 0.5)
        axes.barh(at, 100 * inside, height=0.8 / len(settings), color=LOOKS[setting].light, label=str(setting))
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    labelled(figure, axes, "accuracy lost against the best checkpoint, points", "", family)
    legend(figure)
    lines = [
        [line.setting, line.validator, f"{100 * line.regret:.1f}", f"{line.over_checkpoints:.2f}", str(line.runs)]
        for line in table.itertuples()
    ]
    return Plot(figure, ["setting", "score", "regret, points", "rank correlation", "runs"], lines)
