"""What an engine is given and what it gives: planned cells and an environment become finished rows."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from dabench import __version__, fingerprints
from dabench.run import worker
from dabench.run.plan import Environment, Planned
from dabench.run.worker import Progress

__all__ = ["Engine", "Finished", "Listener", "Progress", "on_node", "row_of"]


@dataclass(frozen=True)
class Finished:
    """A cell that ended; `row` is what is to be stored, None where the machine lacks something (`reason` says what).

    `log` is the file that says more of a failure, where the engine keeps one.
    """

    planned: Planned
    worker: int
    row: Mapping[str, Any] | None
    reason: str = ""
    trace: str = ""
    log: str = ""


Listener = Callable[[Progress | Finished], None]


class Engine(Protocol):
    """Computes cells somewhere; a frozen dataclass of where and how."""

    @property
    def name(self) -> str:
        """What --engine calls it."""
        ...

    @property
    def at_once(self) -> int:
        """Cells that run at the same time, at most."""
        ...

    def check(self) -> None:
        """Raises DabenchError where it could compute nothing, before anything is begun."""
        ...

    def compute(
        self,
        waiting: Sequence[Planned],
        environment: Environment,
        results: Path,
        listen: Listener,
        cell_timeout: float,
    ) -> Generator[Finished, None, None]:
        """How each cell ends, in the order in which they do, one time each.

        The caller stores the rows; an engine whose workers outlive it stores them beside as parts (see
        `results.store`). Closing the iterator ends what still runs.
        """
        ...


def on_node(environment: Environment) -> Environment:
    """The environment on the machine that computes: its device by name; raises DabenchError for none."""
    return replace(environment, device=worker.device_here(environment.device))


# --------------------------------------------------------------------------------------------------- the rows


def row_of(planned: Planned, status: str, reason: str, environment: Environment, device: str = "") -> dict[str, Any]:
    """The row of a cell without what was measured; `device` is its name, where a worker has told it."""
    made = _provenance(environment, device or environment.device)
    return {**planned.identity, "status": status, "reason": reason, **made}


def _provenance(environment: Environment, device: str) -> dict[str, Any]:
    return {
        "device": device,
        "threads": environment.threads,
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
