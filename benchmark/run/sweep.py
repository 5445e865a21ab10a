"""Runs the cells of a plan, in this process or several, and stores each row the moment it ends."""

from __future__ import annotations

import ctypes
import math
import multiprocessing
import os
import platform
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from dabench import __version__, fingerprints
from dabench.core import DabenchError, MissingData, NotApplicable
from dabench.results import store
from dabench.run.plan import Place, Planned, State

Answer = TypeVar("Answer")

_HEARTBEAT = 0.2  # seconds between looks at the workers, and between a worker's words of progress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>


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
class Finished:
    """A cell that ended; `row` is what was stored, None where the machine lacks something (`reason` says what)."""

    planned: Planned
    worker: int
    row: Mapping[str, Any] | None
    reason: str = ""
    trace: str = ""


Listener = Callable[[Progress | Finished], None]


def run(planned: Sequence[Planned], place: Place, results: Path, *, workers: int, listen: Listener) -> list[Finished]:
    """Runs every planned cell whose state is `run`; returns how each ended.

    Rows land one by one, so an interruption loses the running cells alone. Raises DabenchError when a row
    cannot be stored.
    """
    waiting = [each for each in planned if each.state is State.RUN]
    refused = [each for each in planned if each.state is State.REFUSED]
    store.write(results, [_row(each, "refused", each.reason, place) for each in refused])
    ended: list[Finished] = []
    outcomes = _alone(waiting, place, listen) if workers == 1 else _together(waiting, place, workers, listen)
    for outcome in outcomes:
        if outcome.row is not None:
            store.write(results, [outcome.row])
        ended.append(outcome)
        listen(outcome)
    return ended


def attempt(planned: Planned, place: Place, listen: Listener) -> Finished:
    """Computes one cell; whatever its method raises becomes a row."""
    worker = os.getpid()
    listen(Progress(planned, worker, "loading", 0, 1, math.nan, 0.0))
    _keep_freed_memory()
    from dabench.run.cell import measure

    last = [time.monotonic(), 0.0, 0]

    def on_step(stage: str, step: int, steps: int, loss: float) -> None:
        now = time.monotonic()
        if now - last[0] >= _HEARTBEAT:
            rate = (step - last[2]) / (now - last[0]) if step > last[2] else 0.0
            last[0], last[2] = now, step
            listen(Progress(planned, worker, stage, step, steps, loss, rate))

    outcome = caught(lambda: measure(planned.cell, place, on_step))
    if not isinstance(outcome, Exception):
        return Finished(planned, worker, {**_row(planned, "ok", "", place), **outcome})
    if isinstance(outcome, MissingData):
        return Finished(planned, worker, None, str(outcome))
    why = reason(outcome, planned.cell.variant.file)
    if isinstance(outcome, NotApplicable):
        return Finished(planned, worker, _row(planned, "refused", why, place), why)
    trace = "".join(traceback.format_exception(outcome))
    return Finished(planned, worker, _row(planned, "failed", why, place), why, trace)


@cache
def _keep_freed_memory() -> None:
    """Has malloc keep what is freed: glibc gives large tensors back at once, and each step pays for them again."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
            mallopt(parameter, 2**30)


def caught(call: Callable[[], Answer]) -> Answer | Exception:
    """What a call into somebody's method answers or raises: the one place where a failure is not the end."""
    try:
        return call()
    except Exception as error:
        return error


def reason(error: Exception, method: Path) -> str:
    """The error in a line, with the place in the method's file where it was not the harness that noticed."""
    if isinstance(error, DabenchError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    here = next((frame for frame in reversed(frames) if frame.filename == str(method)), frames[-1])
    message = str(error).partition("\n")[0] or "no message"
    return f"{type(error).__name__}: {message} ({Path(here.filename).name}, line {here.lineno})"


def _row(planned: Planned, status: str, reason: str, place: Place) -> dict[str, Any]:
    return {**planned.identity, "status": status, "reason": reason, **_provenance(place)}


def _provenance(place: Place) -> dict[str, Any]:
    return {
        "device": _device_name(place.device),
        "threads": place.threads,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "version": f"dabench {__version__}, python {platform.python_version()}, "
        f"torch {version('torch')}, timm {version('timm')}",
        "core_code": fingerprints.core_code(),
    }


@cache
def _commit() -> str:
    """The checkout's commit, `+` appended where files differ from it; empty outside a checkout."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        try:
            done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return ""
        return done.stdout.strip()

    return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")


@cache
def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


# ----------------------------------------------------------------------------------- one process, or many


def _alone(waiting: Sequence[Planned], place: Place, listen: Listener) -> Iterator[Finished]:
    for each in waiting:
        yield attempt(each, place, listen)


def _together(waiting: Sequence[Planned], place: Place, workers: int, listen: Listener) -> Iterator[Finished]:
    """Hands the cells to worker processes; a worker that dies takes its running cell along and no other."""
    left = list(waiting)
    while left:
        left = yield from _pool(left, place, workers, listen)
        # One of the cells that ran when a worker died is to blame; each shows alone whether it is.
        suspects, left = left[:workers], left[workers:]
        for each in suspects:
            if (yield from _pool([each], place, 1, listen)):
                reason = "its process died (out of memory?); try --workers 1 or a smaller backbone"
                yield Finished(each, 0, _row(each, "failed", reason, place), reason)


def _pool(
    cells: Sequence[Planned], place: Place, workers: int, listen: Listener
) -> Generator[Finished, None, list[Planned]]:
    """Runs the cells in their order in as many processes; returns those left when one of these died."""
    context = multiprocessing.get_context("spawn")
    words = context.Queue()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(words,))
    running = {pool.submit(_attempt_in_worker, each, place): each for each in cells}
    left = []
    try:
        while running:
            done, _ = wait(running, timeout=_HEARTBEAT, return_when="FIRST_COMPLETED")
            for word in _drain(words):
                listen(word)
            for future in done:
                each = running.pop(future)
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    left.append(each)
                    continue
                yield outcome
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()
    return [each for each in cells if each in left]


def _drain(words: Any) -> Iterator[Progress]:
    while True:
        try:
            yield words.get_nowait()
        except queue.Empty:
            return


_words: Any = None


def _start_worker(words: Any) -> None:
    """The parent alone answers Ctrl-C: a worker that did too would print over the screen."""
    global _words
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _words = words


def _end_with_parent() -> None:
    """A parent that was killed cannot tell its workers to stop."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def _attempt_in_worker(planned: Planned, place: Place) -> Finished:
    return attempt(planned, place, _words.put)
