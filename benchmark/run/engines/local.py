"""This machine's own processes: a few workers, and for each cell a fresh process of its method.

A worker evaluates (it holds the labels), and for each cell a fresh process runs the method, see `worker`. Whatever one
of them does to itself costs its cell and no other: this process starts both kinds, and knows how they ended.
"""

from __future__ import annotations

import math
import multiprocessing
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from dabench.run import interrupts, isolation, worker
from dabench.run.engines.contract import Finished, Listener, row_of
from dabench.run.isolation import Sandbox
from dabench.run.plan import Environment, Planned
from dabench.run.worker import Adapting, Ended


@dataclass(frozen=True)
class Local:
    """So many workers of this machine at once."""

    workers: int
    name: str = "local"

    @property
    def at_once(self) -> int:
        """Cells that run at the same time."""
        return self.workers

    def check(self) -> None:
        """Processes can always be started."""

    def compute(
        self,
        waiting: Sequence[Planned],
        environment: Environment,
        results: Path,
        listen: Listener,
        cell_timeout: float,
    ) -> Generator[Finished, None, None]:
        """How each cell ends, in the order in which they do; nothing is stored."""
        left = deque(waiting)
        with interrupts.held() as signals:
            seats = [_Seat(environment, cell_timeout) for _ in range(min(self.workers, len(left)))]
            try:
                while left or any(seat.planned for seat in seats):
                    for seat in seats:
                        if seat.planned is None and left:
                            seat.begin(left.popleft())
                    with signals.heard():
                        _wait(seats)
                    for seat in seats:
                        yield from seat.heard(listen)
            finally:
                for seat in seats:
                    seat.close()


def _wait(seats: Sequence[_Seat]) -> None:
    """Until a worker says something or ends, or a cell's time is up."""
    busy = [seat for seat in seats if seat.planned is not None]
    methods = [seat.method.process.sentinel for seat in busy if seat.method is not None and not seat.method.ending]
    soonest = min((seat.deadline for seat in busy), default=math.inf)
    timeout = None if soonest == math.inf else max(0.0, soonest - time.monotonic())
    wait([*(each for seat in busy for each in (seat.control, seat.evaluator.sentinel)), *methods], timeout)


class _Seat:
    """A worker of the sweep, the cell it is at, and the process of that cell's method."""

    evaluator: BaseProcess
    control: Connection

    def __init__(self, environment: Environment, cell_timeout: float) -> None:
        self.environment, self.cell_timeout = environment, cell_timeout
        self.planned: Planned | None = None
        self.method: Sandbox | None = None
        self.deadline = math.inf
        self._start()

    def _start(self) -> None:
        self.control, there = multiprocessing.Pipe()
        self.evaluator = isolation.start(worker.evaluate, there, self.environment)
        there.close()

    def begin(self, planned: Planned) -> None:
        """Hands the worker a cell, and a fresh process for its method."""
        here, there = multiprocessing.Pipe()
        self.planned, self.method = planned, Sandbox.start(worker.adapt, there)
        there.close()
        try:
            self.control.send((planned, here))
        except OSError:
            pass  # the worker is gone, which its sentinel tells next
        finally:
            here.close()

    def heard(self, listen: Listener) -> Iterator[Finished]:
        """What the worker said since the last look; how its cell ended where it did."""
        if self.planned is None:
            return
        if self.method is not None and time.monotonic() >= self.deadline:
            self.deadline, self.method.overdue = math.inf, True
            self.method.kill()
        if self.method is not None:
            self.method.see()
        lost = not self.evaluator.is_alive()  # also where its own end of the pipe is still open: see `isolation.ending`
        try:
            while self.planned is not None and self.control.poll():
                said = self.control.recv()
                if isinstance(said, Adapting):
                    self.deadline = time.monotonic() + self.cell_timeout
                elif isinstance(said, Ended):
                    yield self._finished(said)
                else:
                    listen(said)
        except (EOFError, OSError):
            lost = True
        if lost and self.planned is not None:
            yield self._finished(self._death())
        if lost:
            isolation.stop(self.evaluator)
            self._start()

    def _death(self) -> Ended:
        """The worker itself died: its cell failed, and a new worker takes the next."""
        self.evaluator.join(1)
        how = isolation.ending(self.evaluator)
        return Ended("failed", f"the process that evaluates it died: {how}")

    def _finished(self, ended: Ended) -> Finished:
        planned, method = self.planned, self.method
        assert planned is not None
        assert method is not None
        if ended.status is None:
            why = method.end()
            if method.overdue:
                why = f"it took longer than --cell-timeout {self.cell_timeout:g} s; give it more, or a smaller budget"
            ended = Ended("failed", f"'{planned.cell.variant.name}': {why}", device=ended.device)
        trace = ended.trace
        if ended.status == "failed" and (output := method.output()):
            trace = f"{trace}what it printed:\n{output}"
        method.close()
        self.planned, self.method, self.deadline = None, None, math.inf
        row = None
        if ended.status != "missing":
            row = row_of(planned, ended.status or "failed", ended.reason, self.environment, ended.device)
            row |= ended.measured or {}
        return Finished(planned, self.evaluator.pid or 0, row, ended.reason, trace)

    def close(self) -> None:
        """Ends the worker and the method's process."""
        if self.method is not None:
            self.method.close()
        if self.planned is None and self.evaluator.is_alive():
            with suppress(OSError):
                self.control.send(None)
            self.evaluator.join(1)
        isolation.stop(self.evaluator)
        self.control.close()
