"""From rows to the tables that they may stand in: one row a cell and seed, in its comparison group; means of entries.

A *comparison group* is a set of rows that may be compared: they agree in every column of `GROUP`. An *entry* is the
mean over seeds of a variant of a method on a task in such a group.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from dabench.core import Setting
from dabench.evaluation import statistics
from dabench.results import row as columns
from dabench.results import store

BASELINE = "source_only"
UPPER_BOUND = "target_supervised"

GROUP = list(columns.GROUP)
ENTRY = list(columns.ENTRY)
CONDITIONS = [name for name in GROUP if name not in ("target_images", "labels")]
MEANS = [*columns.SHOWN, "nll_before", "ece_before", "n_test"]  # averaged over the seeds of an entry
CHECKPOINTS = ["checkpoint_progress", "checkpoint_accuracy", "checkpoint_scores"]
ANSWERS = ["predictions", "predictions_before", "truth"]
LONG = ["per_class", *CHECKPOINTS, *ANSWERS]
COLUMNS = [
    *("key", "seed", "status", "reason", "accuracy", "accuracy_before", "partial", "created"),
    *(*ENTRY, *MEANS, *LONG),
]
# Settings that see a number of target labels a class; the others stand beside the largest such number.
LABELLED = [str(each) for each in (Setting.SUPERVISED, Setting.SEMI_SUPERVISED, Setting.SEMI_SUPERVISED_SOURCE)]
FIXED = [str(Setting.SOURCE_ONLY), str(Setting.UPPER_BOUND)]  # no number of labels or target images changes them
UNLABELLED = [str(each) for each in Setting if str(each) not in (*LABELLED, *FIXED)]


def complete(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with every column of COLUMNS, what is missing or null replaced by the column's default."""
    rows = rows.assign(**{name: None for name in COLUMNS if name not in rows})
    rows = rows.assign(variant=rows["variant"].fillna(rows["method"]))
    for column in columns.COLUMNS:
        if column.name in COLUMNS and (column.default is not None or column.name in ("reason", "partial", "created")):
            default = "" if column.default is None else column.default
            if column.type == pa.string():
                rows[column.name] = _texts(rows[column.name], default)
            else:
                held = rows[column.name].astype(object)
                rows[column.name] = held.where(held.notna(), default).astype(_PLAIN[column.type])
    return rows.astype(dict.fromkeys(["accuracy", "accuracy_before", *MEANS], float))


_PLAIN = {pa.int64(): "int64", pa.float64(): float, pa.bool_(): bool}


def _texts(held: pd.Series, default: str) -> pd.Series:
    """The texts as objects, equal ones the same: a million rows name few tasks, and what is the same is soon equal."""
    place, values = pd.factorize(held)
    known = np.append(np.asarray(values, dtype=object), default)  # the place of a null is -1
    return pd.Series(known[place], index=held.index, dtype=object)


def current(rows: pd.DataFrame, stale: Collection[str] = ()) -> pd.DataFrame:
    """One row a cell, in an order that the input's order cannot change.

    Of several, one made by today's code wins, then the newest. `stale` holds the keys of rows made by other code
    than today's; they stay where nothing replaces them, with True in the column `stale`.
    """
    rows = complete(rows).assign(stale=among(rows["key"], stale))
    order = rows[[*ENTRY, "seed", "stale", "created", "key"]].reset_index(drop=True)
    order = order.sort_values(["stale", "created", "key"], ascending=[False, True, True], kind="stable")
    order = order.drop_duplicates([*ENTRY, "seed"], keep="last").sort_values([*ENTRY, "seed"], kind="stable")
    return rows.iloc[order.index].reset_index(drop=True)


def among(keys: pd.Series, some: Collection[str]) -> np.ndarray:
    """Whether each key is one of some; a tenth of the time of `Series.isin` where these are as many."""
    return np.fromiter(map(some.__contains__, keys.to_numpy(dtype=object)), dtype=bool, count=len(keys))


