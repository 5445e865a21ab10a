"""From rows to standings: what may stand in one table, its means and intervals, ranks and selection scores.

A *bench* is a set of rows that may be compared: one family, protocol, backbone, image size, budget, bound on the
target images and label budget. A *cell* is a variant of a method on a task of a bench, over its seeds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
from scipy import stats

from dabench.core import DabenchError, Setting
from dabench.evaluation import statistics
from dabench.results import store

_IN_CACHE = 4096  # lines of ten numbers that the processor keeps near while it ranks them
_NUMBERS = pa.list_(pa.float64())

FLOOR = "source_only"
CEILING = "target_supervised"
LAST, BEST = "last", "oracle"

CONDITIONS = ["family", "protocol", "backbone", "image_size", "budget"]
BENCH = [*CONDITIONS, "target_images", "labels"]
CELL = [*BENCH, "task", "setting", "method", "variant"]
MEANS = [
    *("nll", "nll_before", "ece", "ece_before", "source_before", "source_after"),
    *("seconds", "ms_per_image", "peak_memory", "trained_parameters", "n_test"),
]
LISTS = ["per_class", "checkpoint_accuracy", "checkpoint_scores"]
ANSWERS = ["predictions", "predictions_before", "truth"]
LONG = [*LISTS, *ANSWERS]
COLUMNS = [
    *("key", "seed", "status", "reason", "accuracy", "accuracy_before", "partial", "created"),
    *(*CELL, *MEANS, *LONG),
]


def current(rows: pd.DataFrame, stale: Collection[str] = ()) -> pd.DataFrame:
    """One row a cell and seed, in an order that the input's order cannot change.

    Of several, one made by today's code wins, then the newest. `stale` holds the keys of rows made by other code
    than today's; they stay where nothing replaces them, with True in the column `stale`.
    """
    rows = rows.assign(stale=among(rows["key"], stale), variant=rows["variant"].fillna(rows["method"]))
    for name in ("family", "protocol", "backbone", "setting", "reason", "partial", "created"):
        rows[name] = rows[name].astype(object).where(rows[name].notna(), "")
    for name, unknown in {"image_size": 0, "budget": 1.0, "target_images": -1, "labels": -1, "seed": 0}.items():
        rows[name] = rows[name].fillna(unknown).astype(float if name == "budget" else "int64")
    rows = rows.astype(dict.fromkeys(["accuracy", "accuracy_before", *MEANS], float))
    order = rows[[*CELL, "seed", "stale", "created", "key"]].reset_index(drop=True)
    order = order.sort_values(["stale", "created", "key"], ascending=[False, True, True], kind="stable")
    order = order.drop_duplicates([*CELL, "seed"], keep="last").sort_values([*CELL, "seed"], kind="stable")
    return rows.iloc[order.index].reset_index(drop=True)


def among(keys: pd.Series, some: Collection[str]) -> np.ndarray:
    """Whether each key is one of some; a tenth of the time of `Series.isin` where these are as many."""
    return np.fromiter(map(some.__contains__, keys.to_numpy(dtype=object)), dtype=bool, count=len(keys))


def on_benches(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows put beside those they may be compared with.

    Methods that use no target labels stand beside the largest label budget; source-only and the oracle, which
    no budget changes, stand on every bench of their conditions.
    """
    everywhere = rows["setting"].isin([Setting.SOURCE_ONLY, Setting.ORACLE])
    bounded = [*CONDITIONS, "target_images"]
    supervised = rows["setting"] == Setting.SUPERVISED
    budgets = rows.loc[supervised, [*bounded, "labels"]]
    largest = budgets.assign(size=_size(budgets["labels"])).sort_values("size").drop_duplicates(bounded, keep="last")
    others = rows[~everywhere].merge(largest[[*bounded, "labels"]], on=bounded, how="left", suffixes=("", "_beside"))
    free = others["setting"] != Setting.SUPERVISED
    others["labels"] = others["labels"].where(~free, others["labels_beside"].fillna(-1)).astype("int64")
    others = others.drop(columns="labels_beside")

    fixed = rows[everywhere]
    benches = others[[*BENCH, "task"]].drop_duplicates()
    known = benches[[*CONDITIONS, "task"]].drop_duplicates()
    alone = fixed.merge(known, on=[*CONDITIONS, "task"], how="left", indicator=True)
    alone = alone[alone.pop("_merge") == "left_only"].assign(labels=-1)
    beside = fixed.drop(columns="labels").merge(benches, on=[*CONDITIONS, "task"], suffixes=("_own", ""))
    own = beside.pop("target_images_own")
    beside = beside.assign(_far=own != beside["target_images"])[(own == beside["target_images"]) | (own == -1)]
    beside = beside.sort_values("_far", kind="stable").drop_duplicates([*CELL, "seed"]).drop(columns="_far")
    placed = pd.concat([frame for frame in (others, beside, alone) if len(frame)] or [others])
    return placed.sort_values([*CELL, "seed"], kind="stable").reset_index(drop=True)


