"""Which checkpoint each label-free score would have chosen, and how well the scores choose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from dabench.core import DabenchError
from dabench.evaluation import statistics
from dabench.evaluation.tables import GROUP, as_arrow, flat

_IN_CACHE = 4096  # lines of ten numbers that the processor keeps near while it ranks them
_ROWS_AT_ONCE = 512
_NUMBERS = pa.list_(pa.float64())
LAST, BEST = "last", "oracle"


@dataclass(frozen=True)
class Choices:
    """What each label-free score would have chosen, one line a row and score.

    `table` has the columns row (its number), validator, checkpoint and chosen (its place and accuracy),
    correlation (Spearman's, with accuracy over checkpoints) and last (the score of the last checkpoint);
    `by_row` has the chosen accuracies again, a line a row and a column a validator.
    `best` is the accuracy of each row's best checkpoint, the returned model among them (nan without checkpoints).
    """

    table: pd.DataFrame
    by_row: pd.DataFrame
    best: pd.Series

    def of(self, places: np.ndarray) -> Choices:
        """The choices in the rows at these places, which are numbered anew from 0; a row may be named twice."""
        counts = np.bincount(self.table["row"], minlength=len(self.best))
        lengths = counts[places]
        first = (np.cumsum(counts) - counts)[places] - (np.cumsum(lengths) - lengths)
        lines = np.repeat(first, lengths) + np.arange(lengths.sum())
        table = self.table.take(lines).assign(row=np.repeat(np.arange(len(places)), lengths))
        table = table.assign(validator=table["validator"].cat.remove_unused_categories()).reset_index(drop=True)
        by_row = self.by_row[list(table["validator"].cat.categories)].take(places).reset_index(drop=True)
        return Choices(table, by_row, self.best.take(places).reset_index(drop=True))


def choices(rows: pd.DataFrame) -> Choices:
    """Reads every checkpoint score of the rows; a score that is nan at a checkpoint does not choose it."""
    accuracies = _Lists.of(rows["checkpoint_accuracy"])
    maps = as_arrow(rows["checkpoint_scores"], pa.map_(pa.string(), _NUMBERS))
    starts = maps.offsets.to_numpy()
    scores = _Lists.of(maps.items[starts[0] : starts[-1]])
    names, codes = _names(maps.keys[starts[0] : starts[-1]])
    starts = starts - starts[0]
    position = np.repeat(np.arange(len(rows)), np.diff(starts))
    best = np.full(len(rows), np.nan)
    checkpoint = np.zeros(len(position), dtype=np.int32)
    chosen, correlation, last = (np.full(len(position), np.nan) for _ in range(3))
    # A few rows at a time stay near the processor, and a million never lie in memory thrice.
    for begin in range(0, len(rows), _ROWS_AT_ONCE):
        end = min(begin + _ROWS_AT_ONCE, len(rows))
        accuracy, lines = accuracies.padded(begin, end), slice(starts[begin], starts[end])
        best[begin:end] = _nan_max(accuracy)
        if starts[end] > starts[begin]:
            own = position[lines] - begin
            checkpoint[lines], chosen[lines], correlation[lines], last[lines] = _chosen(
                scores.padded(lines.start, lines.stop), accuracy[own]
            )
    best = np.where(np.isnan(best), np.nan, np.fmax(best, rows["accuracy"].astype(float)))
    table = pd.DataFrame(
        {
            "row": position,
            "validator": pd.Categorical.from_codes(codes, names),
            "checkpoint": checkpoint,
            "chosen": chosen,
            "correlation": correlation,
            "last": last,
        },
        copy=False,
    )
    by_row = np.full((len(rows), len(names)), np.nan)
    by_row[position, codes] = chosen
    return Choices(table, pd.DataFrame(by_row, columns=names), pd.Series(best))


def _names(keys: pa.Array) -> tuple[pd.Index, np.ndarray]:
    """The scores that there are, in order, and the place of each key among them."""
    encoded = keys.dictionary_encode()
    names = pd.Index(encoded.dictionary.to_pylist(), dtype=object)
    place = np.empty(len(names), dtype=np.int64)
    place[names.argsort()] = np.arange(len(names))
    return names.sort_values(), place[encoded.indices.to_numpy()]


def _chosen(scores: np.ndarray, accuracy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of lines of scores and accuracies at checkpoints: the choice, its accuracy, the correlation, the last score."""
    width = max(accuracy.shape[1], scores.shape[1])
    scores, accuracy = _widened(scores, width), _widened(accuracy, width)
    line = np.arange(len(scores))
    if not width:
        return line * 0, line * np.nan, line * np.nan, line * np.nan
    known = ~np.isnan(scores) & ~np.isnan(accuracy)
    some = known.any(axis=1)
    at = np.where(known, scores, -np.inf).argmax(axis=1)
    final = np.where(some, width - 1 - known[:, ::-1].argmax(axis=1), 0)
    return at, np.where(some, accuracy[line, at], np.nan), _correlated(scores, accuracy), scores[line, final]


@dataclass(frozen=True)
class _Lists:
    """A column of lists of numbers: all numbers one after the other, and where each list starts and the last ends."""

    values: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, lists: pd.Series | pa.Array) -> _Lists:
        values, lengths = flat(lists)
        return cls(values, np.concatenate([[0], np.cumsum(lengths)]))

    def padded(self, begin: int, end: int) -> np.ndarray:
        """The lists from `begin` to before `end` as (n, longest), nan after the end of each."""
        starts = self.starts[begin : end + 1]
        lengths = np.diff(starts)
        longest = int(lengths.max(initial=0))
        inside = self.values[starts[0] : starts[-1]]
        if len(inside) == longest * len(lengths):
            return inside.reshape(len(lengths), longest)
        matrix = np.full((len(lengths), longest), np.nan)
        matrix[np.arange(longest) < lengths[:, None]] = inside
        return matrix


