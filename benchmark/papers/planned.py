"""A study's cells: what its experiments plan, and the row that each has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dabench import registry
from dabench.papers.measures import COLUMNS, Row
from dabench.papers.study import Experiment, Reproduction
from dabench.results import store
from dabench.results.curve import Curve
from dabench.run import curves, plan
from dabench.run.plan import Planned


@dataclass(frozen=True)
class PlannedStudy:
    """A study with its cells: those of each experiment, its curves, and all of them once each."""

    study: Reproduction
    scale: float
    by_experiment: Mapping[str, tuple[Planned, ...]]
    curves: tuple[Curve, ...]

    @property
    def cells(self) -> tuple[Planned, ...]:
        each = {planned.key: planned for cells in self.by_experiment.values() for planned in cells}
        return tuple(each.values())


def plan_study(
    study: Reproduction, scale: float, seeds: tuple[int, ...] | None, data: Path, cache: Path, results: Path
) -> PlannedStudy:
    """Plans every experiment of the study; `scale` is the budget, `seeds` None is each experiment's own number."""
    by_experiment: dict[str, tuple[Planned, ...]] = {}
    drawn: list[Curve] = []
    for name, experiment in study.experiments.items():
        request = _request(experiment, scale, seeds)
        if not experiment.parameter:
            requests = (replace(request, stream=stream) for stream in experiment.streams)
            by_experiment[name] = tuple(
                planned for each in requests for planned in plan.plan(each, data, cache, results)
            )
            continue
        found = [
            curves.curve(
                task,
                request.methods,
                experiment.parameter,
                experiment.values,
                request,
                lambda each: plan.plan(each, data, cache, results),
            )
            for task in request.tasks
        ]
        drawn += [each.curve for each in found]
        by_experiment[name] = tuple(planned for each in found for planned in each.cells)
    return PlannedStudy(study, scale, by_experiment, tuple(drawn))


def _request(experiment: Experiment, scale: float, seeds: tuple[int, ...] | None) -> plan.Request:
    return plan.Request(
        tasks=registry.tasks(experiment.tasks),
        methods=registry.methods(experiment.methods),
        seeds=tuple(range(experiment.seeds)) if seeds is None else seeds,
        budget=scale * experiment.share,
        backbone=experiment.backbone,
        image_size=experiment.image_size,
        protocol=experiment.protocol,
        start=experiment.start,
        labels=experiment.labels,
    )


def stored_rows(results: Path) -> dict[str, Row]:
    """Every stored row by its key, with the columns that claims are judged by."""
    return {row["key"]: row for row in store.load(results, COLUMNS).to_pylist()}


def rows_of(cells: Sequence[Planned], stored: Mapping[str, Row], folders: Mapping[str, Path]) -> list[Row]:
    """The row of each cell; one that has none stands there as missing, with the reason.

    `folders` are this machine's own: reasons call them by their names, for the page is read elsewhere.
    """
    rows = [
        stored.get(each.key)
        or {**each.identity, "status": "missing", "reason": each.reason or "its cell has not been run"}
        for each in {planned.key: planned for planned in cells}.values()
    ]
    return [{**row, "reason": _placeless(row["reason"] or "", folders)} for row in rows]


def _placeless(reason: str, folders: Mapping[str, Path]) -> str:
    for name, folder in sorted(folders.items(), key=lambda pair: -len(str(pair[1]))):
        reason = reason.replace(str(folder), name)
    return reason