def _size(bound: pd.Series) -> pd.Series:
    """A bound in which -1 means all, as a number that grows with it."""
    return bound.astype(float).where(bound >= 0, np.inf)


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
    maps = _arrow(rows["checkpoint_scores"], pa.map_(pa.string(), _NUMBERS))
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


def _arrow(column: pd.Series | pa.Array, kind: pa.DataType) -> pa.Array:
    """A column as one Arrow array: Python lists converted, Arrow's own kept."""
    array = column if isinstance(column, pa.Array) else pa.array(column, type=kind, from_pandas=True)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _flat(lists: pd.Series | pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """All numbers of a column of lists in one array, and the length of each list (0 for a missing one)."""
    array = _arrow(lists, _NUMBERS)
    lengths = pa.compute.fill_null(pa.compute.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    return array.flatten().to_numpy(zero_copy_only=False).astype(float), lengths


def _padded(lists: pd.Series | pa.Array) -> np.ndarray:
    """Lists of numbers as (n, longest), nan after the end of each."""
    values, lengths = _flat(lists)
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


def cells(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean, interval, gain over source-only, gap closed and flags of each cell, from ok rows with a `figure`.

    `mean`, `half`, `gain` and the rest are fractions; `worse` marks negative transfer (paired test over seeds),
    `collapsed` a class that is never predicted in some seed, `half_both` the interval over seeds and test images
    together (nan without predictions), `letters` the tie group among the
    default variants of the setting on that task, `best` those not told apart from the best of them.
    """
    rows = rows.assign(
        gain=rows["figure"] - rows["accuracy_before"],
        collapsed=_collapsed(rows),
    )
    groups = rows.groupby(CELL, sort=True)
    hits, gain_error = _image_level(rows, groups.indices)
    gain = groups["gain"].agg(["mean", "std", "count"])
    table = groups["figure"].agg(mean="mean", std="std", n="count").join(groups[MEANS].mean())
    table["seeds"] = groups.size()
    spread = np.array([hits[cell].std() / np.sqrt(len(hits[cell])) if cell in hits else np.nan for cell in table.index])
    table["half"] = statistics.half_width(table["std"], table["n"])
    table["half_both"] = statistics.both_levels(table["half"], spread)
    table["gain"] = gain["mean"]
    table["before"] = groups["accuracy_before"].mean()
    error = np.hypot(*(statistics.image_error(table[name], table["n_test"]) for name in ("mean", "before")))
    paired = np.array([gain_error.get(cell, np.nan) for cell in table.index])
    p = statistics.difference_p_value(gain["mean"], gain["std"], gain["count"], error, paired)
    table["worse"] = (p < statistics.ALPHA) & (table["gain"] < 0)
    table["collapsed"] = groups["collapsed"].any()
    half = np.nan_to_num(statistics.half_width(gain["std"], gain["count"]))
    table["gap_noise"] = np.hypot(half, stats.norm.ppf(1 - statistics.ALPHA / 2) * np.nan_to_num(error))
    table = table[table["n"] > 0].reset_index()

    ceiling = table.loc[table["variant"] == CEILING, [*BENCH, "task", "gain", "gap_noise"]]
    gap = table[[*BENCH, "task"]].merge(ceiling, on=[*BENCH, "task"], how="left")
    table["closed"] = statistics.gap_closed(table["gain"], 0, gap["gain"], gap["gap_noise"])
    table["default"] = table["variant"] == table["method"]
    return table.drop(columns="gap_noise").join(_ties(rows, table, hits))


def _collapsed(rows: pd.DataFrame) -> np.ndarray:
    """Whether some class that has test images is never predicted; without predictions, never recognised."""
    collapsed = np.nan_to_num(_nan_min(rows["per_class"]), nan=1.0) <= 0
    for at in np.flatnonzero(collapsed & rows["predictions"].notna().to_numpy()):
        recall = np.asarray(rows["per_class"].iloc[at], dtype=float)
        predicted = np.unique(store.classes(rows["predictions"].iloc[at], rows["n_test"].iloc[at]))
        collapsed[at] = bool(set(np.flatnonzero(recall <= 0)) - set(predicted))
    return collapsed


def _image_level(
    rows: pd.DataFrame, cells: Mapping[tuple, np.ndarray]
) -> tuple[dict[tuple, np.ndarray], dict[tuple, float]]:
    """By cell, each test image's share of right answers over seeds, and the paired standard error of the gain.

    A cell is left out where a row shows another figure than its returned model's, lacks predictions, or has other
    test images than the cell's first.
    """
    hits, gain_error = {}, {}
    usable = (rows["figure"] == rows["accuracy"]) & rows[ANSWERS].notna().all(axis=1)
    usable = usable.to_numpy(dtype=bool)
    answers = {name: rows[name].array for name in ANSWERS}
    for cell, places in cells.items():
        if not usable[places].all():
            continue
        after, before, truth = ([answers[name][at] for at in places] for name in ANSWERS)
        if any(len({*map(len, many), len(truth[0])}) > 1 for many in (after, before, truth)) or len(set(truth)) > 1:
            continue
        n_test = rows["n_test"].iloc[places[0]]
        labels = store.classes(truth[0], n_test)
        right, was_right = (
            (store.classes(b"".join(many), n_test * len(many)).reshape(len(many), -1) == labels).mean(axis=0)
            for many in (after, before)
        )
        hits[cell] = right
        gain_error[cell] = (right - was_right).std() / np.sqrt(len(right))
    return hits, gain_error


def _nan_min(lists: pd.Series) -> np.ndarray:
    """The smallest number of each list, nan for none."""
    values, lengths = _flat(lists)
    smallest = np.full(len(lengths), np.nan)
    if len(values):
        starts = np.cumsum(lengths) - lengths
        smallest[lengths > 0] = np.fmin.reduceat(values, starts[lengths > 0])
    return smallest


def _ties(rows: pd.DataFrame, table: pd.DataFrame, hits: Mapping[tuple, np.ndarray]) -> pd.DataFrame:
    """Columns letters and best for each line of `table`."""
    letters, best = np.full(len(table), "", dtype=object), np.zeros(len(table), dtype=bool)
    seeds, seed = np.unique(rows["seed"], return_inverse=True)
    cell = rows[CELL].merge(table[CELL].assign(cell=range(len(table))), on=CELL, how="left")["cell"]
    known = cell.notna().to_numpy()
    values = np.full((len(table), len(seeds)), np.nan)
    values[cell[known].to_numpy(dtype=int), seed[known]] = rows["figure"].to_numpy()[known]
    groups = table[table["default"]].groupby([*BENCH, "task", "setting"], sort=True).indices
    positions = np.flatnonzero(table["default"])
    for members in groups.values():
        members = positions[members]
        if len(members) < 2:
            continue
        names = [tuple(cell) for cell in table[CELL].iloc[members].itertuples(index=False)]
        images = table["n_test"].to_numpy()[members].mean()
        marks = statistics.tie_groups(values[members], images, _paired_errors([hits.get(name) for name in names]))
        leader = set(marks[max(range(len(members)), key=lambda at: (marks[at] != "", table["mean"][members[at]]))])
        letters[members] = marks
        best[members] = [bool(leader & set(mark)) for mark in marks]
    return pd.DataFrame({"letters": letters, "best": best}, index=table.index)


def _paired_errors(hits: list[np.ndarray | None]) -> np.ndarray | None:
    """The paired errors of methods on the same test images; nan for pairs of which one is not known by image."""
    sizes = {len(each) for each in hits if each is not None}
    if len(sizes) != 1:
        return None
    (images,) = sizes
    return statistics.paired_image_errors(np.array([np.full(images, np.nan) if hit is None else hit for hit in hits]))


@dataclass(frozen=True)
class Ranking:
    """The default variants of one setting over the columns that all of them have.

    `table` has the columns method, rank, low, high, closed, seconds, ms_per_image, best mean rank first;
    `accuracy` (shared columns, methods) is what the ranks are taken of, `closed` the share of the gap closed there.
    `shared` are the columns ranked over; `lacking` maps each left-out column to the methods that lack it, and
    `left_out` each method that has fewer than half of the columns to how many it has.
    """

    setting: str
    table: pd.DataFrame
    accuracy: pd.DataFrame
    closed: pd.DataFrame
    shared: list[str]
    lacking: dict[str, list[str]]
    left_out: dict[str, int]


def rankings(table: pd.DataFrame) -> list[Ranking]:
    """The overall ranking inside each setting; a missing cell is never imputed.

    A task, protocol, backbone and image size counts once: where it was run at several budgets, the one that most
    methods have counts, the larger among equals.
    """
    column = ["task", "protocol", "backbone", "image_size"]
    budgets = ["budget", "target_images", "labels"]
    ranked = table[table["default"] & ~table["setting"].isin([Setting.SOURCE_ONLY, Setting.ORACLE])]
    result = []
    for setting in Setting:
        group = ranked[ranked["setting"] == setting]
        if group.empty:
            continue
        methods = group.groupby([*column, *budgets])["method"].nunique().reset_index(name="methods")
        for name in budgets[1:]:
            methods[f"{name}_size"] = _size(methods[name])
        order = ["methods", "budget", "target_images_size", "labels_size"]
        methods = methods.sort_values([*column, *order]).drop_duplicates(column, keep="last")
        group = group.merge(methods[[*column, *budgets]], on=[*column, *budgets])
        group = group.assign(column=_column_names(group))
        result.append(_ranking(setting, group))
    return result


def _column_names(group: pd.DataFrame) -> list[str]:
    """The task's name, with what else tells it from the other columns only where that is needed."""
    full = group["task"] + " (" + group["protocol"] + ", " + group["backbone"] + ", "
    full += group["image_size"].astype(str) + " px)"
    several = full.groupby(group["task"]).transform("nunique") > 1
    names = group["task"].where(~several, full)
    reduced = group["budget"].map(lambda budget: "" if budget == 1 else f" at budget {budget:g}")
    return list(names + reduced)


def _ranking(setting: str, group: pd.DataFrame) -> Ranking:
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
    means = inside.groupby("method")[["closed", "seconds", "ms_per_image"]].mean().reindex(compared)
    if len(complete):
        ranks = statistics.mean_rank_interval(accuracy.loc[complete, compared].to_numpy())
    else:
        ranks = [statistics.MeanRank(np.nan, np.nan, np.nan)] * len(compared)
    means = means.assign(
        rank=[rank.mean for rank in ranks], low=[rank.low for rank in ranks], high=[rank.high for rank in ranks]
    )
    means = means.rename_axis("method").reset_index().sort_values(["rank", "method"], kind="stable")
    return Ranking(
        setting=setting,
        table=means.reset_index(drop=True),
        accuracy=accuracy.loc[complete, compared],
        closed=inside.pivot(index="column", columns="method", values="closed").reindex(complete, columns=compared),
        shared=list(complete),
        lacking=lacking,
        left_out={str(method): int(count) for method, count in left_out.items()},
    )


def validators(rows: pd.DataFrame, chosen: Choices) -> pd.DataFrame:
    """How well each label-free score chooses, a line for each family, setting and validator.

    over_checkpoints and over_methods are mean Spearman correlations with accuracy (over the checkpoints of a
    run; over the methods and variants of a bench, task and seed), regret the mean accuracy lost against the
    best checkpoint, runs the number of runs.
    """
    by = ["family", "setting", "validator"]
    spots = rows.groupby([*BENCH, "task", "setting", "seed"]).ngroup()
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
