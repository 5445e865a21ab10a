"""What a sweep tells beside its rows: its cells, which of them run, how each ended, and when it was last heard of.

Each process that carries out a sweep writes files of its own, without a lock, into `results/.sweeps/NAME`: `plan.json`
once, a line of `ended.jsonl` for each cell that ends, and `now.json` every few seconds. Who reads waits for nobody.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from dabench.files import named_errors
from dabench.results import store

HEARTBEAT = 5.0  # seconds between two words of a sweep
SILENCE = 60.0  # seconds after which a sweep of another machine counts as lost
KEPT = 20  # sweeps that no longer run and are remembered
QUEUED = "queued"  # the stage of a cell that a cluster has taken and not begun


@dataclass(frozen=True)
class Expected:
    """A cell that a sweep is to compute: its name, its seconds by past rows, and when the row it replaces was made."""

    label: str
    seconds: float | None = None
    before: str | None = None


@dataclass(frozen=True)
class Plan:
    """What a sweep set out to do, by whom and since when; cells by their key, times in seconds since the epoch."""

    engine: str
    at_once: int
    host: str
    process: int
    started: float
    cells: Mapping[str, Expected]


@dataclass(frozen=True)
class Running:
    """A cell that is being computed."""

    label: str
    stage: str
    step: int
    steps: int


@dataclass(frozen=True)
class Sweep:
    """A sweep as it was last heard of; `state` is running, over, interrupted or lost.

    `ended` counts cells by status, `queued` those that wait in a cluster's queue; `reasons` has the cell's name, its
    status and why for each that is not ok. `seconds_left` is None where nothing tells.
    """

    name: str
    plan: Plan
    state: str
    heard: float
    ended: Mapping[str, int] = field(default_factory=dict)
    running: tuple[Running, ...] = ()
    queued: int = 0
    reasons: tuple[tuple[str, str, str], ...] = ()
    seconds_left: float | None = None

    @property
    def left(self) -> int:
        """Cells that neither ended nor run nor are queued."""
        return len(self.plan.cells) - sum(self.ended.values()) - len(self.running) - self.queued


# ------------------------------------------------------------------------------------------------ writing


class Record:
    """The files of one sweep that runs, and what is written into them next."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, threading.Lock()
        self._running: dict[str, tuple[str, int, int]] = {}

    def runs(self, key: str, stage: str, step: int, steps: int) -> None:
        """A cell's word of progress."""
        with self._lock:
            self._running[key] = (stage, step, steps)

    def ended(self, key: str, status: str, reason: str) -> None:
        """How a cell ended: ok, failed, refused or missing."""
        with self._lock:
            self._running.pop(key, None)
        line = json.dumps({"key": key, "status": status, "reason": reason})
        with suppress(OSError), (self._folder / "ended.jsonl").open("a") as file:
            file.write(f"{line}\n")

    def tell(self, state: str) -> None:
        """Writes what runs now. A folder that cannot be written is told of by who stores the rows there."""
        with self._lock:
            now = {"heard": time.time(), "state": state, "running": self._running if state == "running" else {}}
            text = json.dumps(now)
        with suppress(OSError):
            unfinished = self._folder / "now.json.part"
            unfinished.write_text(text)
            unfinished.replace(self._folder / "now.json")


@contextmanager
def recorded(results: Path, engine: str, at_once: int, cells: Mapping[str, Expected]) -> Iterator[Record]:
    """The record of a sweep that is carried out inside; it is heard of every few seconds.

    Of those that no longer run, the oldest are forgotten. Raises DabenchError where the folder cannot be written.
    """
    plan = Plan(engine, at_once, socket.gethostname(), os.getpid(), time.time(), cells)
    with named_errors(results, "--results"):
        _forget(results)
        folder = _fresh(results, plan)
        (folder / "plan.json").write_text(json.dumps(asdict(plan)))
    record, over = Record(folder), threading.Event()
    record.tell("running")

    def beat() -> None:
        while not over.wait(HEARTBEAT):
            record.tell("running")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    state = "interrupted"
    try:
        yield record
        state = "over"
    finally:
        over.set()
        thread.join()
        record.tell(state)