def _widened(matrix: np.ndarray, width: int) -> np.ndarray:
    if matrix.shape[1] == width:
        return matrix
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
        ranks = np.where(
            known, statistics.ranks(np.where(known, values, np.inf)), 0
        )  # what is unknown ranks behind the rest
        centred.append(np.where(known, ranks - ranks.sum(axis=0) / np.maximum(count, 1), 0))
    product = (centred[0] * centred[1]).sum(axis=0)
    spread = np.sqrt((centred[0] ** 2).sum(axis=0) * (centred[1] ** 2).sum(axis=0))
    return np.where((count > 2) & (spread > 0), product / np.where(spread > 0, spread, 1), np.nan)


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
    by, table = ["family", "setting"], chosen.table
    names = table["validator"].cat.categories
    row = table["row"].to_numpy()
    score = table["validator"].cat.codes.to_numpy().astype(np.int64)
    families = rows.groupby(by, sort=True)
    own = families.ngroup().to_numpy()[row] * len(names) + score
    spot = rows.groupby([*GROUP, "task", "setting", "seed"]).ngroup().to_numpy()[row] * len(names) + score
    regret = chosen.best.to_numpy()[row] - table["chosen"]
    lines = table[["correlation", "chosen"]].assign(regret=regret).groupby(own)
    lines = lines.agg(over_checkpoints=("correlation", "mean"), regret=("regret", "mean"), runs=("chosen", "count"))
    accuracy = rows["accuracy"].to_numpy(dtype=float)[row]
    usable = np.flatnonzero(table["last"].notna() & ~np.isnan(accuracy))
    first, correlation = _over_methods(spot[usable], table["last"].to_numpy()[usable], accuracy[usable])
    lines["over_methods"] = pd.Series(correlation).groupby(own[usable[first]]).mean()
    place = families.size().index[lines.index // max(len(names), 1)]
    lines = lines.assign(
        family=place.get_level_values("family"),
        setting=place.get_level_values("setting"),
        validator=names[lines.index % max(len(names), 1)],
    )[[*by, "validator", "over_checkpoints", "regret", "runs", "over_methods"]]
    return lines[lines["runs"] > 0].sort_values([*by, "regret", "validator"], kind="stable").reset_index(drop=True)


def _over_methods(group: np.ndarray, score: np.ndarray, accuracy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The place of the first line of each group, and Spearman's correlation of score and accuracy over the group."""
    order = np.argsort(group, kind="stable")
    _, starts, sizes = np.unique(group[order], return_index=True, return_counts=True)
    correlation = np.full(len(starts), np.nan)
    by_size = np.argsort(sizes, kind="stable")
    for begin in range(0, len(starts), _IN_CACHE):
        some = by_size[begin : begin + _IN_CACHE]
        within = np.arange(sizes[some].max())
        inside = within < sizes[some, None]
        places = order[np.where(inside, starts[some, None] + within, 0)]
        correlation[some] = _correlated(*(np.where(inside, values[places], np.nan) for values in (score, accuracy)))
    return order[starts], correlation