def placed(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows put into the comparison groups of those they may be compared with.

    Methods that use no target labels stand beside the largest label budget; source-only and the upper bound, which
    no budget changes, stand in every group of their conditions.
    """
    everywhere = rows["setting"].isin(FIXED)
    bounded = [*CONDITIONS, "target_images"]
    budgets = rows.loc[rows["setting"].isin(LABELLED), [*bounded, "labels"]]
    largest = budgets.assign(size=size(budgets["labels"])).sort_values("size").drop_duplicates(bounded, keep="last")
    others = rows[~everywhere].merge(largest[[*bounded, "labels"]], on=bounded, how="left", suffixes=("", "_beside"))
    free = ~others["setting"].isin(LABELLED)
    others["labels"] = others["labels"].where(~free, others["labels_beside"].fillna(-1)).astype("int64")
    others = others.drop(columns="labels_beside")

    fixed = rows[everywhere]
    groups = others[[*GROUP, "task"]].drop_duplicates()
    known = groups[[*CONDITIONS, "task"]].drop_duplicates()
    alone = fixed.merge(known, on=[*CONDITIONS, "task"], how="left", indicator=True)
    alone = alone[alone.pop("_merge") == "left_only"].assign(labels=-1)
    beside = fixed.drop(columns="labels").merge(groups, on=[*CONDITIONS, "task"], suffixes=("_own", ""))
    own = beside.pop("target_images_own")
    beside = beside.assign(_far=own != beside["target_images"])[(own == beside["target_images"]) | (own == -1)]
    beside = beside.sort_values("_far", kind="stable").drop_duplicates([*ENTRY, "seed"]).drop(columns="_far")
    whole = pd.concat([frame for frame in (others, beside, alone) if len(frame)] or [others])
    return whole.sort_values([*ENTRY, "seed"], kind="stable").reset_index(drop=True)


def size(bound: pd.Series) -> pd.Series:
    """A bound in which -1 means all, as a number that grows with it."""
    return bound.astype(float).where(bound >= 0, np.inf)


def numbered(rows: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """The entries that the rows belong to, in order, and the number of each row's entry."""
    groups = rows.groupby(ENTRY, sort=True)
    entries = groups.size().reset_index(name="seeds")
    return entries, groups.ngroup().to_numpy()


def means(rows: pd.DataFrame, entries: pd.DataFrame, entry: np.ndarray) -> pd.DataFrame:
    """The entries with means over seeds of rows that have a `figure`.

    `mean`, `before` and `gain` are fractions, `ci` half of the mean's 95 % interval over its `n` seeds; `collapsed`
    marks a class that is never predicted in some seed; `default` a method with its default hyper-parameters; `stale`
    one of which a row is of other code than today's. `untouched` counts the seeds in which a method that sees labels
    returned the source model, every checkpoint having been worse on the labels held back.
    """
    untouched = (rows["trained_parameters"] == 0) & rows["setting"].isin(LABELLED)
    values = rows[["figure", "accuracy_before", *MEANS]].assign(
        gain=rows["figure"] - rows["accuracy_before"], collapsed=_collapsed(rows), untouched=untouched
    )
    groups = values.groupby(entry, sort=True)
    table = entries.join(groups["figure"].agg(mean="mean", std="std", n="count"))
    table = table.join(groups[[*MEANS, "gain"]].mean())
    table["before"] = groups["accuracy_before"].mean()
    table["collapsed"] = groups["collapsed"].any()
    table["untouched"] = groups["untouched"].sum()
    table["stale"] = rows["stale"].groupby(entry).any()
    table["ci"] = statistics.half_width(table.pop("std"), table["n"])
    table["default"] = table["variant"] == table["method"]
    return table


def main(entries: pd.DataFrame) -> pd.Series:
    """Marks the budgets that most methods have, the largest of equals, of each task and its other conditions."""
    place, budgets = [*(name for name in CONDITIONS if name != "budget"), "task"], ["budget", "target_images", "labels"]
    counts = entries[entries["default"]].groupby([*place, *budgets])["method"].nunique().reset_index(name="methods")
    sizes = counts[budgets].apply(size)
    order = pd.concat([counts["methods"], sizes], axis=1).sort_values(["methods", *budgets], ascending=False).index
    best = counts.loc[order].drop_duplicates(place)[[*place, *budgets]]
    there = entries[[*place, *budgets]].merge(best, how="left", indicator=True)["_merge"]
    return pd.Series((there == "both").to_numpy(), entries.index)


def _collapsed(rows: pd.DataFrame) -> np.ndarray:
    """Whether some class that has test images is never predicted; without predictions, never recognised."""
    collapsed: np.ndarray = np.nan_to_num(_nan_min(rows["per_class"]), nan=1.0) <= 0
    for at in np.flatnonzero(collapsed & rows["predictions"].notna().to_numpy()):
        given, n_test = rows["predictions"].iloc[at], rows["n_test"].iloc[at]
        if len(given) not in _bytes(n_test):  # of other images than the row says
            continue
        recall = np.asarray(rows["per_class"].iloc[at], dtype=float)
        predicted = np.unique(store.classes(given, n_test))
        collapsed[at] = bool(set(np.flatnonzero(recall <= 0)) - set(predicted))
    return collapsed


@dataclass(frozen=True)
class Answers:
    """By entry each test image's share of right answers over seeds, of the adapted and of the source model.

    `images` holds what tells one set of test images from another: their labels.
    """

    right: dict[int, np.ndarray]
    before: dict[int, np.ndarray]
    images: dict[int, object]


def answers(rows: pd.DataFrame, entry: np.ndarray) -> Answers:
    """The answers of each entry of which they are known.

    An entry is left out where a row shows another figure than its returned model's, lacks predictions, or has other
    test images than the entry's first.
    """
    found = Answers({}, {}, {})
    usable = ((rows["figure"] == rows["accuracy"]) & rows[ANSWERS].notna().all(axis=1)).to_numpy(dtype=bool)
    stored = {name: rows[name].array for name in ANSWERS}
    sizes = rows["n_test"].to_numpy()
    for number, places in _places(entry).items():
        if not usable[places].all():
            continue
        given, was, truth = ([stored[name][at] for at in places] for name in ANSWERS)
        n_test = sizes[places[0]]
        if len({*map(len, [*given, *was, *truth])}) > 1 or len(set(truth)) > 1 or len(truth[0]) not in _bytes(n_test):
            continue
        labels = store.classes(truth[0], n_test)
        found.images[number] = truth[0]
        found.right[number], found.before[number] = (
            (store.classes(b"".join(many), n_test * len(many)).reshape(len(many), -1) == labels).mean(axis=0)
            for many in (given, was)
        )
    return found


def _bytes(n_test: float) -> tuple[float, float]:
    return (n_test, 2 * n_test) if n_test > 0 else ()  # type: ignore[return-value]


def _places(entry: np.ndarray) -> Mapping[int, np.ndarray]:
    """The positions of each entry's rows."""
    order = np.argsort(entry, kind="stable")
    numbers, starts = np.unique(entry[order], return_index=True)
    return dict(zip(numbers.tolist(), np.split(order, starts[1:]), strict=True)) if len(entry) else {}


def _nan_min(lists: pd.Series) -> np.ndarray:
    """The smallest number of each list, nan for none."""
    values, lengths = flat(lists)
    smallest = np.full(len(lengths), np.nan)
    if len(values):
        starts = np.cumsum(lengths) - lengths
        smallest[lengths > 0] = np.fmin.reduceat(values, starts[lengths > 0])
    return smallest


def as_arrow(column: pd.Series | pa.Array, kind: pa.DataType) -> pa.Array:
    """A column as one Arrow array: Python lists converted, Arrow's own kept."""
    array = column if isinstance(column, pa.Array) else pa.array(column, type=kind, from_pandas=True)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def flat(lists: pd.Series | pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """All numbers of a column of lists in one array, and the length of each list (0 for a missing one)."""
    array = as_arrow(lists, pa.list_(pa.float64()))
    lengths = pa.compute.fill_null(pa.compute.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    return array.flatten().to_numpy(zero_copy_only=False).astype(float, copy=False), lengths