def _fresh(results: Path, plan: Plan) -> Path:
    """A folder of this sweep alone, named so that names sort by time."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(plan.started))
    name = f"{stamp}-{plan.host.partition('.')[0]}-{plan.process}"
    for number in itertools.count(1):
        folder = results / ".sweeps" / (name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise AssertionError("there is always a next number")


def _forget(results: Path) -> None:
    """Takes away what the oldest sweeps left that no longer run; logs of an engine stay."""
    stopped = [sweep for sweep in read(results) if sweep.state != "running"]
    for sweep in stopped[KEPT:]:
        folder = results / ".sweeps" / sweep.name
        for name in ("plan.json", "now.json", "ended.jsonl"):
            (folder / name).unlink(missing_ok=True)
        with suppress(OSError):  # it holds something else
            folder.rmdir()


# ------------------------------------------------------------------------------------------------ reading


def read(results: Path) -> list[Sweep]:
    """Every sweep that is remembered, the newest first, as its own files tell."""
    found = []
    for folder in sorted((results / ".sweeps").glob("*/"), reverse=True):
        with suppress(FileNotFoundError, ValueError):  # it is being begun or forgotten, or the disk was full
            found.append(_sweep(folder))
    return found


def with_rows(sweep: Sweep, results: Path) -> Sweep:
    """The sweep with the rows that others stored of its cells since: jobs that outlived it, and later sweeps."""
    if not sweep.left:
        return sweep
    ended = _ended(results / ".sweeps" / sweep.name)
    for row in store.of_keys(results, sweep.plan.cells, ("key", "status", "created", "reason")):
        if (row["created"] or "") != sweep.plan.cells[row["key"]].before:
            ended[row["key"]] = (row["status"], row["reason"] or "")
    return _summed(sweep.name, sweep.plan, sweep.state, sweep.heard, ended, {})


def _sweep(folder: Path) -> Sweep:
    plan = _plan(folder / "plan.json")
    now = json.loads((folder / "now.json").read_text())
    state = now["state"]
    if state == "running" and not _lives(plan, now["heard"]):
        state = "lost"
    return _summed(folder.name, plan, state, now["heard"], _ended(folder), now["running"] if state == "running" else {})


@cache
def _plan(path: Path) -> Plan:
    stored = json.loads(path.read_text())
    return Plan(**{**stored, "cells": {key: Expected(**each) for key, each in stored["cells"].items()}})


def _ended(folder: Path) -> dict[str, tuple[str, str]]:
    """Status and reason of the cells that ended, by key; a line that is being written is left for the next look."""
    ended = {}
    with suppress(FileNotFoundError):
        for line in (folder / "ended.jsonl").read_text().splitlines(keepends=True):
            with suppress(ValueError):  # half a line, from when the disk was full
                said = json.loads(line)
                ended[said["key"]] = (said["status"], said["reason"])
    return ended


def _lives(plan: Plan, heard: float) -> bool:
    """Whether a sweep that has not said how it ended still runs: by its process on this machine, else by its words."""
    if plan.host != socket.gethostname():
        return time.time() - heard < SILENCE
    try:
        os.kill(plan.process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True


def _summed(
    name: str,
    plan: Plan,
    state: str,
    heard: float,
    ended: Mapping[str, tuple[str, str]],
    running: Mapping[str, tuple[str, int, int]],
) -> Sweep:
    known = {key: how for key, how in ended.items() if key in plan.cells}
    begun = {key: Running(plan.cells[key].label, *said) for key, said in running.items() if key not in known}
    working = tuple(each for each in begun.values() if each.stage != QUEUED)
    return Sweep(
        name,
        plan,
        state,
        heard,
        Counter(status for status, _ in known.values()),
        working,
        len(begun) - len(working),
        tuple((plan.cells[key].label, *how) for key, how in known.items() if how[0] != "ok"),
        _seconds_left(plan, heard, set(known)) if state == "running" else None,
    )


def _seconds_left(plan: Plan, heard: float, ended: set[str]) -> float | None:
    """By the pace so far, cells weighed by their expected seconds; before any ended, by these alone."""
    told = [each.seconds for each in plan.cells.values() if each.seconds is not None]
    typical = statistics.median(told) if told else 1.0
    weights = {key: typical if each.seconds is None else each.seconds for key, each in plan.cells.items()}
    done = sum(weights[key] for key in ended)
    left = sum(weights.values()) - done
    if done:
        return (heard - plan.started) * left / done
    return left / max(1, min(plan.at_once, len(weights))) if told else None
