"""Rules that judge a claim by rows: plain values, each a pure function from rows to a verdict.

A rule looks at one task; `AllOf` and `AnyOf` join rules. The yardstick is always the same: the 95 % interval of a
quantity over seeds (of the difference of two methods: paired by seed) must lie wholly on the claimed side of the
claimed number. One seed gives no interval and so no verdict; where two seeds or more give the same number, as a
published network without training does, the draw of the test images gives the interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np

from dabench.core import DabenchError
from dabench.evaluation import statistics
from dabench.results import store
from dabench.run.plan import ALL

Row = Mapping[str, Any]
COLUMNS = (
    *("key", "task", "variant", "setting", "labels", "seed", "status", "reason", "accuracy", "accuracy_before"),
    *("source_before", "source_after", "checkpoint_accuracy", "predictions", "truth", "n_test", "partial"),
)
_STILL = 1e-9  # a spread over seeds below this is rounding
_NORMAL = 1.959964


class Outcome(StrEnum):
    """What a claim came to."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    NOT_TESTABLE = "not testable here"


@dataclass(frozen=True)
class Verdict:
    """The outcome and the numbers that led to it, in a line."""

    outcome: Outcome
    evidence: str


class Rule(Protocol):
    """How a claim is judged: `words` states the rule, `judge` applies it."""

    @property
    def words(self) -> str: ...

    def judge(self, rows: Sequence[Row]) -> Verdict: ...


# ------------------------------------------------------------------------------------------- quantities


@dataclass(frozen=True)
class Measure:
    """A number that a row gives, as a fraction; `slope` says how far it moves with the accuracy (nan: unknown)."""

    name: str
    of: Callable[[Row], float]
    slope: Callable[[Row], float] = lambda row: math.nan


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _fall(row: Row) -> float:
    return max(row["checkpoint_accuracy"]) - row["checkpoint_accuracy"][-1]


def _best(row: Row) -> float:
    return max([row["accuracy"], *(row["checkpoint_accuracy"] or [])])


def _right(row: Row) -> np.ndarray:
    """Whether each test image is answered rightly."""
    predictions, labels = (store.classes(row[name], row["n_test"]) for name in ("predictions", "truth"))
    return predictions == labels


