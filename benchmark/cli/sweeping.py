"""What the commands that compute cells share: who computes, the plan, the sweep and what is said of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dabench.cli import options, screen
from dabench.core import DabenchError

if TYPE_CHECKING:
    from dabench.run.engines.contract import Engine
    from dabench.run.engines.ray import Ray
    from dabench.run.engines.slurm import Slurm
    from dabench.run.plan import Environment, Planned, Request


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C inside ends the command with exit code 130 and says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        screen.warn("interrupted: finished cells are kept; the same command goes on where this one stopped")
        raise typer.Exit(130) from None


@dataclass(frozen=True)
class Order:
    """Planned cells, who computes them and where; `part` names the files of a shard's rows, see `results.store`."""

    planned: Sequence[Planned]
    environment: Environment
    engine: Engine
    results: Path
    cell_timeout: float = math.inf
    part: str = ""


def plans(
    requests: Sequence[Request], data: Path, cache: Path, results: Path, *, force: bool, runs_here: bool
) -> list[Planned]:
    """The cells of the requests. Where they will run here and data must be read first, torch is imported meanwhile."""
    from dabench.run import isolation, plan

    reading = isolation.begin if runs_here else lambda: None
    return [
        cell for each in requests for cell in plan.plan(each, data, cache, results, force=force, before_reading=reading)
    ]


def prepared(
    planned: Sequence[Planned], device: str, workers: int | None, data: Path, cache: Path
) -> tuple[Environment, Engine]:
    """Where the cells run, and so many of this machine's processes; raises DabenchError for an unknown network."""
    from dabench.run.engines.local import Local

    environment, at_once = options.place(device, workers, _waiting(planned), data, cache)
    return environment, Local(at_once)


def remotely(
    planned: Sequence[Planned], engine: Slurm | Ray, device: str, data: Path, cache: Path
) -> tuple[Environment, Engine]:
    """Where the cells run on other machines, which say themselves what the device is there."""
    from dabench.run.plan import Environment

    if _waiting(planned):
        engine.check()
    return Environment(device, engine.threads, data, cache), engine


def part_of(planned: Sequence[Planned], shard: str | None) -> tuple[Sequence[Planned], str]:
    """The shard's cells, the same whatever is stored, and the name under which it stores them; else all and none."""
    if shard is None:
        return planned, ""
    number, of = options.shard(shard)
    mine = planned[number - 1 :: of]
    screen.say(f"shard {number} of {of}: {len(mine)} of {len(planned)} cells")
    return mine, f"shard-{number}-of-{of}"


def _waiting(planned: Sequence[Planned]) -> int:
    """How many cells are to run; raises DabenchError for a network that nobody knows or that a person's task cannot."""
    from dabench import registry
    from dabench.run import isolation, worker
    from dabench.run.plan import State

    waiting = [each for each in planned if each.state is State.RUN]
    sized = {(registry.task(each.cell.task), each.cell.backbone, each.cell.image_size) for each in waiting}
    declared = {
        (backbone, task.num_classes, (task.image_shape[0], size, size))
        for task, backbone, size in sized
        if task.folders and not task.pretrained  # a checkpoint was built when its file was read
    }
    if declared and (why := isolation.answer_of(worker.why_not_built, sorted(declared))):
        raise DabenchError(why)
    own = {registry.task(each.cell.task).backbone for each in waiting}
    for backbone in sorted({each.cell.backbone for each in waiting} - own):
        from dabench import models

        models.check_name(backbone)
    return len(waiting)


def carry_out(order: Order, *, dry_run: bool, debug: bool) -> bool:
    """Shows the plan, or runs what is to run and shows what is known now; returns whether cells failed."""
    from dabench.results import store
    from dabench.run import plan
    from dabench.run.plan import State

    screen.set_aside(order.results)
    if dry_run:
        seconds = plan.seconds_expected(tuple(order.planned), order.results)
        _print_plan(order.planned, seconds, order.engine.at_once if _waiting(order.planned) else 1)
        _say_what_is_stale(order.planned, order.results)
        return False
    print_groups(order.planned, (State.REFUSED, State.MISSING))
    store.check_writable(order.results)
    return _sweep(order, debug=debug)


def _sweep(order: Order, *, debug: bool) -> bool:
    from dabench.cli import display, outcome
    from dabench.run import sweep
    from dabench.run.plan import State

    planned, engine, results = order.planned, order.engine, order.results
    waiting = sum(each.state is State.RUN for each in planned)
    cached = sum(each.state is State.CACHED for each in planned)
    where = f"{engine.at_once if waiting else 0} at once on {order.environment.device}"
    who = "" if engine.name == "local" else f" by {engine.name}"
    screen.say(f"{waiting} cells to run, {cached} stored already, {where}{who}")
    if cached and not waiting:
        screen.say("nothing is computed: these are the stored numbers; --force computes them afresh")
    with display.watching(waiting, screen.out) as listen:
        ended = sweep.carry_out(
            planned,
            order.environment,
            results,
            engine=engine,
            listen=listen,
            cell_timeout=order.cell_timeout,
            part=order.part,
        )
    outcome.tell({each.key for each in planned}, {each.identity["task"] for each in planned}, results)
    failed = [each for each in ended if each.row and each.row["status"] == "failed"]
    if failed:
        screen.warn(f"{len(failed)} of {len(ended)} cells failed; the same command tries them again:")
    for each in failed:
        screen.warn(f"  {each.planned.label}: {each.reason}{each.log and f' (see {each.log})'}")
        if debug:
            screen.warn(each.trace)
    return bool(failed)


def _print_plan(planned: Sequence[Planned], seconds: float | None, workers: int) -> None:
    from dabench.cli import display
    from dabench.run.plan import State

    print_groups(planned, tuple(State))
    counts = ", ".join(f"{sum(each.state is state for each in planned)} {state}" for state in State)
    time = "time unknown: no past rows" if seconds is None else f"about {display.duration(seconds / workers)}"
    screen.say(f"{len(planned)} cells: {counts}; {time}, {workers} at once")


def _say_what_is_stale(planned: Sequence[Planned], results: Path) -> None:
    from dabench.results import provenance
    from dabench.run.plan import State

    stale = provenance.age(results).stale
    count = sum(each.state is State.CACHED and each.key in stale for each in planned)
    if count:
        screen.say(f"{count} of the cached cells are stale, made by other code; --force runs cached cells again")


def print_groups(planned: Sequence[Planned], states: Sequence[str]) -> None:
    """A line for each task, state and reason: the methods, and how many cells each."""
    groups: dict[tuple[str, str, str], Counter[str]] = {}
    for each in planned:
        if each.state in states:
            group = groups.setdefault((each.identity["task"], each.state, each.reason), Counter())
            group[each.cell.variant.label] += 1
    for (task, state, reason), methods in groups.items():
        names = ", ".join(f"{name} x{count}" if count > 1 else name for name, count in methods.items())
        screen.say(f"{state:<8} {task}: {names}{reason and ': '}{reason}")
