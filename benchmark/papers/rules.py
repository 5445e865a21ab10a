"""Rules that judge a claim by rows: plain values, each a pure function from rows to an outcome and its evidence.

A rule looks at one task; `AllOf` and `AnyOf` join rules. The interval of a quantity wholly on the claimed side of the
claimed number reproduces the claim, wholly on the other side it contradicts it; an interval that covers the number
leaves it undecided.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np

from dabench.core import DabenchError
from dabench.evaluation import statistics
from dabench.papers.measures import (
    ACCURACY,
    OUTSIDE,
    Measure,
    Of,
    OutsideRegime,
    Quantity,
    Row,
    difference,
    points,
    quantity,
    right,
    shared_seeds,
)


class Outcome(StrEnum):
    """What a claim came to."""

    REPRODUCED = "reproduced"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"
    NOT_TESTABLE = "not testable"
    OUTSIDE = "outside the paper's regime"


@dataclass(frozen=True)
class Judgement:
    """The outcome and the numbers that led to it, in a line."""

    outcome: Outcome
    evidence: str


class Rule(Protocol):
    """How a claim is judged: `words` states the rule, `judge` applies it."""

    @property
    def words(self) -> str: ...

    def judge(self, rows: Sequence[Row]) -> Judgement: ...


@dataclass(frozen=True)
class Regime:
    """The conditions under which a paper's claims can come out: a source network that knows its own source.

    `least` is the accuracy on the source's test images (a fraction) below which nothing is judged.
    """

    least: float
    why: str

    @property
    def words(self) -> str:
        return f"the source network answers at least {points(self.least)} % of its own source rightly, for {self.why}"

    def marked(self, rows: Sequence[Row]) -> list[Row]:
        """The rows, those of a task whose source networks miss that on average being marked as outside."""
        known: dict[str, list[float]] = {}
        for row in rows:
            if row["status"] == "ok" and not math.isnan(row["source_before"]):
                known.setdefault(row["task"], []).append(row["source_before"])
        mean = {task: sum(found) / len(found) for task, found in known.items()}
        return [
            {**row, "status": OUTSIDE, "reason": self._reason(mean[row["task"]])}
            if mean.get(row["task"], 1.0) < self.least
            else row
            for row in rows
        ]

    def _reason(self, mean: float) -> str:
        return (
            f"the source network answers {points(mean)} % of its own source rightly, less than {points(self.least)} %"
        )


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


def judged(found: Quantity, limit: float, *, above: bool, evidence: str) -> Judgement:
    """Whether the interval lies wholly above (or below) the limit; all are fractions."""
    if why := _lacking([found]):
        return Judgement(Outcome.NOT_TESTABLE, f"{evidence}: {why}")
    if found.low > limit if above else found.high < limit:
        return Judgement(Outcome.REPRODUCED, evidence)
    if found.high < limit if above else found.low > limit:
        return Judgement(Outcome.CONTRADICTED, f"{evidence}: wholly on the other side of {points(limit)}")
    return Judgement(Outcome.UNDECIDED, f"{evidence}: the interval covers {points(limit)}")


def _unjudged(error: DabenchError) -> Judgement:
    """What an error in reading the rows comes to."""
    return Judgement(Outcome.OUTSIDE if isinstance(error, OutsideRegime) else Outcome.NOT_TESTABLE, str(error))


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
        margin = f"above {points(self.by)} points" if self.by else "above 0"
        return f"the interval of {self.first} less {self.second} ({self.measure.name}) lies wholly {margin}"

    def judge(self, rows: Sequence[Row]) -> Judgement:
        try:
            found = difference(self.task, self.first, self.second, rows, self.measure)
            means = [each.measured(self.task, rows, self.measure).mean for each in (self.first, self.second)]
        except DabenchError as error:
            return _unjudged(error)
        sides = f"{self.first} {points(means[0])}, {self.second} {points(means[1])}"
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
        return f"the interval of {self.of} ({self.measure.name}) lies wholly {side} {points(self.limit)}"

    def judge(self, rows: Sequence[Row]) -> Judgement:
        try:
            found = self.of.measured(self.task, rows, self.measure)
        except DabenchError as error:
            return _unjudged(error)
        evidence = f"{self.task}: {self.of} {self.measure.name} {found}"
        return judged(found, self.limit, above=self.above, evidence=evidence)


@dataclass(frozen=True)
class BestOf:
    """The best of the winners is above the best of the other variants, by mean accuracy."""

    task: str
    among: tuple[Of, ...]
    winners: tuple[Of, ...]

    @property
    def words(self) -> str:
        return (
            f"among {_listed(self.among)}, the interval of the best of {_listed(self.winners, 'or')} less the best of "
            "the others lies wholly above 0"
        )

    def judge(self, rows: Sequence[Row]) -> Judgement:
        try:
            found = {each: each.measured(self.task, rows) for each in self.among}
            winner, other = (
                max((each for each in found if (each in self.winners) is won), key=lambda each: found[each].mean)
                for won in (True, False)
            )
            gain = difference(self.task, winner, other, rows)
        except DabenchError as error:
            return _unjudged(error)
        evidence = f"{self.task}: " + ", ".join(f"{each} {points(its.mean)}" for each, its in found.items())
        if why := _lacking(found.values(), interval=False):
            return Judgement(Outcome.NOT_TESTABLE, f"{evidence}: {why}")
        return judged(gain, 0, above=True, evidence=f"{evidence}; {winner} less {other}: {gain}")


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

    def judge(self, rows: Sequence[Row]) -> Judgement:
        try:
            here = self.of.measured(self.task, rows)
            elsewhere = {task: self.of.measured(task, rows) for task in self.others}
            gains = {task: self._gain(task, rows) for task in self.others}
        except DabenchError as error:
            return _unjudged(error)
        worst, untouched = min(gains, key=lambda task: gains[task].mean), self.others[0]
        evidence = f"{self.task} {here}; lowest elsewhere {worst} {elsewhere[worst]}, difference {gains[worst]}; "
        evidence += f"{untouched} {elsewhere[untouched]}"
        if why := _lacking([here, *elsewhere.values()]) or _lacking(gains.values(), interval=False):
            return Judgement(Outcome.NOT_TESTABLE, f"{evidence}: {why}")
        if gains[worst].high < 0 or gains[untouched].high < 0:
            return Judgement(Outcome.CONTRADICTED, evidence)
        return Judgement(Outcome.REPRODUCED if gains[untouched].low > 0 else Outcome.UNDECIDED, evidence)

    def _gain(self, task: str, rows: Sequence[Row]) -> Quantity:
        """The accuracy on the other task less that here."""
        there, here = self.of.rows(task, rows), self.of.rows(self.task, rows)
        seeds = shared_seeds(there, here, f"{self.of} on {task} and {self.task}")
        values = [there[seed]["accuracy"] - here[seed]["accuracy"] for seed in seeds]
        first, second = there[seeds[0]], here[seeds[0]]
        if first["truth"] != second["truth"]:
            raise DabenchError(f"{task} and {self.task} do not score the same test images")
        errors = statistics.paired_image_errors(np.array([right(first), right(second)], dtype=float))
        return quantity(values, errors[0, 1])


@dataclass(frozen=True)
class NotHere:
    """A claim that no row can judge, with the reason."""

    reason: str
    words: str = "none: nothing that is stored bears on it"

    def judge(self, rows: Sequence[Row]) -> Judgement:
        return Judgement(Outcome.NOT_TESTABLE, self.reason)


@dataclass(frozen=True)
class AllOf:
    """Every rule holds; one that is contradicted decides, whatever the others lack."""

    rules: tuple[Rule, ...]

    @property
    def words(self) -> str:
        return _joined(self.rules, " and ")

    def judge(self, rows: Sequence[Row]) -> Judgement:
        return _first_of((Outcome.CONTRADICTED, *_OPEN, Outcome.REPRODUCED), self.rules, rows)


@dataclass(frozen=True)
class AnyOf:
    """Some rule holds; one that does decides, whatever the others lack."""

    rules: tuple[Rule, ...]

    @property
    def words(self) -> str:
        return _joined(self.rules, " or ")

    def judge(self, rows: Sequence[Row]) -> Judgement:
        return _first_of((Outcome.REPRODUCED, *_OPEN, Outcome.CONTRADICTED), self.rules, rows)


_OPEN = (Outcome.OUTSIDE, Outcome.NOT_TESTABLE, Outcome.UNDECIDED)


def _first_of(order: Sequence[Outcome], rules: Sequence[Rule], rows: Sequence[Row]) -> Judgement:
    """The first outcome in the order that a rule came to, with the evidence of all."""
    judgements = [rule.judge(rows) for rule in rules]
    outcome = min((each.outcome for each in judgements), key=order.index)
    return Judgement(outcome, "; ".join(dict.fromkeys(each.evidence for each in judgements)))


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
