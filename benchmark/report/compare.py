"""Two methods over the tasks that both have, by the one test of a difference."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from dabench.evaluation import statistics
from dabench.evaluation.leaderboard import Leaderboard
from dabench.evaluation.tables import GROUP
from dabench.report.payload import figures, scaled

_COMPARED = 50  # methods tested against each other, those with the most results first


@dataclass(frozen=True)
class Compared:
    """The first of two methods less the second on each task: mean, half of its interval, corrected p, verdict.

    `verdict` is 1 for better, -1 for worse, 0 for not told apart, nan where nothing is tested. `low` and `high` bound
    the mean over tasks (95 % bootstrap over families and their tasks; nan for a single task).
    """

    difference: np.ndarray
    ci: np.ndarray
    p: np.ndarray
    verdict: np.ndarray
    low: float
    high: float


def pairs(board: Leaderboard, methods: list[str], tasks: list[str]) -> dict[str, Any]:
    """Every pair of default methods on the tasks that both have."""
    entries = board.entries[board.entries["default"] & board.entries["main"]]
    often = entries.groupby("method").size().sort_values(ascending=False, kind="stable").index[:_COMPARED]
    entries = entries[entries["method"].isin(often)]
    columns = entries.drop_duplicates("contest").sort_values("contest").reset_index(drop=True)
    names = sorted(often)
    every = _every(board, entries, columns, names)
    counts = statistics.task_draws(list(columns["family"])) if len(columns) else np.empty((0, 0))
    found = []
    for first, second in combinations(range(len(names)), 2):
        both = np.flatnonzero(~np.isnan(every[0, first, second]))
        if not len(both):
            continue
        if every[0, first, second, both].mean() < 0:
            first, second = second, first  # the better one speaks
        difference, ci, p, verdict = every[:, first, second, both]
        compared = Compared(difference, ci, p, verdict, *_bounds(difference, counts[:, both]))
        found.append(
            [
                *(methods.index(names[first]), methods.index(names[second])),
                words(names[first], names[second], compared),
                both.tolist(),
                scaled(compared.difference, 1000),
                scaled(compared.ci, 1000),
                figures(compared.p, 2),
                scaled(compared.verdict, 1),
            ]
        )
    return {
        "methods": [methods.index(name) for name in names],
        "tasks": [tasks.index(task) for task in columns["task"]],
        "benches": [f"{line.protocol}, {line.backbone}, {line.image_size} px" for line in columns.itertuples()],
        "groups": columns[GROUP].to_dict("records"),
        "pairs": found,
    }


def _every(board: Leaderboard, entries: pd.DataFrame, columns: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Difference, half interval, p and verdict of all methods on all columns, (4, methods, methods, columns)."""
    every = np.full((4, len(names), len(names), len(columns)), np.nan)
    place = {name: at for at, name in enumerate(names)}
    by_contest = entries.groupby("contest")["method"]
    for at, contest in enumerate(columns["contest"]):
        methods = by_contest.get_group(contest)
        tested = board.contest(int(contest))
        slots = [tested.slot[number] for number in methods.index]
        inside = np.ix_([place[name] for name in methods], [place[name] for name in methods])
        for layer, matrix in enumerate((tested.mean, tested.ci, tested.p, tested.verdicts)):
            every[layer][(*inside, at)] = matrix[np.ix_(slots, slots)]
    return every


def _bounds(difference: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """The interval of the mean difference over drawn tasks."""
    if len(difference) < 2:
        return float("nan"), float("nan")
    total = counts.sum(axis=1)
    means = (counts @ difference)[total > 0] / total[total > 0]
    low, high = np.quantile(means, [statistics.ALPHA / 2, 1 - statistics.ALPHA / 2])
    return float(low), float(high)


def words(first: str, second: str, compared: Compared) -> str:
    """The comparison in words."""
    better, worse, unclear = (int((compared.verdict == each).sum()) for each in (1, -1, 0))
    count = len(compared.verdict)
    untested = count - better - worse - unclear
    if untested == count:
        said = f"{first} and {second} cannot be tested: no task has two seeds of both."
    elif count == 1:
        told = "is better than" if better else "is worse than" if worse else "is not told apart from"
        said = f"{first} {told} {second} ({_p(compared.p[0])})."
    else:
        outcomes = [(better, "better", "than"), (worse, "worse", "than"), (unclear, "not told apart", "from")]
        outcomes = [outcome for outcome in [*outcomes, (untested, "not testable", "against")] if outcome[0]]
        (number, told, than), *others = outcomes
        parts = [f"{told} {than} {second} on {number}", *(f"{told} on {number}" for number, told, _ in others)]
        said = f"{first} is {', '.join(parts)} of {count} tasks."
    mean = 100 * float(np.nanmean(compared.difference))
    said += f" Its accuracy is {abs(mean):.1f} points {'higher' if mean >= 0 else 'lower'}"
    if count == 1 or np.isnan(compared.low):
        return said + "."
    bounds = f"95 % interval {100 * compared.low:.1f} to {100 * compared.high:.1f}"
    settled = "" if compared.low > 0 or compared.high < 0 else ", so the tasks do not settle it"
    return f"{said} on average over tasks ({bounds}{settled})."


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"
