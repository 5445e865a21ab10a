"""A SLURM queue, by submitit: bundles of cells as arrays of jobs, source models first as an array of their own.

Each job stores its rows as parts in the results folder, which all nodes share, and skips what is stored already. So a
job that is pre-empted, runs out of time or dies with its node costs the running cell: what is missing is submitted
again, by SLURM itself where it says beforehand that it ends a job, else in the next round.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from dabench.core import DabenchError
from dabench.results import store
from dabench.results.sweeps import QUEUED
from dabench.run.engines.bundles import UNKNOWN, absolute, bundles, shared_sources, train_source
from dabench.run.engines.contract import Finished, Listener, Progress, on_node, row_of
from dabench.run.engines.local import Local
from dabench.run.plan import Environment, Planned, expected_seconds

TRIES = 3  # jobs that may end in a cell before it counts as failed
_NOT_BEGUN = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT")  # squeue's states


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """`parameters` are submitit's, such as partition, gpus_per_node, timeout_min, array_parallelism.

    A job takes cells of about `bundle_min` minutes together. `cluster` is submitit's name of what takes the jobs:
    `local` runs them here, all at once, as tests do.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    bundle_min: float = 30.0
    cluster: str = "slurm"
    poll_seconds: float = 10.0
    name: str = "slurm"

    @property
    def at_once(self) -> int:
        """Jobs that run at the same time, if the queue lets them."""
        return int(self.parameters.get("array_parallelism", 256))

    @property
    def threads(self) -> int:
        """CPU threads of a cell."""
        return int(self.parameters.get("cpus_per_task", 1))

    def check(self) -> None:
        """Raises DabenchError without submitit, without sbatch, or for a parameter that neither knows."""
        if self.cluster == "slurm" and not shutil.which("sbatch"):
            raise DabenchError("no command sbatch here; run on a login node of the cluster, or use --engine local")
        self.executor(Path(tempfile.gettempdir()) / "dabench-check", 1.0)

    def compute(
        self,
        waiting: Sequence[Planned],
        environment: Environment,
        results: Path,
        listen: Listener,
        cell_timeout: float,
    ) -> Generator[Finished, None, None]:
        """How each cell ends, as the parts tell that the jobs write; jobs that still run are cancelled on the way out.

        A cell in which `TRIES` jobs ended fails, and all that are missing do where two rounds in a row stored nothing.
        """
        if not waiting:
            return
        results = results.resolve()
        name = f"{datetime.now():%Y%m%d-%H%M%S}-{socket.gethostname().partition('.')[0]}-{os.getpid()}"
        before = store.made(results, {each.key for each in waiting})
        sweep = _Sweep(self, results, name, absolute(environment), cell_timeout, before)
        seconds = expected_seconds(waiting, results)
        left = {each.key: each for each in waiting}
        tries: Counter[str] = Counter()
        barren = 0
        for number in itertools.count():
            trusted = [each for each in left.values() if not tries[each.key]]
            jobs = bundles(trusted, seconds, self.bundle_min) + [(each,) for each in left.values() if tries[each.key]]
            if number == 0:
                sweep.train_sources(shared_sources(jobs), listen)
            waited = len(left)
            ended = yield from sweep.round(number, jobs, seconds, left, listen)
            barren = barren + 1 if len(left) == waited else 0
            for bundle, reason, log in ended:
                missing = [each for each in bundle if each.key in left]
                tries.update(each.key for each in missing[:1])
                for each in missing:
                    if barren == 2 or tries[each.key] == TRIES:
                        del left[each.key]
                        yield Finished(each, 0, row_of(each, "failed", reason, environment), reason, log=log)
            if not left:
                return

    def executor(self, folder: Path, minutes: float) -> Any:
        """submitit's executor for jobs of so many minutes where the parameters give no others."""
        try:
            import submitit
        except ImportError:
            raise DabenchError("--engine slurm needs submitit: pip install 'dabench[slurm]'") from None
        shared = ("mem_gb", "nodes", "timeout_min", "cpus_per_task", "gpus_per_node", "stderr_to_stdout")
        given = {"cpus_per_task": 1, "timeout_min": math.ceil(minutes), **self.parameters}
        executor = submitit.AutoExecutor(folder, cluster=self.cluster)
        try:
            executor.update_parameters(
                name="dabench", **{key if key in shared else f"slurm_{key}": value for key, value in given.items()}
            )
        except (NameError, AssertionError, ValueError) as error:
            raise DabenchError(f"--slurm: {str(error).splitlines()[0]}") from error
        return executor


