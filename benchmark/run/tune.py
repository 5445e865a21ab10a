"""Searches hyper-parameters by a label-free score: every trial is an ordinary cell, stored and never run twice.

The sampler is seeded and hears of stored scores alone, so the same study replays from the rows and goes on where
it stopped. Target test labels take no part in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dabench import registry
from dabench.core import DabenchError, Needs
from dabench.registry import Allowed, Description, Variant
from dabench.results import searches, store
from dabench.results.searches import Study, Trial
from dabench.run import plan, sweep, validators
from dabench.run.plan import Environment, Planned, Request, State

_SEED = 0
_CONDITIONS = ("task", "method", "protocol", "backbone", "image_size", "budget", "labels", "target_images")
_ASKS = 10  # proposals for each trial that is wanted: rounding can propose a setting twice


def optuna() -> Any:
    """The library that proposes trials, an extra of dabench."""
    try:
        import optuna as library
    except ImportError:
        raise DabenchError("tuning needs optuna; install it with: pip install 'dabench[tune]'") from None
    library.logging.set_verbosity(library.logging.WARNING)
    return library


def check_score(select: str, methods: Sequence[Variant]) -> None:
    """Raises DabenchError where the score is unknown, or reads source data that a method may not see."""
    if select not in validators.VALIDATORS:
        raise DabenchError(f"no label-free score '{select}'; choose one of: {', '.join(validators.VALIDATORS)}")
    for variant in methods:
        described = registry.describe(variant.file)
        if validators.VALIDATORS[select].needs_source and not described.needs & Needs.SOURCE:
            open_to_all = (name for name, score in validators.VALIDATORS.items() if not score.needs_source)
            raise DabenchError(
                f"'{select}' reads source data, which '{variant.name}' ({described.setting}) may not see; "
                f"choose one of: {', '.join(open_to_all)}"
            )


def space(variant: Variant, described: Description) -> dict[str, Allowed]:
    """What the search may vary: declared by `between` or `one_of` in the method's file, and not given by hand."""
    return {
        name: allowed
        for name, allowed in described.allowed.items()
        if name not in dict(variant.given) and (allowed.choices or math.isfinite(allowed.low + allowed.high))
    }


def settings_in(searched: Mapping[str, Allowed], defaults: Mapping[str, Any]) -> float:
    """How many different settings a space holds, infinite where a parameter is a real number."""
    sizes = (
        len(allowed.choices) or (allowed.high - allowed.low + 1 if isinstance(defaults[name], int) else math.inf)
        for name, allowed in searched.items()
    )
    return math.prod(sizes)


def distribution(allowed: Allowed, default: Any) -> Any:
    """The range of one parameter in optuna's words."""
    kinds = optuna().distributions
    if allowed.choices:
        return kinds.CategoricalDistribution(allowed.choices)
    kind = kinds.IntDistribution if isinstance(default, int) else kinds.FloatDistribution
    return kind(allowed.low, allowed.high, log=allowed.log)


class _Search:
    """One method's search on one task: asks optuna for a setting, and tells it what the score said."""

    def __init__(self, start: Variant, trials: int) -> None:
        described = registry.describe(start.file)
        searched = space(start, described)
        self.start = start
        self.defaults = described.parameters
        self.wanted = int(min(trials, settings_in(searched, self.defaults)))
        self.distributions = {name: distribution(each, self.defaults[name]) for name, each in searched.items()}
        self.sampler = optuna().create_study(direction="maximize", sampler=optuna().samplers.TPESampler(seed=_SEED))
        self.sampler.enqueue_trial({name: self.defaults[name] for name in searched})
        self.scores: dict[Variant, float] = {}
        self.study: Study | None = None

    def ask(self) -> tuple[Any, Variant] | None:
        """The next setting that was not tried yet, with optuna's trial of it; None when the search is over."""
        if len(self.scores) == self.wanted:
            return None
        for _ in range(_ASKS * self.wanted):
            trial = self.sampler.ask(self.distributions)
            variant = self._variant(trial.params)
            if variant not in self.scores:
                return trial, variant
            self._answer(trial, self.scores[variant])
        return None

    def _variant(self, proposed: Mapping[str, Any]) -> Variant:
        rounded = {
            name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in proposed.items()
        }
        moved = {name: value for name, value in rounded.items() if value != self.defaults[name]}
        return replace(self.start, given=tuple(sorted((dict(self.start.given) | moved).items())))

    def record(self, cells: Sequence[Planned], select: str) -> Study:
        """The study with these cells as one more trial."""
        if self.study is None:
            self.study = Study(
                **{name: cells[0].identity[name] for name in _CONDITIONS},
                variant=self.start.label,
                seeds=tuple(each.cell.seed for each in cells),
                select=select,
                sampler=f"TPE, seed {_SEED}",
            )
        trial = Trial(cells[0].cell.variant.label, tuple(each.key for each in cells))
        self.study = replace(self.study, trials=(*self.study.trials, trial))
        return self.study

    def tell(self, trial: Any, variant: Variant, score: float) -> None:
        self.scores[variant] = score
        self._answer(trial, score)

    def _answer(self, trial: Any, score: float) -> None:
        """A trial without a score, such as one that diverged, counts as tried and attracts no others."""
        if math.isnan(score):
            self.sampler.tell(trial, state=optuna().trial.TrialState.FAIL)
        else:
            self.sampler.tell(trial, score)


def tune(
    request: Request,
    place: Environment,
    results: Path,
    *,
    trials: int,
    select: str,
    workers: int,
    listen: sweep.Listener,
) -> list[Study]:
    """Gives every method of the request as many trials on every task it can run on; returns the studies.

    A method without hyper-parameters has its default as the only trial. A round asks each method's search for one
    setting and runs their cells together. A study lands on disk before its cells run, so that no row of a search
    ever passes for a result of its own.
    """
    check_score(select, request.methods)
    finished = []
    for task in request.tasks:
        running = [_Search(variant, trials) for variant in request.methods]
        recorded: dict[_Search, Study] = {}
        while asked := {search: proposal for search in running if (proposal := search.ask())}:
            variants = tuple(dict.fromkeys(variant for _, variant in asked.values()))
            asking = replace(request, tasks=(task,), methods=variants)
            planned = [each for each in plan.plan(asking, place.data, place.cache, results) if _can_run(each)]
            for search, (_, variant) in asked.items():
                cells = [each for each in planned if each.cell.variant == variant]
                if cells:
                    recorded[search] = search.record(cells, select)
                    searches.write(results, recorded[search])
                else:
                    running.remove(search)
            sweep.run(planned, place, results, workers=workers, listen=listen)
            rows = store.frame(results, ["key", "status", "checkpoint_scores"])
            for search, (trial, variant) in asked.items():
                if search in running:
                    search.tell(trial, variant, searches.trial_scores(recorded[search], rows)[-1])
        finished += [recorded[search] for search in running if search in recorded]
    return finished


def _can_run(planned: Planned) -> bool:
    return planned.state is State.RUN or (planned.state is State.CACHED and not planned.reason)
