"""Runs stored cells again from what their rows say of them, and names what came out differently.

On the same device, threads and versions a cell gives the same bits. Elsewhere rounding differs, and training
amplifies it until the model is another draw of the same recipe, so numbers are then held to a tolerance:

- accuracy: three standard errors of the difference of two accuracies on as many test images,
- predictions: no more of them change than were wrong, plus the tolerance of the accuracy,
- nll: a tenth of itself, plus the tolerance of the accuracy.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from dabench import fingerprints, registry
from dabench.core import DabenchError, Task
from dabench.registry import Variant
from dabench.results import store
from dabench.run import plan
from dabench.run.engines.local import Local
from dabench.run.plan import Environment, Planned, Request, Start, State

CODE = ("method_code", "task_code", "core_code")
COMPARED = ("accuracy", "nll", "predictions")
_WHERE = ("device", "threads", "precision", "version")


class Agreement(StrEnum):
    """How a stored row fared."""

    IDENTICAL = "identical"
    WITHIN = "within tolerance"
    DIFFERENT = "DIFFERENT"
    STALE = "stale"
    NOT_HERE = "not here"


@dataclass(frozen=True)
class Check:
    """A stored row, its verdict, and the words for it: what differs (column, stored, now), or why it was not run."""

    label: str
    verdict: Agreement
    words: str = ""

    @property
    def compared(self) -> bool:
        return self.verdict in (Agreement.IDENTICAL, Agreement.WITHIN, Agreement.DIFFERENT)


def verify(
    results: Path,
    environment: Environment,
    tasks: Sequence[tuple[str, Task]],
    methods: Mapping[str, Path],
    *,
    task: str = "",
    variant: str = "",
    sample: int,
    draw: int = 0,
) -> Iterator[Check]:
    """Reruns `sample` of the stored ok rows, those of a task and method only where these are given.

    `tasks` and `methods` are where names of rows are looked up. Stale rows are named first and not run. Raises
    DabenchError where no such row is stored.
    """
    rows = [
        row
        for row in store.load(results).to_pylist()
        if row["status"] == "ok" and task in ("", row["task"]) and variant in ("", row["method"], row["variant"])
    ]
    if not rows:
        wanted = f" of {task}/{variant}" if task else ""
        raise DabenchError(f"no finished cells{wanted} in {results}; see `dabench list`, or start with `dabench run`")
    changed = {row["key"]: _changed(row, tasks, methods) for row in rows}
    for row in rows:
        if changed[row["key"]]:
            yield Check(_label(row), Agreement.STALE, f"made by another {', '.join(changed[row['key']])}")
    fresh = [row for row in rows if not changed[row["key"]]]
    for row in random.Random(draw).sample(fresh, min(sample, len(fresh))):
        yield check(row, environment, tasks, methods)


def _label(row: Mapping[str, Any]) -> str:
    return f"{row['task']} · {row['variant']} · seed {row['seed']}"


def _changed(row: Mapping[str, Any], tasks: Sequence[tuple[str, Task]], methods: Mapping[str, Path]) -> list[str]:
    """The columns that say that today's code is other than the row's."""
    today = {"core_code": fingerprints.core_code()}
    if row["method"] in methods:
        today["method_code"] = fingerprints.method_code(methods[row["method"]])
    with suppress(DabenchError):  # a task that is not known here is said to be so when its turn comes
        today["task_code"] = fingerprints.task_code(_task(row, tasks)[1], row["image_size"])
    return [name for name in CODE if name in today and today[name] != row[name]]


def _task(row: Mapping[str, Any], tasks: Sequence[tuple[str, Task]]) -> tuple[str, Task]:
    """The row's task and the words that find it; raises DabenchError for one that is not known here."""
    for words, task in tasks:
        if task.name == row["task"]:
            return words, task
    (found,) = registry.tasks(row["task"])
    return found