@dataclass(frozen=True)
class _Sweep:
    """One call of `Slurm.compute`; `before` says when the rows were made that were stored already, by key."""

    engine: Slurm
    results: Path
    name: str
    environment: Environment
    cell_timeout: float
    before: Mapping[str, str]

    def train_sources(self, sources: Sequence[Planned], listen: Listener) -> None:
        """Trains source models in an array of jobs. One that fails is left to the cells that need it, which say why."""
        if not sources:
            return
        jobs = self.submit([Source(each, self.environment) for each in sources], self.engine.bundle_min + 30)
        with closing(self.until_over(jobs)) as looks:
            for running in looks:
                for index, begun in running.items():
                    stage = "source model" if begun else QUEUED
                    listen(Progress(sources[index], index, stage, 0, 1, math.nan, 0.0))

    def round(
        self,
        number: int,
        jobs: Sequence[tuple[Planned, ...]],
        seconds: Mapping[str, float],
        left: dict[str, Planned],
        listen: Listener,
    ) -> Generator[Finished, None, list[tuple[Sequence[Planned], str, str]]]:
        """Submits the jobs, and takes from `left` what they store, until none of them is left.

        Returns of each job its cells, how it ended, and the file that says more.
        """
        calls = [
            Bundle(job, self.environment, self.results, f"{self.name}-{number}-{index}", self.cell_timeout, self.before)
            for index, job in enumerate(jobs)
        ]
        longest = max(sum(seconds.get(each.key, UNKNOWN) for each in job) for job in jobs) / 60
        submitted = self.submit(calls, 2 * longest + 30)
        versions: dict[tuple[str, str], object] = {}
        with closing(self.until_over(submitted)) as looks:
            for running in looks:
                for row in _news(left, self.results, self.before, versions):
                    each = left.pop(row["key"])
                    log = log_of(each, self.results)
                    yield Finished(each, 0, row, row["reason"] or "", log=str(log) if log.exists() else "")
                for index, begun in running.items():
                    for at, each in enumerate(each for each in jobs[index] if each.key in left):
                        stage = "running" if begun and not at else QUEUED  # a job takes its cells one after the other
                        listen(Progress(each, index, stage, 0, 1, math.nan, 0.0))
        for job in submitted:
            for key, why in _rowless(job).items():
                if key in left:
                    yield Finished(left.pop(key), 0, None, why)
        return [(cells, *_ending(job)) for cells, job in zip(jobs, submitted, strict=True)]

    def submit(self, calls: Sequence[Callable[[], Any]], minutes: float) -> list[Any]:
        """The jobs of an array; raises DabenchError where the queue refuses it."""
        executor = self.engine.executor(self.results / ".sweeps" / self.name, minutes)
        try:
            with executor.batch():
                jobs = [executor.submit(call) for call in calls]
        except Exception as error:
            raise DabenchError(f"SLURM refused the jobs: {_last_line(str(error))}; see --slurm") from error
        return jobs

    def until_over(self, jobs: Sequence[Any]) -> Generator[dict[int, bool], None, None]:
        """The numbers of the jobs that are not over and whether each has begun, until none is left; then that once.

        A job is over when its result is there, or when the queue has not had it for two looks.
        """
        gone: Counter[int] = Counter()
        over, ended = False, False
        try:
            while not over:
                there = self.there(jobs)
                gone.update(index for index in range(len(jobs)) if index not in there)
                left = [i for i, job in enumerate(jobs) if gone[i] < 2 and not job.paths.result_pickle.exists()]
                over = not left
                yield {index: there.get(index, True) for index in left}
                if not over:
                    time.sleep(self.engine.poll_seconds)
            ended = True
        finally:
            for job in () if ended else jobs:
                job.cancel(check=False)

    def there(self, jobs: Sequence[Any]) -> dict[int, bool]:
        """The numbers of the jobs that the queue has and whether each has begun; none has where it does not answer."""
        if self.engine.cluster != "slurm":
            return {index: True for index, job in enumerate(jobs) if not job.done()}
        asked = ["squeue", "--noheader", "--array", "--format=%i %T", f"--user={os.getuid()}"]
        answer = subprocess.run(asked, capture_output=True, text=True)
        if answer.returncode:
            return dict.fromkeys(range(len(jobs)), False)
        states = dict(line.split() for line in answer.stdout.splitlines())
        return {i: states[job.job_id] not in _NOT_BEGUN for i, job in enumerate(jobs) if job.job_id in states}


