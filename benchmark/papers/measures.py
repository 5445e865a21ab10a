"""What is read from rows to judge a claim: a measure of each row, and its mean with an interval over seeds.

The interval is the 95 % t-interval over seeds (of the difference of two methods: paired by seed). One seed gives none;
where two seeds or more give the same number, as a published network without training does, the draw of the test images
gives it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from dabench.core import ALL, DabenchError
from dabench.evaluation import statistics, tables
from dabench.evaluation.leaderboard import Leaderboard
from dabench.results import store

Row = Mapping[str, Any]
COLUMNS = (
    *(
        "key",
        "task",
        "variant",
        "setting",
        "labels",
        "stream",
        "seed",
        "status",
        "reason",
        "accuracy",
        "accuracy_before",
    ),
    *("source_before", "source_after", "checkpoint_accuracy", "predictions", "truth", "n_test", "partial"),
)
STREAM = "shuffled"  # how the test images come where nothing else is said
OUTSIDE = "outside"  # the status that `Regime.marked` gives rows
_STILL = 1e-9  # a spread over seeds below this is rounding
_NORMAL = 1.959964


class OutsideRegime(DabenchError):
    """A claim cannot come out, true or false, under the conditions of these rows."""


@dataclass(frozen=True)
class Measure:
    """A number that a row gives, as a fraction; `slope` says how far it moves with the accuracy (nan: unknown)."""

    name: str
    of: Callable[[Row], float]
    slope: Callable[[Row], float] = lambda row: math.nan


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _fall(row: Row) -> float:
    return float(max(row["checkpoint_accuracy"]) - row["checkpoint_accuracy"][-1])


def _best(row: Row) -> float:
    return float(max([row["accuracy"], *(row["checkpoint_accuracy"] or [])]))


def right(row: Row) -> np.ndarray:
    """Whether each test image is answered rightly."""
    predictions, labels = (store.classes(row[name], row["n_test"]) for name in ("predictions", "truth"))
    return np.asarray(predictions == labels)


def _late_gain(row: Row) -> float:
    """Accuracy over the last fifth of the test stream less that over the first fifth."""
    answers = right(row)
    fifth = max(1, len(answers) // 5)
    return float(answers[-fifth:].mean() - answers[:fifth].mean())


ACCURACY = Measure("accuracy", lambda row: row["accuracy"], lambda row: 1.0)
BEST_ON_TARGET = Measure("accuracy of the best checkpoint, chosen on the target test labels", _best, lambda row: 1.0)
DROP = Measure(
    "drop relative to the clean accuracy",
    lambda row: 1 - _ratio(row["accuracy"], row["source_before"]),
    lambda row: _ratio(1, row["source_before"]),
)
RECOVERED = Measure(
    "share recovered of what the camera took",
    lambda row: _ratio(row["accuracy"] - row["accuracy_before"], row["source_before"] - row["accuracy_before"]),
    lambda row: abs(_ratio(1, row["source_before"] - row["accuracy_before"])),
)
FALL = Measure("fall from the best checkpoint to the last", _fall)
SOURCE_AFTER = Measure("accuracy on the source afterwards", lambda row: row["source_after"])
FORGOTTEN = Measure("accuracy lost on the source", lambda row: row["source_before"] - row["source_after"])
LATE_GAIN = Measure("gain from the first fifth of the stream to the last", _late_gain, lambda row: math.sqrt(10))


@dataclass(frozen=True)
class Quantity:
    """A mean with half of its 95 % interval (nan where none can be had) over `n` seeds; `missing` cells are not run."""

    mean: float
    half: float
    n: int
    missing: int = 0

    @property
    def low(self) -> float:
        return self.mean - self.half

    @property
    def high(self) -> float:
        return self.mean + self.half

    def __str__(self) -> str:
        inside = f" [{points(self.low)}, {points(self.high)}]" if not math.isnan(self.half) else ""
        return f"{points(self.mean)}{inside} (n={self.n})"


def points(value: float) -> str:
    return f"{100 * value:.1f}"


def quantity(values: Sequence[float], error: float, missing: int = 0) -> Quantity:
    """The mean of the values over seeds; where all agree, `error`, that of the test images, gives the interval."""
    known = np.asarray(values, dtype=float)
    if len(known) < 2:
        return Quantity(float(known.mean()), math.nan, len(known), missing)
    std = known.std(ddof=1)
    half = float(statistics.half_width(std, len(known))) if std > _STILL else _NORMAL * error
    return Quantity(float(known.mean()), half if half > 0 else math.nan, len(known), missing)


def _error(row: Row, measure: Measure) -> float:
    return measure.slope(row) * float(statistics.image_error(row["accuracy"], row["n_test"]))


@dataclass(frozen=True)
class Of:
    """A variant of a method at a label budget and on a stream: which rows of a task are meant.

    `labels` None is the largest budget the rows have, so that methods without labels are found too.
    """

    variant: str
    labels: int | None = None
    stream: str = STREAM

    def __str__(self) -> str:
        labels = "" if self.labels in (None, ALL) else f" with {self.labels} labels a class"
        return f"`{self.variant}`{labels}" + ("" if self.stream == STREAM else f" on the stream `{self.stream}`")

    def rows(self, task: str, rows: Sequence[Row]) -> dict[int, Row]:
        """The rows by seed; raises DabenchError with the reason where none has a result."""
        mine = self._meant(task, rows)
        ok = {row["seed"]: row for row in mine if row["status"] == "ok"}
        if not ok:
            if any(row["status"] == OUTSIDE for row in mine):
                raise OutsideRegime(f"{task}: {mine[0]['reason']}")
            reasons = sorted({f"{row['status']}: {row['reason']}" for row in mine if row["reason"]})
            raise DabenchError(f"{self} on {task}: {'; '.join(reasons) or 'no row is stored'}")
        return ok

    def missing(self, task: str, rows: Sequence[Row]) -> int:
        """How many of the rows stand for cells that have not been run."""
        return sum(row["status"] == "missing" for row in self._meant(task, rows))

    def _meant(self, task: str, rows: Sequence[Row]) -> list[Row]:
        mine = [row for row in rows if self._is_meant(task, row)]
        if self.labels is None:
            return [row for row in mine if row["labels"] <= 0] or mine
        return [row for row in mine if row["labels"] == self.labels]

    def _is_meant(self, task: str, row: Row) -> bool:
        return (row["task"], row["variant"], row.get("stream") or STREAM) == (task, self.variant, self.stream)

    def measured(self, task: str, rows: Sequence[Row], measure: Measure = ACCURACY) -> Quantity:
        """The measure's mean over the seeds."""
        found = list(self.rows(task, rows).values())
        values = [measure.of(row) for row in found]
        if any(map(math.isnan, values)):
            raise DabenchError(f"{self} on {task}: the {measure.name} is undefined, its base is 0")
        return quantity(values, _error(found[0], measure), self.missing(task, rows))


