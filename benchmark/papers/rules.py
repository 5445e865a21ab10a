"""Rules that judge a claim by rows: plain values, each a pure function from evidence to an outcome and its words.

A rule looks at one task; `AllOf` and `AnyOf` join rules. That one accuracy is above another is said by the
leaderboard's test of a difference, so that no paper's page disagrees with it. Where a number is claimed, the interval
of the quantity wholly on the claimed side reproduces the claim, wholly on the other side it contradicts it; an interval
that covers the number leaves it undecided.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from dabench.core import DabenchError
from dabench.evaluation.comparison import Difference, Verdict
from dabench.papers.measures import (
    ACCURACY,
    OUTSIDE,
    Basis,
    Measure,
    Of,
    OutsideRegime,
    Quantity,
    Row,
    difference,
    points,
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
    """How a claim is judged: `words` states the rule, `judge` applies it to the rows of an experiment."""

    @property
    def words(self) -> str: ...

    def judge(self, evidence: Basis) -> Judgement: ...


@dataclass(frozen=True)
class Regime:
    """The conditions under which a paper's claims can come out: a source network that knows its own source.

    `least` is the accuracy on the source's test images (a fraction) below which nothing is judged; `ends` has, for a
    variant, the accuracy there that its own network must end with, or it has not been trained to what the paper had.
    """

    least: float
    why: str
    ends: Mapping[str, float] = field(default_factory=dict)

    @property
    def words(self) -> str:
        said = f"the source network answers at least {points(self.least)} % of its own source rightly, for {self.why}"
        kept = (f"`{variant}` ends with at least {points(least)} % of it" for variant, least in self.ends.items())
        return "; ".join([said, *kept])

    def marked(self, rows: Sequence[Row]) -> list[Row]:
        """The rows, those of a task whose source networks miss that on average being marked as outside."""
        before = _means(rows, "source_before", lambda row: row["task"])
        after = _means(rows, "source_after", _variant_on_task)
        return [self._mark(row, before.get(row["task"], 1.0), after.get(_variant_on_task(row), 1.0)) for row in rows]

    def _mark(self, row: Row, before: float, after: float) -> Row:
        for who, reached, least in (
            ("the source network answers", before, self.least),
            (f"`{row['variant']}` ends with", after, self.ends.get(row["variant"], 0.0)),
        ):
            if reached < least:
                reason = f"{who} {points(reached)} % of its own source rightly, less than {points(least)} %"
                return {**row, "status": OUTSIDE, "reason": reason}
        return row


def _variant_on_task(row: Row) -> tuple[str, str]:
    return row["task"], row["variant"]


def _means(rows: Iterable[Row], column: str, of: Callable[[Row], Any]) -> dict[Any, float]:
    """The mean of a column over the rows that have it, for each group."""
    known: dict[Any, list[float]] = {}
    for row in rows:
        if row["status"] == "ok" and not math.isnan(row[column]):
            known.setdefault(of(row), []).append(row[column])
    return {group: sum(found) / len(found) for group, found in known.items()}


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


def told_apart(found: Difference, missing: int, said: str) -> Judgement:
    """Whether the first is above the second by the leaderboard's test."""
    evidence = f"{said} {_signed(found)}"
    if missing:
        return Judgement(Outcome.NOT_TESTABLE, f"{evidence}: {missing} of its cells not run")
    match found.verdict:
        case Verdict.BETTER:
            return Judgement(Outcome.REPRODUCED, evidence)
        case Verdict.WORSE:
            return Judgement(Outcome.CONTRADICTED, f"{evidence}: the other way round")
        case Verdict.TIED:
            return Judgement(Outcome.UNDECIDED, f"{evidence}: not told apart")
    return Judgement(Outcome.NOT_TESTABLE, f"{evidence}: one seed, and a verdict takes two")


def _signed(found: Difference) -> str:
    """A difference in points with its interval, the seeds that both share, and its p."""
    if math.isnan(found.p):
        return f"{points(found.mean)} (n={found.n})"
    inside = "" if math.isnan(found.ci) else f" [{points(found.mean - found.ci)}, {points(found.mean + found.ci)}]"
    return f"{points(found.mean)}{inside} (n={found.n}, p {'< 0.001' if found.p < 0.001 else f'= {found.p:.2g}'})"


@dataclass(frozen=True)
class Higher:
    """The first variant is above the second, by more than `by` (a fraction) where a number is claimed."""

    task: str
    first: Of
    second: Of
    by: float = 0.0
    measure: Measure = ACCURACY

    @property
    def words(self) -> str:
        if self._tested:
            return f"{self.first} is better than {self.second} by the leaderboard's test of a difference"
        margin = f"above {points(self.by)} points" if self.by else "above 0"
        return f"the interval of {self.first} less {self.second} ({self.measure.name}) lies wholly {margin}"

    @property
    def _tested(self) -> bool:
        return not self.by and self.measure is ACCURACY

    def judge(self, evidence: Basis) -> Judgement:
        try:
            if self._tested:
                return self._by_test(evidence)
            found = difference(self.task, self.first, self.second, evidence.rows, self.measure)
            means = [each.measured(self.task, evidence.rows, self.measure).mean for each in (self.first, self.second)]
        except DabenchError as error:
            return _unjudged(error)
        sides = f"{self.first} {points(means[0])}, {self.second} {points(means[1])}"
        return judged(found, self.by, above=True, evidence=f"{self.task}: {sides}, difference {found}")

    def _by_test(self, evidence: Basis) -> Judgement:
        entries = evidence.entries((self.task, self.first), (self.task, self.second))
        first, second = (evidence.mean(entry) for entry in entries)
        missing = sum(each.missing(self.task, evidence.rows) for each in (self.first, self.second))
        said = f"{self.task}: {self.first} {points(first)}, {self.second} {points(second)}, difference"
        return told_apart(evidence.board.difference(*entries), missing, said)


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

    def judge(self, evidence: Basis) -> Judgement:
        try:
            found = self.of.measured(self.task, evidence.rows, self.measure)
        except DabenchError as error:
            return _unjudged(error)
        said = f"{self.task}: {self.of} {self.measure.name} {found}"
        return judged(found, self.limit, above=self.above, evidence=said)


