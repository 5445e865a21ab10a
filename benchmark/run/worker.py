"""What runs in the children of a sweep: an evaluating worker, and for each cell the process of its method.

The worker loads tasks, trains source models and holds the labels. It sends a method's process its job, hears the
answers and scores them. The parent imports this module, so torch is imported inside the functions.
"""

from __future__ import annotations

import math
import os
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dabench.core import DabenchError, MissingData, NotApplicable
from dabench.run import isolation
from dabench.run.failures import caught, printable, reason
from dabench.run.plan import Environment, Planned

if TYPE_CHECKING:
    from dabench.run.adaptation import Job
    from dabench.run.cell import Word

HEARTBEAT = 0.2  # seconds between a cell's words of progress


@dataclass(frozen=True)
class Progress:
    """A running cell's word: what it is doing, and how fast."""

    planned: Planned
    worker: int
    stage: str
    step: int
    steps: int
    loss: float
    steps_per_second: float


@dataclass(frozen=True)
class Adapting:
    """The method's process has its job: from now on its time counts."""


@dataclass(frozen=True)
class Ended:
    """How a cell ended: its status, the reason where it is not ok, and the measured columns where it is.

    The status is None where the method's process ended without a word; the parent knows how.
    """

    status: str | None
    reason: str = ""
    trace: str = ""
    measured: Mapping[str, Any] | None = None
    device: str = ""


class _Failed(Exception):
    """A method's process told of a failure."""

    def __init__(self, ended: Ended) -> None:
        super().__init__(ended.reason)
        self.ended = ended


class _Gone(Exception):
    """A method's process ended without a word."""


# ---------------------------------------------------------------------------------------- the evaluating worker


def evaluate(control: Connection, environment: Environment) -> None:
    """Computes the cells that come through the pipe, each with the connection to its method's process."""
    isolation.settle()
    isolation.hide()
    from dabench.run import cell, devices

    device = devices.device_name(environment.device)
    # Where the parent is gone, nobody hears and nothing is to be said.
    with suppress(EOFError, ConnectionError):
        while (received := control.recv()) is not None:
            planned, method = received
            progress = _Progress(control, planned)
            control.send(progress.word("loading", 0, 1, math.nan))

            def compute(
                planned: Planned = planned, progress: _Progress = progress, method: Connection = method
            ) -> dict[str, Any]:
                return cell.measure(
                    planned.cell, environment, progress.on_step, lambda job: _asked(job, method, control)
                )

            outcome = caught(compute)
            method.close()
            control.send(_ended(outcome, planned.cell.variant.file, device))


def _asked(job: Job, method: Connection, control: Connection) -> Iterator[Word]:
    """Gives the job to the method's process, and every word of it; raises _Gone where it ends without a last one."""
    try:
        method.send(job)
        control.send(Adapting())
        while True:
            word, facts, tensors = isolation.hear(method)
            if word == "failed":
                raise _Failed(Ended(**facts))
            yield word, facts, tensors
            if word == "checkpoint":
                method.send_bytes(b"")  # it waits, so that scoring takes no time from it
    except (EOFError, ConnectionError) as error:
        raise _Gone from error


def _ended(outcome: Any, file: Path, device: str) -> Ended:
    if isinstance(outcome, _Failed):
        return outcome.ended
    if isinstance(outcome, _Gone):
        return Ended(None, device=device)
    if isinstance(outcome, BaseException):
        return failure(outcome, file)
    return Ended("ok", measured=outcome, device=device)


def failure(error: BaseException, file: Path) -> Ended:
    """The end of a cell by an error: refused where the method has nothing to do, missing without data, else failed."""
    kinds = {MissingData: "missing", NotApplicable: "refused"}
    status = next((status for kind, status in kinds.items() if isinstance(error, kind)), "failed")
    return Ended(status, reason(error, file), printable("".join(traceback.format_exception(error))))


class _Progress:
    """Tells the parent of a cell's steps, not more often than it can be shown."""

    def __init__(self, control: Connection, planned: Planned) -> None:
        self.control, self.planned = control, planned
        self.told, self.step = time.monotonic(), 0

    def word(self, stage: str, step: int, steps: int, loss: float, rate: float = 0.0) -> Progress:
        return Progress(self.planned, os.getpid(), stage, step, steps, loss, rate)

    def on_step(self, stage: str, step: int, steps: int, loss: float) -> None:
        now = time.monotonic()
        if now - self.told >= HEARTBEAT:
            rate = (step - self.step) / (now - self.told) if step > self.step else 0.0
            self.told, self.step = now, step
            self.control.send(self.word(stage, step, steps, loss, rate))


# ----------------------------------------------------------------------------------------- a method's process


def adapt(connection: Connection, folder: Path) -> None:
    """Runs the one job that comes through the pipe, and tells its answers or its failure."""
    isolation.enter(folder)
    from dabench.run import adaptation

    job: Job = connection.recv()
    told, original = [time.monotonic()], os.getpid()

    def tell(word: str, facts: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
        if os.getpid() != original:
            os._exit(0)  # a copy that the method forked would answer in between
        if word == "step":
            if time.monotonic() - told[0] < HEARTBEAT:
                return
            told[0] = time.monotonic()
        isolation.tell(connection, word, facts, tensors)
        if word == "checkpoint":
            connection.recv_bytes()

    outcome = caught(lambda: adaptation.run(job, tell), (BaseException,))
    if isinstance(outcome, BaseException):
        ended = failure(outcome, job.variant.file)
        tell("failed", vars(ended), {})


def resolve_device(name: str) -> str | BaseException:
    """What a device's name stands for here, or the error that says why it stands for none."""
    from dabench.run import devices

    return caught(lambda: devices.resolve(name))


def why_not_built(networks: Iterable[tuple[str, int, tuple[int, int, int]]]) -> str:
    """Why one of these networks cannot be had for so many classes and images of that shape; empty where all can."""
    from dabench import models

    for network in networks:
        built = caught(partial(models.build, *network), (DabenchError,))
        if isinstance(built, BaseException):
            return str(built)
    return ""


def device_here(name: str) -> str:
    """The device that a name stands for on this machine, without importing torch here; raises DabenchError for none."""
    if name == "cpu":
        return name
    found = caught(lambda: isolation.answer_of(resolve_device, name), (isolation.Unanswered,))
    if isinstance(found, DabenchError) and not isinstance(found, isolation.Unanswered):
        raise found
    if isinstance(found, Exception):
        raise DabenchError(f"cannot look for device '{name}': {found}; use --device cpu") from found
    return str(found)
