"""Which method: what the suite's entries say to someone with certain data after a certain change.

What someone has decides which settings are open; among the methods of all these, the mean gain over the suite's tasks
of that change decides, and a method is named only where the gain's 95 % interval lies above zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from dabench.core import ALL, Setting
from dabench.evaluation.leaderboard import Leaderboard
from dabench.evaluation.tables import LABELLED, size
from dabench.results.suite import SUITE, Change, Scenario


class Have(StrEnum):
    """The data at hand beside the source model."""

    STREAM = "the test images as they come"
    TARGET = "unlabelled target images"
    BOTH = "source images and unlabelled target images"
    LABELS = "labelled target images"


OPEN: dict[Have, tuple[str, ...]] = {
    Have.STREAM: (Setting.TEST_TIME,),
    Have.TARGET: (Setting.TEST_TIME, Setting.BLACK_BOX, Setting.SOURCE_FREE),
    Have.BOTH: (
        *(Setting.GENERALIZATION, Setting.TEST_TIME, Setting.TEST_TIME_SOURCE),
        *(Setting.BLACK_BOX, Setting.SOURCE_FREE, Setting.UNSUPERVISED),
    ),
    Have.LABELS: tuple(map(Setting, LABELLED)),
}


@dataclass(frozen=True)
class Choice:
    """The methods open to someone, by mean gain over `tasks` that all of them have.

    `table` has the columns method, setting, gain, low, high (fractions; the last two nan where one seed is all there
    is) and n, the fewest seeds on a task; the best gain first. `left_out` are methods with fewer than half of the
    tasks, `labels` the target labels a class (ALL: every one), None where none are seen.
    """

    have: Have
    change: Change | None
    labels: int | None
    tasks: list[str]
    table: pd.DataFrame
    left_out: list[str]

    @property
    def best(self) -> pd.Series | None:
        """The line of the best method; None where none is surely better than the source model: keep that."""
        if self.table.empty or not self.table["low"].iloc[0] > 0:
            return None
        return self.table.iloc[0]


def of_suite(entries: pd.DataFrame, suite: Sequence[Scenario] = SUITE) -> pd.Series:
    """The number of each entry's scenario, -1 for those outside of the suite.

    What stands in the groups of several numbers of labels, as the source model does, counts in that of most alone.
    """
    number = pd.Series(-1, entries.index)
    for at, scenario in enumerate(suite):
        number[scenario.among(entries)] = at
    inside = entries[(number >= 0) & ~entries["setting"].isin(LABELLED)]
    order = inside.assign(size=size(inside["labels"])).sort_values("size", ascending=False, kind="stable")
    number[order.index[order.duplicated(["task", "setting", "variant"])]] = -1
    return number


def choices(board: Leaderboard, suite: Sequence[Scenario] = SUITE) -> list[Choice]:
    """What the suite says for each kind of data, change (None: any) and number of labels that has results."""
    entries = board.entries.assign(scenario=of_suite(board.entries, suite))
    entries = entries[(entries["scenario"] >= 0) & entries["default"] & entries["gain"].notna()]
    entries = entries.assign(change=[suite[at].change for at in entries["scenario"]])
    found = []
    for have, settings in OPEN.items():
        usable = entries[entries["setting"].isin([str(setting) for setting in settings])]
        budgets = sorted(set(usable["labels"]), key=lambda n: np.inf if n == ALL else n)
        for labels in budgets if have is Have.LABELS else [None]:
            seen = usable if labels is None else usable[usable["labels"] == labels]
            for change in (None, *Change):
                some = seen if change is None else seen[seen["change"] == change]
                if len(some):
                    found.append(_choice(board, some, have, change, labels))
    return found


def _choice(board: Leaderboard, entries: pd.DataFrame, have: Have, change: Change | None, labels: int | None) -> Choice:
    ranking = board.ranking_together(entries, str(have))
    table = ranking.table.rename(columns={"gain_low": "low", "gain_high": "high"})
    inside = entries[entries["task"].isin(ranking.shared) & entries["method"].isin(table["method"])]
    of_method = inside.groupby("method")
    table["setting"] = table["method"].map(of_method["setting"].first())
    table["n"] = table["method"].map(of_method["n"].min()).fillna(0).astype(int)
    if len(ranking.shared) == 1:  # no interval over tasks, but the task's own
        own = table["method"].map(of_method["gain_ci"].first())
        table["low"], table["high"] = table["gain"] - own, table["gain"] + own
    table = table[table["gain"].notna()].sort_values(["gain", "method"], ascending=[False, True], kind="stable")
    columns = ["method", "setting", "gain", "low", "high", "n"]
    return Choice(have, change, labels, ranking.shared, table[columns].reset_index(drop=True), list(ranking.left_out))
