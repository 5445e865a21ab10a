"""A Ray cluster: each cell is a task that asks for its share of processors, GPUs and memory."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dabench.core import DabenchError
from dabench.results.sweeps import QUEUED
from dabench.run.engines.bundles import absolute
from dabench.run.engines.contract import Finished, Listener, Progress, on_node, row_of
from dabench.run.engines.local import Local
from dabench.run.plan import Environment, Planned

if TYPE_CHECKING:
    from ray.util.queue import Queue

RETRIES = 3  # of a cell whose worker or node died


@dataclass(frozen=True, kw_only=True)
class Ray:
    """`resources` of a cell: num_cpus, num_gpus (0.25 puts four cells on a card), memory_gb, and any of the cluster's.

    `address` is the cluster's; `auto` is the one of this machine. The driver alone stores rows.
    """

    resources: Mapping[str, float] = field(default_factory=dict)
    address: str = "auto"
    name: str = "ray"

    @property
    def wanted(self) -> dict[str, float]:
        """What a cell takes, as Ray names it."""
        asked = {"num_cpus": 1.0, **self.resources}
        names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory_gb": "memory"}
        return {
            names.get(name, name): amount * 2**30 if name == "memory_gb" else amount for name, amount in asked.items()
        }

    @property
    def threads(self) -> int:
        """CPU threads of a cell."""
        return max(1, int(self.wanted["CPU"]))

    @property
    def at_once(self) -> int:
        """Cells that the cluster has room for."""
        nodes = [node["Resources"] for node in self._nodes()]
        room = (min(node.get(name, 0) / amount for name, amount in self.wanted.items() if amount) for node in nodes)
        return max(1, sum(int(cells) for cells in room))

    def check(self) -> None:
        """Raises DabenchError without a cluster, or where no node has what a cell takes: Ray would wait for ever."""
        nodes = [node["Resources"] for node in self._nodes()]
        for name, amount in self.wanted.items():
            most = max((node.get(name, 0) for node in nodes), default=0)
            if amount > most:
                unit = 2**30 if name == "memory" else 1
                raise DabenchError(
                    f"--ray: a cell asks for {amount / unit:g} {name}{' GiB' if unit > 1 else ''}, and no node of the "
                    f"cluster has more than {most / unit:g}; it has {', '.join(sorted(set().union(*nodes)))}"
                )
        if not any(all(node.get(name, 0) >= amount for name, amount in self.wanted.items()) for node in nodes):
            raise DabenchError(f"--ray: no node has all of {self.wanted} at once; ask for less")

    def compute(
        self,
        waiting: Sequence[Planned],
        environment: Environment,
        results: Path,
        listen: Listener,
        cell_timeout: float,
    ) -> Generator[Finished, None, None]:
        """How each cell ends, in the order in which they do; tasks that still run are cancelled on the way out."""
        import ray
        from ray.util.queue import Queue

        self._connect()
        wanted = self.wanted
        own = {name: amount for name, amount in wanted.items() if name not in ("CPU", "GPU", "memory")}
        # A worker that is used again would keep what the cell before left behind.
        task = ray.remote(max_calls=1)(_cell).options(
            num_cpus=wanted["CPU"],
            num_gpus=wanted.get("GPU", 0),
            memory=int(wanted.get("memory", 0)) or None,
            resources=own,
            max_retries=RETRIES,
        )
        there = absolute(environment)
        begins = Queue(actor_options={"num_cpus": 0})  # Ray tells of no task whether it has begun
        begun: set[str] = set()
        running = {task.remote(planned, there, results, cell_timeout, begins): planned for planned in waiting}
        try:
            while running:
                done, _ = ray.wait(list(running), timeout=5.0)
                for future in done:
                    planned = running.pop(future)
                    try:
                        yield ray.get(future)
                    except ray.exceptions.RayError as error:
                        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
                        why = f"its Ray task died {RETRIES + 1} times: {lines[-1] if lines else type(error).__name__}"
                        yield Finished(planned, 0, row_of(planned, "failed", why, environment), why, str(error))
                with suppress(ray.exceptions.RayError):  # the node that counted them died; the cells go on
                    begun.update(begins.get_nowait_batch(begins.qsize()))
                for planned in running.values():
                    stage = "running" if planned.key in begun else QUEUED
                    listen(Progress(planned, 0, stage, 0, 1, math.nan, 0.0))
        finally:
            for future in running:
                ray.cancel(future, force=True)
            begins.shutdown(force=True)

    def _nodes(self) -> list[dict[str, Any]]:
        import ray

        self._connect()
        return [node for node in ray.nodes() if node["Alive"]]

    def _connect(self) -> None:
        try:
            import ray
        except ImportError:
            raise DabenchError("--engine ray needs Ray: pip install 'dabench[ray]'") from None
        if ray.is_initialized():
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ray.init(address=self.address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise DabenchError(
                f"no Ray cluster at '{self.address}': {error}; start one with `ray start --head`, or --ray address=..."
            ) from error


def _cell(planned: Planned, environment: Environment, results: Path, cell_timeout: float, begins: Queue) -> Finished:
    """Computes one cell in a worker of the cluster, and says first that it begins."""
    with suppress(Exception):  # whoever listened has died; the cell does not need him
        begins.put(planned.key)
    (finished,) = Local(1).compute([planned], on_node(environment), results, lambda word: None, cell_timeout)
    return finished
