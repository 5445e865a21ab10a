"""Which checkpoint each label-free score would have chosen, and how well the scores choose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from dabench.core import DabenchError
from dabench.evaluation.tables import GROUP, as_arrow, flat

_IN_CACHE = 4096  # lines of ten numbers that the processor keeps near while it ranks them
_NUMBERS = pa.list_(pa.float64())
LAST, BEST = "last", "oracle"


@dataclass(frozen=True)
class Choices:
    """What each label-free score would have chosen, one line a row and score.

    `table` has the columns row (index into the rows), validator, checkpoint and chosen (its place and accuracy),
    correlation (Spearman's, with accuracy over checkpoints) and last (the score of the last checkpoint);
    `by_row` has the chosen accuracies again, a line a row and a column a validator.
    `best` is the accuracy of each row's best checkpoint, the returned model among them (nan without checkpoints).
    """

    table: pd.DataFrame
    by_row: pd.DataFrame
    best: pd.Series


def choices(rows: pd.DataFrame) -> Choices:
    """Reads every checkpoint score of the rows; a score that is nan at a checkpoint does not choose it."""
    accuracy = _padded(rows["checkpoint_accuracy"])
    best = _nan_max(accuracy)
    best = pd.Series(np.where(np.isnan(best), np.nan, np.fmax(best, rows["accuracy"])), rows.index)
    maps = as_arrow(rows["checkpoint_scores"], pa.map_(pa.string(), _NUMBERS))
    starts = maps.offsets.to_numpy()
    position = np.repeat(np.arange(len(rows)), np.diff(starts))
    names = maps.keys[starts[0] : starts[-1]].to_pandas()
    scores = _padded(maps.items[starts[0] : starts[-1]])
    width = max(accuracy.shape[1], scores.shape[1])
    scores, accuracy = _widened(scores, width), _widened(accuracy, width)[position]
    known = ~np.isnan(scores) & ~np.isnan(accuracy)
    at = np.where(known, scores, -np.inf).argmax(axis=1) if width else np.zeros(len(position), dtype=int)
    line = np.arange(len(position))
    some = known.any(axis=1)
    final = np.where(some, width - 1 - known[:, ::-1].argmax(axis=1), 0) if width else at
    table = pd.DataFrame(
        {
            "row": rows.index.to_numpy()[position],
            "validator": names.to_numpy(),
            "checkpoint": at,
            "chosen": np.where(some, accuracy[line, at], np.nan) if width else np.nan,
            "correlation": rank_correlation(scores, accuracy),
            "last": scores[line, final] if width else np.nan,
        }
    )
    codes, scored_by = pd.factorize(table["validator"], sort=True)
    by_row = np.full((len(rows), len(scored_by)), np.nan)
    by_row[position, codes] = table["chosen"]
    return Choices(table, pd.DataFrame(by_row, rows.index, scored_by), best)


def _padded(lists: pd.Series | pa.Array) -> np.ndarray:
    """Lists of numbers as (n, longest), nan after the end of each."""
    values, lengths = flat(lists)
    matrix = np.full((len(lengths), lengths.max(initial=0)), np.nan)
    matrix[np.arange(matrix.shape[1]) < lengths[:, None]] = values
    return matrix


def _widened(matrix: np.ndarray, width: int) -> np.ndarray:
    return np.pad(matrix, ((0, 0), (0, width - matrix.shape[1])), constant_values=np.nan)


def _nan_max(matrix: np.ndarray) -> np.ndarray:
    most = np.where(np.isnan(matrix), -np.inf, matrix).max(axis=1, initial=-np.inf)
    return np.where(np.isinf(most), np.nan, most)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each line of two (n, k) arrays, over the places that both know.

    nan for fewer than three such places, or where one of the two does not vary.
    """
    blocks = range(0, len(first), _IN_CACHE)
    found = [_correlated(first[at : at + _IN_CACHE], second[at : at + _IN_CACHE]) for at in blocks]
    return np.concatenate([np.empty(0), *found])


def _correlated(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    first, second = np.ascontiguousarray(first.T), np.ascontiguousarray(second.T)
    known = ~(np.isnan(first) | np.isnan(second))
    count = known.sum(axis=0)
    centred = []
    for values in (first, second):
        ranks = np.where(known, _ranks(np.where(known, values, np.inf)), 0)  # what is unknown ranks behind the rest
        centred.append(np.where(known, ranks - ranks.sum(axis=0) / np.maximum(count, 1), 0))
    product = (centred[0] * centred[1]).sum(axis=0)
    spread = np.sqrt((centred[0] ** 2).sum(axis=0) * (centred[1] ** 2).sum(axis=0))
    return np.where((count > 2) & (spread > 0), product / np.where(spread > 0, spread, 1), np.nan)


def _ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each number among its column, ties shared; for ten lines quicker than sorting."""
    twice = np.ones(values.shape, dtype=np.int16)
    for line in values:
        twice += line < values
        twice += line <= values
    return twice / 2


def figures(rows: pd.DataFrame, chosen: Choices, select: str) -> pd.Series:
    """The accuracy that stands for each row: of the returned model, of the best checkpoint, or a validator's.

    A row without checkpoints stands as it is; one whose checkpoints lack the score is nan. Raises DabenchError
    where no row knows the score.
    """
    if select == LAST:
        return rows["accuracy"]
    if select == BEST:
        return chosen.best.fillna(rows["accuracy"])
    if select not in chosen.by_row:
        known = ", ".join([LAST, BEST, *chosen.by_row])
        raise DabenchError(f"no row has checkpoint scores named '{select}'; select one of: {known}")
    return rows["accuracy"].where(chosen.best.isna(), chosen.by_row[select])


def validators(rows: pd.DataFrame, chosen: Choices) -> pd.DataFrame:
    """How well each label-free score chooses, a line for each family, setting and validator.

    over_checkpoints and over_methods are mean Spearman correlations with accuracy (over the checkpoints of a
    run; over the methods and variants of a bench, task and seed), regret the mean accuracy lost against the
    best checkpoint, runs the number of runs.
    """
    by = ["family", "setting", "validator"]
    spots = rows.groupby([*GROUP, "task", "setting", "seed"]).ngroup()
    table = chosen.table.join(rows[["family", "setting", "accuracy"]].assign(best=chosen.best, spot=spots), on="row")
    table["regret"] = table["best"] - table["chosen"]
    usable = table[table["last"].notna() & table["accuracy"].notna()]
    usable = usable.assign(group=usable.groupby(["spot", "validator"]).ngroup())
    ranks = usable.groupby("group")[["last", "accuracy"]].rank()
    ranks = ranks - ranks.groupby(usable["group"]).transform("mean")
    products = pd.DataFrame(
        {
            "xy": ranks["last"] * ranks["accuracy"],
            "xx": ranks["last"] ** 2,
            "yy": ranks["accuracy"] ** 2,
            "count": 1,
        }
    )
    sums = products.groupby(usable["group"]).sum().join(usable.drop_duplicates("group").set_index("group")[by])
    sums = sums[(sums["count"] > 2) & (sums["xx"] > 0) & (sums["yy"] > 0)]
    sums["over_methods"] = sums["xy"] / np.sqrt(sums["xx"] * sums["yy"])
    lines = table.groupby(by).agg(
        over_checkpoints=("correlation", "mean"), regret=("regret", "mean"), runs=("chosen", "count")
    )
    lines = lines.join(sums.groupby(by)["over_methods"].mean()).reset_index()
    return lines[lines["runs"] > 0].sort_values(["family", "setting", "regret", "validator"], kind="stable")
