"""What the suite says: gains by method and task, and which method to use for what one has and what has changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pandas as pd

from dabench.core import ALL, Setting
from dabench.evaluation.comparison import Verdict
from dabench.evaluation.leaderboard import Leaderboard
from dabench.evaluation.rankings import Ranking
from dabench.evaluation.tables import FIXED, LABELLED
from dabench.results.suite import SUITE, Change

BUDGETS = (1, 3, 10, 30, ALL)
_STREAM = (Setting.TEST_TIME,)
_UNLABELLED = (*_STREAM, Setting.SOURCE_FREE, Setting.BLACK_BOX)
_SOURCE = (*_UNLABELLED, Setting.TEST_TIME_SOURCE, Setting.GENERALIZATION, Setting.UNSUPERVISED)
_LABELS = (*_UNLABELLED, Setting.SUPERVISED, Setting.SEMI_SUPERVISED)


@dataclass(frozen=True)
class Have:
    """What somebody has of the target, beside the source model, and the settings that need no more; 0 is no label."""

    words: str
    settings: tuple[Setting, ...]
    labels: int = 0


HAVES = (
    Have("the test stream alone", _STREAM),
    Have("unlabelled target images", _UNLABELLED),
    Have("the source and unlabelled target images", _SOURCE),
    *(
        Have(f"{'all' if n == ALL else n} target label{'s' * (n != 1)}{'' if n == ALL else ' a class'}", _LABELS, n)
        for n in BUDGETS
    ),
    *(
        Have(
            f"the source and {'all' if n == ALL else n} target label{'s' * (n != 1)}{'' if n == ALL else ' a class'}",
            (*_SOURCE, *_LABELS, Setting.SEMI_SUPERVISED_SOURCE),
            n,
        )
        for n in BUDGETS
    ),
)


@dataclass(frozen=True)
class Answer:
    """The method to use, "" for the source model, None where no method was tried with two seeds.

    `gain` is its mean gain over the source model as a fraction with half of its 95 % interval, over `tasks` tasks;
    `alike` are the methods that nothing tells from it on any of them; `stale` where a row is of older code. `asked` has
    a line for each method that was asked, the largest gain first: method, setting, gain, ci and n (fewest seeds).
    """

    have: Have
    change: Change
    method: str | None
    gain: float = np.nan
    ci: float = np.nan
    tasks: int = 0
    alike: tuple[str, ...] = ()
    stale: bool = False
    asked: pd.DataFrame = field(default_factory=pd.DataFrame, compare=False, repr=False)


def of_suite(board: Leaderboard) -> pd.DataFrame:
    """The entries of the suite's default methods; `place` is the number of the scenario, in the order of SUITE."""
    entries = board.entries
    place = pd.Series(-1, entries.index)
    for number, scenario in enumerate(SUITE):
        place[scenario.among(entries)] = number
    return entries.assign(place=place)[(place >= 0) & entries["default"]]


@lru_cache(maxsize=1)  # several pages ask it of one board
def answers(board: Leaderboard) -> list[Answer]:
    """One for each of HAVES and each change.

    A method is named that the test of a difference calls worse than the source model on none of the tasks, and whose
    mean gain's interval lies above zero; of several, the one with the largest mean gain. Methods are asked that have
    all the tasks that any of them has, or with labels all the tasks on which that number was tried.
    """
    entries = of_suite(board)
    entries = entries[~entries["setting"].isin(FIXED)]
    changes = entries["place"].map(lambda place: str(SUITE[place].change)).astype(str)
    verdicts = pd.Series([board.against_source(at).verdict for at in entries.index], entries.index, dtype=object)
    return [
        _answer(board, have, change, _allowed(entries[changes == str(change)], have), verdicts)
        for have in HAVES
        for change in Change
    ]


def _allowed(entries: pd.DataFrame, have: Have) -> pd.DataFrame:
    """The entries of methods that need no more than there is."""
    labelled = entries["setting"].isin(LABELLED)
    return entries[entries["setting"].isin(have.settings) & (~labelled | (entries["labels"] == have.labels))]


def _answer(board: Leaderboard, have: Have, change: Change, entries: pd.DataFrame, verdicts: pd.Series) -> Answer:
    tested = entries[verdicts[entries.index] != Verdict.UNTESTED]
    if have.labels:
        tested = tested[tested["task"].isin(tested["task"][tested["setting"].isin(LABELLED)])]
    by_method = {str(name): inside for name, inside in tested.groupby("method", sort=True)}
    tasks = max((len(inside) for inside in by_method.values()), default=0)
    if not tasks:
        return Answer(have, change, None)
    found: dict[str, pd.DataFrame] = {}
    for name, inside in by_method.items():
        harmless = not (verdicts[inside.index] == Verdict.WORSE).any()
        if len(inside) == tasks and harmless and inside["gain"].mean() > _mean_ci(inside):
            found[name] = inside
    asked = _asked({name: inside for name, inside in by_method.items() if len(inside) == tasks})
    if not found:
        return Answer(have, change, "", tasks=tasks, asked=asked)
    best = max(found, key=lambda name: (found[name]["gain"].mean(), name))
    lines = found[best].sort_values("task")
    alike = [name for name in found if name != best and _alike(board, lines, found[name].sort_values("task"))]
    return Answer(
        have,
        change,
        best,
        gain=float(lines["gain"].mean()),
        ci=_mean_ci(lines),
        tasks=tasks,
        alike=tuple(alike),
        stale=bool(lines["stale"].any()),
        asked=asked,
    )