@dataclass(frozen=True, eq=False)
class Basis:
    """The rows of an experiment, and the leaderboard of the whole folder, which says what differs."""

    rows: Sequence[Row]
    board: Leaderboard

    def entries(self, first: tuple[str, Of], second: tuple[str, Of]) -> tuple[int, int]:
        """The numbers in `board.entries` of two variants, each on its task, under conditions as alike as there are.

        Raises DabenchError where no row of one stands on the leaderboard.
        """
        one, other = self._entries(*first), self._entries(*second)
        groups = {at: tuple(self.board.entries.loc[at, tables.GROUP]) for at in {*one, *other}}

        def unlike(pair: tuple[int, int]) -> int:
            return sum(mine != yours for mine, yours in zip(*(groups[at] for at in pair), strict=True))

        return min(product(one, other), key=unlike)

    def _entries(self, task: str, of: Of) -> list[int]:
        keys = {row["key"] for row in of.rows(task, self.rows).values()}
        if numbers := self.board.entries_of(keys):
            return numbers
        raise DabenchError(f"{of} on {task}: the leaderboard shows newer rows of it than those that this study planned")

    def mean(self, entry: int) -> float:
        """The mean accuracy of an entry of the leaderboard."""
        return float(self.board.entries.at[entry, "mean"])


def difference(task: str, first: Of, second: Of, rows: Sequence[Row], measure: Measure = ACCURACY) -> Quantity:
    """The first variant's measure less the second's, paired by seed; raises DabenchError where no seed is shared."""
    one, other = first.rows(task, rows), second.rows(task, rows)
    seeds = sorted(one.keys() & other.keys())
    if not seeds:
        raise DabenchError(f"{first} and {second} on {task} share no seed")
    values = [measure.of(one[seed]) - measure.of(other[seed]) for seed in seeds]
    error = math.hypot(_error(one[seeds[0]], measure), _error(other[seeds[0]], measure))
    return quantity(values, error, first.missing(task, rows) + second.missing(task, rows))
