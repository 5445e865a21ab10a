"""Cells bundled into jobs of about equal length, and the source models that several of them would train at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from dabench import registry
from dabench.run import isolation
from dabench.run.failures import caught, reason
from dabench.run.plan import Environment, Planned

UNKNOWN = 300.0  # seconds that a cell is taken to need where no past row says
MOST_JOBS = 1000  # in an array: SLURM's own bound, MaxArraySize, is 1001 unless changed


def bundles(waiting: Sequence[Planned], seconds: Mapping[str, float], minutes: float) -> list[tuple[Planned, ...]]:
    """Neighbouring cells together until they take so many minutes, a longer cell alone; as many jobs as SLURM takes.

    `seconds` has what each key is expected to take. Neighbours share their data and source model.
    """
    expected = [seconds.get(each.key, UNKNOWN) for each in waiting]
    limit = max(60 * minutes, sum(expected) / MOST_JOBS * 2)
    found: list[list[Planned]] = []
    full = 0.0
    for each, long in zip(waiting, expected, strict=True):
        if not found or full + long > limit:
            found.append([])
            full = 0.0
        found[-1].append(each)
        full += long
    return [tuple(bundle) for bundle in found]


def shared_sources(jobs: Sequence[Sequence[Planned]]) -> list[Planned]:
    """A cell of each source model that more than one job needs and that has to be trained.

    Two tasks of one source are taken to share its model; where they do not, a cell trains its own.
    """
    needed: dict[tuple[object, ...], tuple[Planned, set[int]]] = {}
    for index, job in enumerate(jobs):
        for each in job:
            task, cell = registry.task(each.cell.task), each.cell
            if not task.pretrained:
                of = (task.family, task.source, cell.backbone, cell.image_size, cell.budget, cell.seed, cell.frozen)
                needed.setdefault(of, (each, set()))[1].add(index)
    return [each for each, users in needed.values() if len(users) > 1]


def train_source(planned: Planned, environment: Environment) -> str:
    """Trains the cell's source model into the cache in a process of its own; why it could not, or nothing."""
    return str(caught(lambda: isolation.answer_of(_train, planned, environment), (isolation.Unanswered,)))


def _train(planned: Planned, environment: Environment) -> str:
    isolation.hide()
    from dabench.run import devices, source_model, task_data

    def train() -> None:
        cell = planned.cell
        devices.prepare(environment.threads)
        frozen = cell.backbone if cell.frozen else ""
        data = task_data.of_cell(cell.task, cell.protocol, cell.image_size, cell.stream, frozen, environment)
        source_model.source_model(cell, data, environment, lambda stage, step, steps, loss: None)

    outcome = caught(train)
    return reason(outcome, Path()) if isinstance(outcome, BaseException) else ""


def absolute(environment: Environment) -> Environment:
    """The environment for a process that may start in another folder."""
    return dataclasses.replace(environment, data=environment.data.resolve(), cache=environment.cache.resolve())