@dataclass(frozen=True)
class BestOf:
    """The best of the winners is above the best of the other variants, by mean accuracy."""

    task: str
    among: tuple[Of, ...]
    winners: tuple[Of, ...]

    @property
    def words(self) -> str:
        return (
            f"among {_listed(self.among)}, the best of {_listed(self.winners, 'or')} is better than the best of the "
            "others by the leaderboard's test of a difference"
        )

    def judge(self, evidence: Basis) -> Judgement:
        try:
            found = {each: each.measured(self.task, evidence.rows) for each in self.among}
            winner, other = (
                max((each for each in found if (each in self.winners) is won), key=lambda each: found[each].mean)
                for won in (True, False)
            )
            gain = evidence.board.difference(*evidence.entries((self.task, winner), (self.task, other)))
        except DabenchError as error:
            return _unjudged(error)
        said = f"{self.task}: " + ", ".join(f"{each} {points(its.mean)}" for each, its in found.items())
        if why := _lacking(found.values(), interval=False):
            return Judgement(Outcome.NOT_TESTABLE, f"{said}: {why}")
        return told_apart(gain, 0, f"{said}; {winner} less {other}:")


@dataclass(frozen=True)
class NoneLower:
    """No other task's accuracy is told apart below this one's: the worst place of a curve.

    The tasks show the same test images behind different cameras: differences are paired by seed and by image.
    """

    task: str
    others: tuple[str, ...]
    of: Of

    @property
    def words(self) -> str:
        return (
            f"at no other point of the curve is {self.of} worse than here by the leaderboard's test of a difference "
            "(the same test pictures, paired), and at the untouched end it is better"
        )

    def judge(self, evidence: Basis) -> Judgement:
        try:
            known = {task: self.of.measured(task, evidence.rows) for task in (self.task, *self.others)}
            gains = {task: self._gain(task, evidence) for task in self.others}
        except DabenchError as error:
            return _unjudged(error)
        worst, untouched = min(gains, key=lambda task: gains[task].mean), self.others[0]
        said = f"{self.task} {known[self.task]}; lowest elsewhere {worst} {known[worst]}, difference "
        said += f"{_signed(gains[worst])}; {untouched} {known[untouched]}"
        if why := _lacking(known.values()):
            return Judgement(Outcome.NOT_TESTABLE, f"{said}: {why}")
        verdicts = {task: gain.verdict for task, gain in gains.items()}
        if Verdict.UNTESTED in verdicts.values():
            return Judgement(Outcome.NOT_TESTABLE, f"{said}: one seed, and a verdict takes two")
        if Verdict.WORSE in verdicts.values():
            return Judgement(Outcome.CONTRADICTED, said)
        return Judgement(Outcome.REPRODUCED if verdicts[untouched] is Verdict.BETTER else Outcome.UNDECIDED, said)

    def _gain(self, task: str, evidence: Basis) -> Difference:
        """The accuracy on the other task less that here."""
        there, here = (next(iter(self.of.rows(each, evidence.rows).values())) for each in (task, self.task))
        if there["truth"] != here["truth"]:
            raise DabenchError(f"{task} and {self.task} do not score the same test images")
        return evidence.board.difference(*evidence.entries((task, self.of), (self.task, self.of)))


@dataclass(frozen=True)
class NotHere:
    """A claim that no row can judge, with the reason."""

    reason: str
    words: str = "none: nothing that is stored bears on it"

    def judge(self, evidence: Basis) -> Judgement:
        return Judgement(Outcome.NOT_TESTABLE, self.reason)


@dataclass(frozen=True)
class AllOf:
    """Every rule holds; one that is contradicted decides, whatever the others lack."""

    rules: tuple[Rule, ...]

    @property
    def words(self) -> str:
        return _joined(self.rules, " and ")

    def judge(self, evidence: Basis) -> Judgement:
        return _first_of((Outcome.CONTRADICTED, *_OPEN, Outcome.REPRODUCED), self.rules, evidence)


@dataclass(frozen=True)
class AnyOf:
    """Some rule holds; one that does decides, whatever the others lack."""

    rules: tuple[Rule, ...]

    @property
    def words(self) -> str:
        return _joined(self.rules, " or ")

    def judge(self, evidence: Basis) -> Judgement:
        return _first_of((Outcome.REPRODUCED, *_OPEN, Outcome.CONTRADICTED), self.rules, evidence)


_OPEN = (Outcome.OUTSIDE, Outcome.NOT_TESTABLE, Outcome.UNDECIDED)


def _first_of(order: Sequence[Outcome], rules: Sequence[Rule], evidence: Basis) -> Judgement:
    """The first outcome in the order that a rule came to, with the evidence of all."""
    judgements = [rule.judge(evidence) for rule in rules]
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