def rebuild(
    row: Mapping[str, Any], tasks: Sequence[tuple[str, Task]], methods: Mapping[str, Path], environment: Environment
) -> Planned:
    """The cell that the row says it is, planned with today's code and data.

    Raises DabenchError where its task or method is not known here.
    """
    if row["method"] not in methods:
        raise DabenchError(f"no method '{row['method']}' here; name its file with --methods")
    file = methods[row["method"]]
    defaults = registry.describe(file).parameters
    given = {name: value for name, value in json.loads(row["params"]).items() if value != defaults.get(name)}
    request = Request(
        tasks=(_task(row, tasks),),
        methods=(Variant(row["method"], file, tuple(sorted(given.items()))),),
        seeds=(row["seed"],),
        budget=row["budget"],
        backbone=row["backbone"],
        image_size=row["image_size"],
        protocol=row["protocol"],
        labels=(row["labels"],),
        target_images=row["target_images"],
        start=Start(row["start"]),
        stream=row["stream"],
        frozen=row["frozen"],
    )
    (planned,) = plan.plan(request, environment.data, environment.cache, Path(), force=True)
    return planned


def check(
    row: Mapping[str, Any], environment: Environment, tasks: Sequence[tuple[str, Task]], methods: Mapping[str, Path]
) -> Check:
    """Runs the row's cell again, with as many threads as then, and compares."""
    label = _label(row)
    try:
        planned = rebuild(row, tasks, methods, environment)
    except DabenchError as error:
        return Check(label, Agreement.NOT_HERE, str(error))
    if planned.state is not State.RUN:
        return Check(label, Agreement.NOT_HERE, planned.reason)
    if planned.identity["data"] != row["data"]:
        return Check(label, Agreement.STALE, "made from another data")
    if planned.key != row["key"]:
        columns = [name for name, value in planned.identity.items() if name != "key" and value != row[name]]
        words = "; ".join(_words(name, row[name], planned.identity[name]) for name in columns or ["key"])
        return Check(label, Agreement.DIFFERENT, words)
    there = replace(environment, threads=row["threads"])
    (ended,) = Local(1).compute([planned], there, Path(), lambda word: None, math.inf)
    if ended.row is None:
        return Check(label, Agreement.NOT_HERE, ended.reason)
    if ended.row["status"] != "ok":
        return Check(label, Agreement.DIFFERENT, _words("status", "ok", f"{ended.row['status']}: {ended.reason}"))
    return compare(row, ended.row)


def compare(stored: Mapping[str, Any], now: Mapping[str, Any]) -> Check:
    """The verdict on two rows of one cell."""
    label = _label(stored)
    elsewhere = [name for name in _WHERE if stored[name] != now[name]]
    differing = [name for name in COMPARED if stored[name] is not None and stored[name] != now[name]]
    if not differing:
        return Check(label, Agreement.IDENTICAL)
    if elsewhere:
        differing = [name for name in differing if _distance(name, stored, now) > tolerance(name, stored)]
    if not differing:
        return Check(label, Agreement.WITHIN, f"other {', '.join(elsewhere)}; " + _apart(stored, now))
    words = []
    for name in differing:
        if name == "predictions":
            share = _distance(name, stored, now)
            words.append(_words(name, "all", f"{share:.2%} of them changed"))
        else:
            words.append(_words(name, repr(stored[name]), repr(now[name])))
    return Check(label, Agreement.DIFFERENT, "; ".join(words))


def _words(column: str, stored: Any, now: Any) -> str:
    return f"{column}: stored {stored}, now {now}"


def _apart(stored: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    accuracy = 100 * (now["accuracy"] - stored["accuracy"])
    share = _distance("predictions", stored, now)
    return f"accuracy {accuracy:+.2f} points, nll {now['nll'] - stored['nll']:+.4f}, {share:.2%} of predictions changed"


def _distance(column: str, stored: Mapping[str, Any], now: Mapping[str, Any]) -> float:
    """How far apart two rows are: a difference, or the share of predictions that changed."""
    if column != "predictions":
        return float(abs(now[column] - stored[column]))
    if stored[column] is None:
        return 0.0
    if len(stored[column]) != len(now[column]):
        return 1.0
    then, today = (store.classes(row[column], now["n_test"]) for row in (stored, now))
    return float((then != today).mean())


def tolerance(column: str, stored: Mapping[str, Any]) -> float:
    """The largest distance that counts as the same result on another machine; see the module's head."""
    accuracy = stored["accuracy"]
    noise = 3 * math.sqrt(2 * accuracy * (1 - accuracy) / stored["n_test"])
    allowed: dict[str, float] = {
        "accuracy": noise,
        "predictions": 1 - accuracy + noise,
        "nll": 0.1 * stored["nll"] + noise,
    }
    return allowed[column]
