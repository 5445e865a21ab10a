"""Methods over tasks: mean rank, mean gain and gap closed inside each setting, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dabench.core import Setting
from dabench.evaluation import statistics
from dabench.evaluation.tables import CONDITIONS, FIXED, size

_PLACE = ["task", *(name for name in CONDITIONS if name != "budget")]
_BUDGETS = ["budget", "target_images", "labels"]
_FEWEST = 2  # tasks below which there is no interval over tasks


@dataclass(frozen=True)
class Ranking:
    """The default variants of one setting over the columns that all of them have.

    `table` has the columns method, rank, gain, gap_closed (the first two and gap_closed with `_low` and `_high`, the
    95 % bootstrap interval over families, tasks and seeds), gap_tasks (over how many tasks the gap was taken), seconds
    and ms_per_image, best mean rank first. `accuracy` and `gap_closed` are (shared columns, methods).
    `shared` are the columns ranked over; `lacking` maps each left-out column to the methods that lack it, and
    `left_out` each method that has fewer than half of the columns to how many it has.
    """

    setting: str
    table: pd.DataFrame
    accuracy: pd.DataFrame
    gap_closed: pd.DataFrame
    shared: list[str]
    lacking: dict[str, list[str]]
    left_out: dict[str, int]


def rankings(entries: pd.DataFrame, values: np.ndarray, source: np.ndarray) -> list[Ranking]:
    """The overall ranking inside each setting; a missing entry is never imputed.

    `values` is each entry's accuracy by seed (entries, seeds), `source` that of its source model. A task under its
    other conditions counts once: where it was run at several budgets, the one that most methods have counts, the
    larger among equals.
    """
    ranked = entries[entries["default"] & ~entries["setting"].isin(FIXED)]
    result = []
    for setting in Setting:
        group = ranked[ranked["setting"] == setting]
        if group.empty:
            continue
        methods = group.groupby([*_PLACE, *_BUDGETS])["method"].nunique().reset_index(name="methods")
        for name in _BUDGETS[1:]:
            methods[f"{name}_size"] = size(methods[name])
        order = ["methods", "budget", "target_images_size", "labels_size"]
        methods = methods.sort_values([*_PLACE, *order]).drop_duplicates(_PLACE, keep="last")
        group = group.reset_index(names="entry").merge(methods[[*_PLACE, *_BUDGETS]], on=[*_PLACE, *_BUDGETS])
        result.append(_ranking(str(setting), group.assign(column=_column_names(group)), values, source))
    return result


def _column_names(group: pd.DataFrame) -> list[str]:
    """The task's name, with what else tells it from the other columns only where that is needed."""
    full = group["task"] + " (" + group["protocol"] + ", " + group["backbone"] + ", "
    full += group["image_size"].astype(str) + " px"
    full += group["start"].map(lambda start: "" if start == "source-model" else f", {start}")
    full += group["stream"].map(lambda stream: "" if stream == "shuffled" else f", {stream}")
    full += group["frozen"].map(lambda frozen: ", frozen" if frozen else "") + ")"
    several = full.groupby(group["task"]).transform("nunique") > 1
    names = group["task"].where(~several, full)
    reduced = group["budget"].map(lambda budget: "" if budget == 1 else f" at budget {budget:g}")
    return list(names + reduced)


def _ranking(setting: str, group: pd.DataFrame, values: np.ndarray, source: np.ndarray) -> Ranking:
    accuracy = group.pivot_table(index="column", columns="method", values="mean", sort=True)
    has = accuracy.notna()
    shared_by_some = has[has.sum(axis=1) > 1] if has.shape[1] > 1 else has
    counts = shared_by_some.sum()
    left_out = counts[counts * 2 < len(shared_by_some)]
    compared = [method for method in accuracy.columns if method not in left_out.index]
    complete = accuracy.index[has[compared].all(axis=1)]
    lacking = {
        name: [method for method in compared if not has.loc[name, method]]
        for name in accuracy.index
        if name not in set(complete)
    }
    inside = group[group["method"].isin(compared) & group["column"].isin(complete)]
    closed = inside.pivot(index="column", columns="method", values="gap_closed").reindex(complete, columns=compared)
    return Ranking(
        setting=setting,
        table=_table(inside, accuracy.loc[complete, compared], closed, values, source),
        accuracy=accuracy.loc[complete, compared],
        gap_closed=closed,
        shared=list(complete),
        lacking=lacking,
        left_out={str(method): int(count) for method, count in left_out.items()},
    )


def _table(
    inside: pd.DataFrame, accuracy: pd.DataFrame, closed: pd.DataFrame, values: np.ndarray, source: np.ndarray
) -> pd.DataFrame:
    """A line a method: means over the shared columns with intervals."""
    methods = list(accuracy.columns)
    table = inside.groupby("method")[["gain", "gap_closed", "seconds", "ms_per_image"]].mean().reindex(methods)
    table["gap_tasks"] = closed.notna().sum().astype(int)
    ranks = statistics.ranks(-accuracy.to_numpy().T).T if len(accuracy) else np.full((1, len(methods)), np.nan)
    table["rank"] = ranks.mean(axis=0)
    low_high = dict.fromkeys(("rank", "gain", "gap_closed"), (np.full(len(methods), np.nan),) * 2)
    if len(accuracy) >= _FEWEST:
        low_high = _intervals(inside, accuracy, closed, values, source)
    for name, (low, high) in low_high.items():
        table[f"{name}_low"], table[f"{name}_high"] = low, high
    return (
        table.rename_axis("method").reset_index().sort_values(["rank", "method"], kind="stable").reset_index(drop=True)
    )


def _intervals(
    inside: pd.DataFrame, accuracy: pd.DataFrame, closed: pd.DataFrame, values: np.ndarray, source: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Bootstrap bounds over families, their tasks and the tasks' seeds."""
    number = inside.pivot(index="column", columns="method", values="entry").loc[accuracy.index, accuracy.columns]
    family = inside.drop_duplicates("column").set_index("column")["family"].loc[accuracy.index]
    counts = statistics.task_draws(list(family))
    rank = np.empty((statistics.RESAMPLES, *accuracy.shape))
    gain = np.empty_like(rank)
    for at, entries in enumerate(number.to_numpy(dtype=int)):
        drawn = statistics.seed_draws(values[entries], seed=at)
        rank[:, at] = statistics.ranks(-drawn.T).T
        gain[:, at] = statistics.seed_draws(values[entries] - source[entries], seed=at)
    gap = inside.pivot(index="column", columns="method", values="gap").loc[accuracy.index, accuracy.columns]
    return {
        "rank": statistics.percentiles(rank, counts),
        "gain": statistics.percentiles(gain, counts),
        "gap_closed": statistics.percentiles(gain / gap.to_numpy(), counts),
    }
