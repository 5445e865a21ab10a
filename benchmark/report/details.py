"""What the page of one task needs: seeds, curves, choices of checkpoints, confusions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from dabench.evaluation.leaderboard import Leaderboard
from dabench.evaluation.tables import CHECKPOINTS
from dabench.report.payload import MANY_CLASSES, scaled
from dabench.results import store

_DETAILED = 3000  # entries with curves and confusions; the others keep their line and their seeds
_CONFUSIONS = 15


def pages(board: Leaderboard, tasks: list[str], predictions: Iterable[pd.DataFrame]) -> list[dict[str, Any]]:
    """For each task: seeds of all its cells, curves, choices and confusions of the detailed ones."""
    entries = board.entries
    order = entries[["default", "main"]].sort_values(["default", "main"], ascending=False, kind="stable")
    detailed = order.index[:_DETAILED]
    seeds = _seeds(board, entries.index)
    curves = _curves(board, detailed)
    before, after = _confusions(board, detailed, predictions)
    result = []
    for task in tasks:
        own = entries.index[entries["task"] == task]
        result.append(
            {
                "seeds": {str(at): seeds[at] for at in own if at in seeds},
                "curves": {str(at): curves[at] for at in own if at in curves},
                "after": {str(at): after[at] for at in own if at in after},
                "before": {str(at): before[at] for at in own if at in before},
            }
        )
    return result


def _curves(board: Leaderboard, detailed: pd.Index) -> dict[int, dict[str, Any]]:
    """Progress and mean accuracy at the checkpoints, and where the choice of each score lies on average."""
    rows = board.rows
    rows = rows[rows["entry"].isin(detailed)]
    stored = board.stored.assign(**{name: None for name in CHECKPOINTS if name not in board.stored})
    rows = rows.assign(**{name: stored[name].iloc[rows["at"]].set_axis(rows.index) for name in CHECKPOINTS})
    rows = rows[rows["checkpoint_accuracy"].notna() & rows["checkpoint_progress"].notna()]
    accuracy = {at: np.asarray(values, dtype=float) for at, values in rows["checkpoint_accuracy"].items()}
    progress = {at: np.asarray(values, dtype=float) for at, values in rows["checkpoint_progress"].items()}
    curves: dict[int, dict[str, Any]] = {}
    for cell, group in rows.groupby("entry"):
        lengths = {len(accuracy[at]) for at in group.index} | {len(progress[at]) for at in group.index}
        if len(lengths) > 1 or lengths == {0}:
            continue  # runs that ended early have no common checkpoints
        mean = np.mean([accuracy[at] for at in group.index], axis=0)
        share = np.mean([progress[at] for at in group.index], axis=0)
        curves[cell] = {"progress": scaled(share, 1000), "accuracy": scaled(mean, 1000), "chosen": {}}
    chosen = board.choices.table
    chosen = chosen[chosen["row"].isin(rows.index) & chosen["chosen"].notna()]
    chosen = chosen.assign(entry=rows["entry"].reindex(chosen["row"]).to_numpy())
    chosen = chosen[chosen["entry"].isin(curves.keys())]
    chosen = chosen.assign(
        progress=[progress[row][at] for row, at in zip(chosen["row"], chosen["checkpoint"], strict=True)]
    )
    means = chosen.groupby(["entry", "validator"], observed=True)[["progress", "chosen"]].mean()
    for (cell, validator), mean in zip(means.index, means.itertuples(), strict=True):
        curves[cell]["chosen"][validator] = [round(1000 * mean.progress), round(1000 * mean.chosen)]
    return curves


def _confusions(
    board: Leaderboard, detailed: pd.Index, predictions: Iterable[pd.DataFrame]
) -> tuple[dict[int, Any], dict[int, Any]]:
    """Of the cells the confusions of the source model and of the adapted one, summed over seeds."""
    rows = board.rows.loc[board.rows["entry"].isin(detailed), ["key", "entry"]]
    places = rows.groupby("key")["entry"].agg(list).to_dict()
    before: dict[int, np.ndarray] = {}
    after: dict[int, np.ndarray] = {}
    for piece in predictions:
        for row in piece.itertuples():
            if row.key not in places or row.truth is None or row.predictions is None or not row.n_test > 0:
                continue
            if len(row.truth) not in (row.n_test, 2 * row.n_test):
                continue
            truth = store.classes(row.truth, row.n_test)
            for sums, encoded in ((after, row.predictions), (before, row.predictions_before)):
                if encoded is None or len(encoded) != len(row.truth):
                    continue
                counts = _counts(truth, store.classes(encoded, row.n_test))
                for cell in places[row.key]:
                    sums[cell] = _sum(sums[cell], counts) if cell in sums else counts
    return {at: _shares(each) for at, each in before.items()}, {at: _shares(each) for at, each in after.items()}


def _counts(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    size = int(max(truth.max(), predicted.max())) + 1
    return np.bincount(truth.astype(int) * size + predicted, minlength=size * size).reshape(size, size)


def _sum(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    size = max(len(first), len(second))
    one, two = (np.pad(each, (0, size - len(each))) for each in (first, second))
    both: np.ndarray = one + two
    return both


def _shares(counts: np.ndarray) -> str | list[list[int]]:
    """Percent of each true class, or [true, predicted, percent] of the most frequent mistakes of many classes.

    The matrix is a text, line after line a character for each percent from `#`, half as long as its numbers.
    """
    percent = np.rint(100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).astype(int)
    if len(counts) <= MANY_CLASSES:
        return "".join(chr(ord("#") + share) for share in percent.flat)
    wrong = np.where(np.eye(len(counts), dtype=bool), 0, percent)
    most = np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSIONS]
    return [
        [int(true), int(said), int(wrong[true, said])]
        for true, said in zip(*np.unravel_index(most, wrong.shape), strict=True)
    ]


def _seeds(board: Leaderboard, at: pd.Index) -> dict[int, list[list[int | None]]]:
    """Of each cell the seeds and the accuracy of each in tenths of a percent."""
    rows = board.rows.loc[board.rows["entry"].isin(at) & board.rows["figure"].notna(), ["entry", "seed", "figure"]]
    return {
        cell: [group["seed"].tolist(), scaled(group["figure"], 1000)]
        for cell, group in rows.groupby("entry", sort=True)
    }