def _mean_ci(lines: pd.DataFrame) -> float:
    """Half of the interval of the mean gain over tasks, whose seeds are independent."""
    return float(np.sqrt((lines["gain_ci"] ** 2).sum()) / len(lines))


def _asked(by_method: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    lines = [
        (name, inside["setting"].iloc[0], inside["gain"].mean(), _mean_ci(inside), int(inside["n"].min()))
        for name, inside in by_method.items()
    ]
    table = pd.DataFrame(lines, columns=["method", "setting", "gain", "ci", "n"])
    return table.sort_values(["gain", "method"], ascending=[False, True]).reset_index(drop=True)


def _alike(board: Leaderboard, first: pd.DataFrame, second: pd.DataFrame) -> bool:
    pairs = zip(first.index, second.index, strict=True)
    return list(first["task"]) == list(second["task"]) and all(
        board.verdict(int(one), int(two)) is Verdict.TIED for one, two in pairs
    )


@dataclass(frozen=True)
class Matrix:
    """Gains of the suite's methods, a line a method and a column for each place in SUITE that has entries.

    `entry` holds the numbers of the entries in `Leaderboard.entries` (-1 for none), in the order of `methods`, which
    has the columns setting, method, tasks, incomplete (of those with entries, one that the setting has a place on
    lacks), gain (mean), worst, rank with rank_low and rank_high (over the tasks that all ranked methods of the setting
    have), seconds, ms_per_image, by_image (what a method costs is its time for an image, as it adapts while it answers;
    else the seconds) and cheap (no method of its setting gains more at less cost), the larger gain first. `rankings`
    say what the ranks are over.
    """

    entry: pd.DataFrame
    methods: pd.DataFrame
    rankings: list[Ranking]


@lru_cache(maxsize=1)
def matrix(board: Leaderboard) -> Matrix:
    """The suite at the largest number of labels that each task has."""
    entries = of_suite(board)
    labelled = entries["setting"].isin(LABELLED)
    entries = entries[~entries["setting"].eq(Setting.SOURCE_ONLY) & (~labelled | (entries["labels"] == ALL))]
    entries = entries.drop_duplicates(["setting", "method", "place"])  # the upper bound stands in several groups
    rankings = board.rankings_of(entries)
    ranks = pd.concat(
        [each.table.assign(setting=each.setting) for each in rankings if len(each.table) > 1]
        or [pd.DataFrame(columns=["setting", "method", "rank", "rank_low", "rank_high"])]
    )
    groups = entries.groupby(["setting", "method"])
    methods = groups[["gain", "seconds", "ms_per_image"]].mean()
    methods["tasks"], methods["worst"] = groups["place"].nunique(), groups["gain"].min()
    methods = methods.reset_index().merge(
        ranks[["setting", "method", "rank", "rank_low", "rank_high"]], on=["setting", "method"], how="left"
    )
    order = {str(setting): number for number, setting in enumerate(Setting)}
    methods["order"] = methods["setting"].map(order)
    methods = methods.sort_values(["order", "gain", "method"], ascending=[True, False, True]).reset_index(drop=True)
    methods["by_image"] = methods["setting"].isin([Setting.TEST_TIME, Setting.TEST_TIME_SOURCE])
    places = sorted(set(entries["place"]))
    possible = {setting: sum(SUITE[place].takes(Setting(setting)) for place in places) for setting in order}
    methods["incomplete"] = methods["tasks"] < methods["setting"].map(possible)
    cost = methods["ms_per_image"].where(methods["by_image"], methods["seconds"])
    by_setting = methods.assign(cost=cost).sort_values(["cost", "gain"], ascending=[True, False], kind="stable")
    most = by_setting.groupby("setting")["gain"].transform(lambda gains: gains.cummax().shift(fill_value=-np.inf))
    methods["cheap"] = (by_setting["gain"] > most).reindex(methods.index)
    numbers = entries.reset_index(names="entry").pivot(index=["setting", "method"], columns="place", values="entry")
    numbers = numbers.reindex(pd.MultiIndex.from_frame(methods[["setting", "method"]])).fillna(-1).astype(int)
    return Matrix(numbers.reset_index(drop=True), methods.drop(columns="order"), rankings)
