"""A founding paper as plain data: what it ran, its tables, and its claims with the rule that judges each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dabench import registry
from dabench.core import ALL, MissingData
from dabench.data.datasets import files_of
from dabench.papers.measures import ACCURACY, STREAM, Basis, Measure, Of
from dabench.papers.rules import AllOf, Higher, Judgement, NotHere, Outcome, Regime, Rule
from dabench.run.plan import Start

SMALL = 0.02  # two points: less than this is no difference that anyone would act on


@dataclass(frozen=True)
class Here:
    """What this machine has, and the network or image size that a person insisted on."""

    data: Path
    has_weights: Callable[[str], bool]
    backbone: str | None = None
    image_size: int | None = None

    def has(self, task: str) -> bool:
        """Whether the task's files are here."""
        try:
            files_of(registry.known_tasks()[task], self.data)
        except MissingData:
            return False
        return True


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Cells under the same conditions; with a `parameter`, one curve for each task (see dabench.run.curves).

    `share` is the part of --scale that its cells are given.
    """

    tasks: str
    methods: str
    seeds: int = 3
    share: float = 1.0
    backbone: str | None = None
    image_size: int | None = None
    protocol: str | None = None
    start: Start = Start.SOURCE_MODEL
    labels: tuple[int, ...] = (ALL,)
    streams: tuple[str, ...] = (STREAM,)
    parameter: str = ""
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class TableLine:
    """A method's line in a table, and what the paper printed in each of its columns."""

    label: str
    of: Of
    published: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the paper; the last `measures` stand in as many columns of ours for each task."""

    title: str
    experiment: str
    columns: tuple[tuple[str, str], ...]  # (heading, task)
    lines: tuple[TableLine, ...]
    measures: tuple[Measure, ...] = (ACCURACY,)


@dataclass(frozen=True)
class Claim:
    """What the paper says, where, and the rule that judges it on the rows of an experiment.

    `quote` holds the paper's own words, "..." where some are left out, and is empty where a table alone says it;
    `reading` is ours: what the words are taken to mean, or what the table says.
    """

    quote: str
    section: str
    experiment: str
    rule: Rule
    reading: str = ""


@dataclass(frozen=True)
class Substitution:
    """What stands in for something of the paper's own, and why."""

    own: str
    given: str
    why: str

    def __str__(self) -> str:
        return f"{self.given} in the place of {self.own}: {self.why}"


@dataclass(frozen=True)
class PictureGrid:
    """A grid of pictures (original, behind the camera, adapted) from a cell of an experiment."""

    file: str
    task: str
    variant: str
    experiment: str


@dataclass(frozen=True)
class Lesson:
    """The one sentence to remember of a paper, for each way in which its `main` claim may come out.

    `claims` says in plain words what the paper claims; `question` is what stays open where nothing decides it.
    """

    main: Claim
    claims: str
    question: str
    holds: str
    fails: str

    def sentence(self, judgement: Judgement) -> str:
        """The sentence that fits the main claim's judgement."""
        match judgement.outcome:
            case Outcome.REPRODUCED:
                return self.holds
            case Outcome.CONTRADICTED:
                return self.fails
            case Outcome.UNDECIDED:
                return f"Whether {self.question} stays undecided: our interval covers both answers."
            case Outcome.OUTSIDE:
                return f"Whether {self.question} cannot be judged here: our networks are outside its regime."
        return f"Whether {self.question} is not tested yet."


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A paper's protocol: everything `dabench reproduce` runs, shows and judges."""

    name: str
    title: str
    experiments: Mapping[str, Experiment]
    tables: tuple[Table, ...]
    claims: tuple[Claim, ...]
    lesson: Lesson
    regime: Regime | None = None
    pictures: tuple[PictureGrid, ...] = ()
    substitutions: tuple[Substitution, ...] = ()
    notes: tuple[str, ...] = ()

    def judge(self, claim: Claim, evidence: Basis) -> Judgement:
        """What the claim comes to on the rows of its experiment, where these are in the paper's regime."""
        rows = evidence.rows if self.regime is None else self.regime.marked(evidence.rows)
        return claim.rule.judge(Basis(rows, evidence.board))


# ----------------------------------------------------------------------------------- what the papers share


def network(here: Here, own: str, otherwise: str) -> tuple[str, tuple[Substitution, ...]]:
    """The network to run: the one asked for, else the paper's own where its weights can be had, else another."""
    if here.backbone:
        given, why = here.backbone, "as asked for"
    elif here.has_weights(own):
        given, why = own, ""
    else:
        given, why = otherwise, f"the ImageNet weights of {own} cannot be had here"
    return given, () if given == own else (Substitution(own, given, why),)


def image_size(here: Here, own: int) -> tuple[Substitution, ...]:
    """The substitution of the paper's image size where another was asked for."""
    if here.image_size in (None, own):
        return ()
    return (Substitution(f"{own} px", f"{here.image_size} px", "as asked for"),)


def on_each(tasks: Iterable[str], rule: Callable[[str], Rule]) -> AllOf:
    """The rule on every task."""
    return AllOf(tuple(rule(task) for task in tasks))


def above(first: str, *others: str, by: float = 0.0, labels: int | None = None) -> Callable[[str], Rule]:
    """The first variant above each of the others."""
    return lambda task: AllOf(tuple(Higher(task, Of(first, labels), Of(other, labels), by) for other in others))


def no_better(first: str, baseline: str = "source_only") -> Callable[[str], Rule]:
    """The first variant gains less than two points on the baseline."""
    return lambda task: Higher(task, Of(baseline), Of(first), -SMALL)


def unless_missing(task: str, tasks: Iterable[str], rule: Callable[[str], Rule], data: str) -> Rule:
    """The rule on the task, or that its data are not here."""
    return rule(task) if task in tasks else NotHere(f"{data} is not here")
