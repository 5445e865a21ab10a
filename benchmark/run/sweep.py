"""Runs the cells of a plan by an engine, and stores each row the moment it ends."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from dabench.results import store, sweeps
from dabench.run import interrupts
from dabench.run.engines.contract import Engine, Finished, Listener, Progress, row_of
from dabench.run.engines.local import Local
from dabench.run.plan import Environment, Planned, State, expected_seconds

__all__ = ["Finished", "Listener", "Progress", "carry_out", "run"]


def run(
    planned: Sequence[Planned],
    environment: Environment,
    results: Path,
    *,
    workers: int,
    listen: Listener,
    cell_timeout: float = math.inf,
) -> list[Finished]:
    """`carry_out` by this machine's own processes, `workers` at once."""
    return carry_out(planned, environment, results, engine=Local(workers), listen=listen, cell_timeout=cell_timeout)


def carry_out(
    planned: Sequence[Planned],
    environment: Environment,
    results: Path,
    *,
    engine: Engine,
    listen: Listener,
    cell_timeout: float = math.inf,
    part: str = "",
) -> list[Finished]:
    """Computes every planned cell whose state is `run`; returns how each ended.

    Rows land one by one, so an interruption loses the running cells alone; SIGTERM interrupts as Ctrl-C does. A method
    that takes longer than `cell_timeout` seconds fails. With `part`, rows land in files that no other process writes,
    so that nobody waits for a lock; without it, parts that lie there are merged at the end.
    Raises DabenchError when a row cannot be stored.
    """
    waiting = [each for each in planned if each.state is State.RUN]
    refused = [each for each in planned if each.state is State.REFUSED]
    store.write(results, [row_of(each, "refused", each.reason, environment) for each in refused], part=part)
    ended: list[Finished] = []
    with (
        interrupts.by_sigterm(),
        _recorded(waiting, engine, results, listen) as heard,
        closing(engine.compute(waiting, environment, results, heard, cell_timeout)) as computing,
    ):
        for outcome in computing:
            if outcome.row is not None:
                store.write(results, [outcome.row], part=part)
            ended.append(outcome)
            heard(outcome)
    if not part:
        store.merge_parts(results)
    return ended


@contextmanager
def _recorded(waiting: Sequence[Planned], engine: Engine, results: Path, listen: Listener) -> Iterator[Listener]:
    """Who listens inside, while `dabench status` is told the same."""
    if not waiting:
        yield listen
        return
    seconds, before = expected_seconds(waiting, results), store.made(results, {each.key for each in waiting})
    cells = {each.key: sweeps.Expected(each.label, seconds.get(each.key), before.get(each.key)) for each in waiting}
    with sweeps.recorded(results, engine.name, engine.at_once, cells) as record:

        def heard(word: Progress | Finished) -> None:
            if isinstance(word, Progress):
                record.runs(word.planned.key, word.stage, word.step, word.steps)
            else:
                record.ended(word.planned.key, word.row["status"] if word.row else "missing", word.reason)
            listen(word)

        yield heard
