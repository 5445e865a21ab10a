"""What made a stored row: whether today's code would make it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dabench import fingerprints, registry
from dabench.core import DabenchError
from dabench.results import store

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("key", "task", "image_size", "method", "method_code", "task_code", "core_code")


@dataclass(frozen=True)
class Age:
    """What became of the code behind some rows.

    `stale` maps a key to what changed since, `unchecked` to what is not on this machine to compare with.
    """

    stale: Mapping[str, str]
    unchecked: Mapping[str, str]

    def of(self, keys: Collection[str]) -> Age:
        """The same of some of the rows alone."""
        return Age(*({key: each[key] for key in each if key in keys} for each in (self.stale, self.unchecked)))


TODAY = Age({}, {})  # every row is of today's code


def age(results: Path) -> Age:
    """Compares the code behind every stored row with today's."""
    return age_of(store.load(results, COLUMNS))


def age_of(rows: pa.Table) -> Age:
    """Compares the code behind the rows, which need COLUMNS, with today's."""
    stale: dict[str, str] = {}
    unchecked: dict[str, str] = {}
    core, methods = fingerprints.core_code(), registry.method_files()
    for made in rows.group_by(list(COLUMNS[1:])).aggregate([("key", "list")]).to_pylist():
        changed, absent = [], []
        if made["core_code"] != core:
            changed.append("harness")
        if made["method"] not in methods:
            absent.append("method")
        elif made["method_code"] != fingerprints.method_code(methods[made["method"]]):
            changed.append("method")
        task_code = _task_code(made["task"], made["image_size"] or 0)
        if task_code is None:
            absent.append("task")
        elif made["task_code"] != task_code:
            changed.append("task")
        if changed:
            stale |= dict.fromkeys(made["key_list"], " and ".join(changed))
        elif absent:
            unchecked |= dict.fromkeys(made["key_list"], " and ".join(absent))
    return Age(stale, unchecked)


@cache
def _task_code(name: str, image_size: int) -> str | None:
    """Today's fingerprint of a task, None for one that is not known here."""
    try:
        return fingerprints.task_code(registry.task(name), image_size)
    except DabenchError:
        return None


def summary(age: Age) -> list[str]:
    """A sentence for each thing that changed and for each that is not here; none where all is of today."""
    changed, absent = Counter(age.stale.values()), Counter(age.unchecked.values())
    lines = [f"{_rows(count)} stale: the {what} changed since" for what, count in sorted(changed.items())]
    lines += [f"{_rows(count)} unchecked: the {what} is not known here" for what, count in sorted(absent.items())]
    return lines


def _rows(count: int) -> str:
    return "1 row is" if count == 1 else f"{count} rows are"