def _late_gain(row: Row) -> float:
    """Accuracy over the last fifth of the test stream less that over the first fifth."""
    right = _right(row)
    fifth = max(1, len(right) // 5)
    return float(right[-fifth:].mean() - right[:fifth].mean())


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
        inside = f" [{_points(self.low)}, {_points(self.high)}]" if not math.isnan(self.half) else ""
        return f"{_points(self.mean)}{inside} (n={self.n})"


def _points(value: float) -> str:
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
    """A variant of a method at a label budget: which rows of a task are meant.

    `labels` None is the largest budget the rows have, so that methods without labels are found too.
    """

    variant: str
    labels: int | None = None

    def __str__(self) -> str:
        return f"`{self.variant}`" + ("" if self.labels in (None, ALL) else f" with {self.labels} labels a class")

    def rows(self, task: str, rows: Sequence[Row]) -> dict[int, Row]:
        """The rows by seed; raises DabenchError with the reason where there are none with a result."""
        mine = self._meant(task, rows)
        ok = {row["seed"]: row for row in mine if row["status"] == "ok"}
        if not ok:
            reasons = sorted({f"{row['status']}: {row['reason']}" for row in mine if row["reason"]})
            raise DabenchError(f"{self} on {task}: {'; '.join(reasons) or 'no row is stored'}")
        return ok

    def missing(self, task: str, rows: Sequence[Row]) -> int:
        """How many of the rows stand for cells that have not been run."""
        return sum(row["status"] == "missing" for row in self._meant(task, rows))

    def _meant(self, task: str, rows: Sequence[Row]) -> list[Row]:
        mine = [row for row in rows if row["task"] == task and row["variant"] == self.variant]
        if self.labels is None:
            return [row for row in mine if row["labels"] <= 0] or mine
        return [row for row in mine if row["labels"] == self.labels]

    def measured(self, task: str, rows: Sequence[Row], measure: Measure = ACCURACY) -> Quantity:
        """The measure's mean over the seeds."""
        found = list(self.rows(task, rows).values())
        values = [measure.of(row) for row in found]
        if any(map(math.isnan, values)):
            raise DabenchError(f"{self} on {task}: the {measure.name} is undefined, its base is 0")
        return quantity(values, _error(found[0], measure), self.missing(task, rows))


def _shared(one: Mapping[int, Row], other: Mapping[int, Row], both: str) -> list[int]:
    """The seeds that two sets of rows share; raises DabenchError where there are none."""
    if seeds := sorted(one.keys() & other.keys()):
        return seeds
    raise DabenchError(f"{both} share no seed")


def difference(task: str, first: Of, second: Of, rows: Sequence[Row], measure: Measure = ACCURACY) -> Quantity:
    """The first variant's measure less the second's, paired by seed; raises DabenchError where no seed is shared."""
    one, other = first.rows(task, rows), second.rows(task, rows)
    seeds = _shared(one, other, f"{first} and {second} on {task}")
    values = [measure.of(one[seed]) - measure.of(other[seed]) for seed in seeds]
    error = math.hypot(_error(one[seeds[0]], measure), _error(other[seeds[0]], measure))
    return quantity(values, error, first.missing(task, rows) + second.missing(task, rows))


# ------------------------------------------------------------------------------------------------ rules


def _lacking(found: Iterable[Quantity], *, interval: bool = True) -> str:
    """Why no verdict can rest on these; empty where one can."""
    found = tuple(found)
    if missing := sum(each.missing for each in found):
        return f"{missing} of its cells not run"
    if any(each.n < 2 for each in found):
        return "one seed, and a verdict takes two"
    if interval and any(math.isnan(each.half) for each in found):
        return "the seeds agree and nothing gives an interval"
    return ""


def judged(found: Quantity, limit: float, *, above: bool, evidence: str) -> Verdict:
    """Whether the interval lies wholly above (or below) the limit; all are fractions."""
    if why := _lacking([found]):
        return Verdict(Outcome.NOT_TESTABLE, f"{evidence}: {why}")
    if found.low > limit if above else found.high < limit:
        return Verdict(Outcome.REPRODUCED, evidence)
    contradicted = found.high < limit if above else found.low > limit
    why = "wholly on the other side of" if contradicted else "not told apart from"
    return Verdict(Outcome.NOT_REPRODUCED, f"{evidence}: {why} {_points(limit)}")


@dataclass(frozen=True)
class Higher:
    """The first variant is above the second by more than `by` (a fraction)."""

    task: str
    first: Of
    second: Of
    by: float = 0.0
    measure: Measure = ACCURACY

    @property
    def words(self) -> str:
        margin = f"above {_points(self.by)} points" if self.by else "above 0"
        return f"the interval of {self.first} less {self.second} ({self.measure.name}) lies wholly {margin}"

    def judge(self, rows: Sequence[Row]) -> Verdict:
        try:
            found = difference(self.task, self.first, self.second, rows, self.measure)
            means = [each.measured(self.task, rows, self.measure).mean for each in (self.first, self.second)]
        except DabenchError as error:
            return Verdict(Outcome.NOT_TESTABLE, str(error))
        sides = f"{self.first} {_points(means[0])}, {self.second} {_points(means[1])}"
        return judged(found, self.by, above=True, evidence=f"{self.task}: {sides}, difference {found}")


@dataclass(frozen=True)
class Below:
    """A variant's measure is below the limit (a fraction); with `above`, over it."""

    task: str
    of: Of
    measure: Measure
    limit: float
    above: bool = False

    @property
    def words(self) -> str:
        side = "above" if self.above else "below"
        return f"the interval of {self.of} ({self.measure.name}) lies wholly {side} {_points(self.limit)}"

    def judge(self, rows: Sequence[Row]) -> Verdict:
        try:
            found = self.of.measured(self.task, rows, self.measure)
        except DabenchError as error:
            return Verdict(Outcome.NOT_TESTABLE, str(error))
        evidence = f"{self.task}: {self.of} {self.measure.name} {found}"
        return judged(found, self.limit, above=self.above, evidence=evidence)


@dataclass(frozen=True)
class BestOf:
    """The highest mean accuracy among the variants is one of the winners'."""

    task: str
    among: tuple[Of, ...]
    winners: tuple[Of, ...]

    @property
    def words(self) -> str:
        return f"the highest mean accuracy among {_listed(self.among)} is that of {_listed(self.winners, 'or')}"

    def judge(self, rows: Sequence[Row]) -> Verdict:
        try:
            found = {each: each.measured(self.task, rows) for each in self.among}
        except DabenchError as error:
            return Verdict(Outcome.NOT_TESTABLE, str(error))
        best = max(found, key=lambda each: found[each].mean)
        evidence = f"{self.task}: " + ", ".join(f"{each} {_points(its.mean)}" for each, its in found.items())
        evidence += f" (n={min(each.n for each in found.values())})"
        if why := _lacking(found.values(), interval=False):
            return Verdict(Outcome.NOT_TESTABLE, f"{evidence}: {why}")
        return Verdict(Outcome.REPRODUCED if best in self.winners else Outcome.NOT_REPRODUCED, evidence)


@dataclass(frozen=True)
class NoneLower:
    """No other task's accuracy is below this one's by more than the noise: the worst place of a curve.

    The tasks show the same test images behind different cameras: differences are paired by seed and by image.
    """

    task: str
    others: tuple[str, ...]
    of: Of

    @property
    def words(self) -> str:
        return (
            f"no other point of the curve has {self.of} below its accuracy here by an interval wholly below 0 (the "
            "same test pictures, paired), and the untouched end is above it in the same sense"
        )

    def judge(self, rows: Sequence[Row]) -> Verdict:
        try:
            here = self.of.measured(self.task, rows)
            elsewhere = {task: self.of.measured(task, rows) for task in self.others}
            gains = {task: self._gain(task, rows) for task in self.others}
        except DabenchError as error:
            return Verdict(Outcome.NOT_TESTABLE, str(error))
        worst, untouched = min(gains, key=lambda task: gains[task].mean), self.others[0]
        evidence = f"{self.task} {here}; lowest elsewhere {worst} {elsewhere[worst]}, difference {gains[worst]}; "
        evidence += f"{untouched} {elsewhere[untouched]}"
        if why := _lacking([here, *elsewhere.values()]) or _lacking(gains.values(), interval=False):
            return Verdict(Outcome.NOT_TESTABLE, f"{evidence}: {why}")
        holds = not gains[worst].high < 0 and gains[untouched].low > 0
        return Verdict(Outcome.REPRODUCED if holds else Outcome.NOT_REPRODUCED, evidence)

    def _gain(self, task: str, rows: Sequence[Row]) -> Quantity:
        """The accuracy on the other task less that here."""
        there, here = self.of.rows(task, rows), self.of.rows(self.task, rows)
        seeds = _shared(there, here, f"{self.of} on {task} and {self.task}")
        values = [there[seed]["accuracy"] - here[seed]["accuracy"] for seed in seeds]
        first, second = there[seeds[0]], here[seeds[0]]
        if first["truth"] != second["truth"]:
            raise DabenchError(f"{task} and {self.task} do not score the same test images")
        errors = statistics.paired_image_errors(np.array([_right(first), _right(second)], dtype=float))
        return quantity(values, errors[0, 1])


@dataclass(frozen=True)
class NotHere:
    """A claim that no row can judge, with the reason."""

    reason: str
    words: str = "none: nothing that is stored bears on it"

    def judge(self, rows: Sequence[Row]) -> Verdict:
        return Verdict(Outcome.NOT_TESTABLE, self.reason)


@dataclass(frozen=True)
class AllOf:
    """Every rule holds; one that fails decides, whatever the others lack."""

    rules: tuple[Rule, ...]

    @property
    def words(self) -> str:
        return _joined(self.rules, " and ")

    def judge(self, rows: Sequence[Row]) -> Verdict:
        return _first_of((Outcome.NOT_REPRODUCED, Outcome.NOT_TESTABLE), Outcome.REPRODUCED, self.rules, rows)


@dataclass(frozen=True)
class AnyOf:
    """Some rule holds; one that holds decides, whatever the others lack."""

    rules: tuple[Rule, ...]

    @property
    def words(self) -> str:
        return _joined(self.rules, " or ")

    def judge(self, rows: Sequence[Row]) -> Verdict:
        return _first_of((Outcome.REPRODUCED, Outcome.NOT_TESTABLE), Outcome.NOT_REPRODUCED, self.rules, rows)


def _first_of(order: Sequence[Outcome], otherwise: Outcome, rules: Sequence[Rule], rows: Sequence[Row]) -> Verdict:
    verdicts = [rule.judge(rows) for rule in rules]
    outcomes = {verdict.outcome for verdict in verdicts}
    outcome = next((each for each in order if each in outcomes), otherwise)
    return Verdict(outcome, "; ".join(dict.fromkeys(verdict.evidence for verdict in verdicts)))


def _joined(rules: Sequence[Rule], word: str) -> str:
    """The rules' words, those that differ in the task alone said once."""
    tasks: dict[str, list[str]] = {}
    for rule in rules:
        tasks.setdefault(rule.words, []).append(getattr(rule, "task", ""))
    parts = []
    for words, names in tasks.items():
        named = word.join(name for name in names if name)
        parts.append(f"{words} on {named}" if named else words)
    return f";{word}".join(parts)


def _listed(each: Sequence[Of], word: str = "and") -> str:
    *most, last = map(str, each)
    return f"{', '.join(most)} {word} {last}" if most else last