def _rowless(job: Any) -> Mapping[str, str]:
    """Why cells of a job that ended have no row, by their key: what they need is missing on the node."""
    if not job.paths.result_pickle.exists() or job.exception() is not None:
        return {}
    rowless: Mapping[str, str] = job.result()
    return rowless


def _ending(job: Any) -> tuple[str, str]:
    """How a job ended that has not done all its cells, and its log."""
    log = job.paths.stderr if job.paths.stderr.exists() else job.paths.stdout
    words = "it left the queue without a word (killed, out of memory or time, or its node is gone)"
    if job.paths.result_pickle.exists() and (error := job.exception()) is not None:
        raised = [line for line in str(error).splitlines() if re.match(r"[\w.]+(Error|Exception|Interrupt)\b", line)]
        words = raised[-1] if raised else _last_line(str(error))
    return f"its SLURM job ended before it did: {words}", str(log)


def _news(
    left: Mapping[str, Planned],
    results: Path,
    before: Mapping[str, str],
    versions: dict[tuple[str, str], object],
) -> list[dict[str, Any]]:
    """The rows of the cells that are left, from files that changed since `versions` was noted."""
    found = []
    for task, method in sorted({(each.identity["task"], each.identity["method"]) for each in left.values()}):
        version = store.version_of(results, task, method)
        if versions.get((task, method)) != version:
            versions[task, method] = version
            for row in store.of_method(results, task, method).to_pylist():
                if row["key"] in left and row["created"] != before.get(row["key"]):
                    found.append(row)
    return found


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no message")


# -------------------------------------------------------------------------------------------- inside a job


@dataclass(frozen=True)
class Source:
    """A job that trains a cell's source model into the cache. What goes wrong is told by the cells that need it."""

    planned: Planned
    environment: Environment

    def __call__(self) -> None:
        print(train_source(self.planned, on_node(self.environment)) or "trained", flush=True)

    def checkpoint(self) -> Any:
        """What is submitted again when the job is pre-empted."""
        return _again(self)


@dataclass(frozen=True)
class Bundle:
    """A job that computes cells one after the other, and stores each row as the part that is its own."""

    cells: tuple[Planned, ...]
    environment: Environment
    results: Path
    part: str
    cell_timeout: float
    before: Mapping[str, str]

    def __call__(self) -> dict[str, str]:
        """Computes what is not stored yet; the reasons of cells that have no row, by key."""
        cells = {each.key: each for each in self.cells}
        stored = {row["key"] for row in _news(cells, self.results, self.before, {})}
        left = [each for key, each in cells.items() if key not in stored]
        environment = on_node(self.environment)
        rowless = {}
        for finished in Local(1).compute(left, environment, self.results, lambda word: None, self.cell_timeout):
            planned, row = finished.planned, finished.row
            print(f"{planned.label}: {finished.reason or 'done'}", flush=True)
            if row is None:
                rowless[planned.key] = finished.reason
                continue
            if row["status"] == "failed":
                log = log_of(planned, self.results)
                log.parent.mkdir(parents=True, exist_ok=True)
                log.write_text(f"{planned.label} on {socket.gethostname()}\n{finished.reason}\n{finished.trace}")
            store.write(self.results, [row], part=self.part)
        return rowless

    def checkpoint(self) -> Any:
        """What is submitted again when the job is pre-empted: the same, which then skips what is stored."""
        return _again(self)


def log_of(planned: Planned, results: Path) -> Path:
    """The file that tells how a cell failed."""
    return results / ".sweeps" / "failed" / f"{planned.key}.txt"


def _again(call: Callable[[], Any]) -> Any:
    import submitit

    return submitit.helpers.DelayedSubmission(call)
