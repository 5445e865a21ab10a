"""What a sweep would compute: its cells, which of them are stored already, and why others cannot run.

A cell's key is a hash of everything that can change its numbers, so a stored row is never another cell's answer.
Nothing here imports torch: a sweep of stored cells answers at once.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dabench import data, fingerprints, registry
from dabench.core import ALL, DabenchError, MissingData, Needs, Protocol, Reach, Setting, Stream, Task
from dabench.data.cameras import Power, Rotated
from dabench.files import locked, named_errors, replacing
from dabench.results import store
from dabench.results.suite import SUITE
from dabench.run import streams


class Start(StrEnum):
    """Where a method's training starts.

    From the source-trained model; or from the initial weights, and then the source model's steps are granted to the
    method beside its own, as papers train that learn both domains together from the start.
    """

    SOURCE_MODEL = "source-model"
    INITIAL_WEIGHTS = "initial-weights"


@dataclass(frozen=True)
class Cell:
    """One computation: a plain value that any process can pick up.

    `task` is the words by which `registry.task` finds it; `labels` counts target labels a class (ALL, or 0 for a
    method that sees none); `target_images` bounds the images that adapt (ALL for no bound); `stream` is the order of
    the test images, as dabench.run.streams reads it; `frozen` means that the backbone only gives features.
    """

    task: str
    variant: registry.Variant
    protocol: str
    backbone: str
    image_size: int
    budget: float
    labels: int
    target_images: int
    seed: int
    start: Start = Start.SOURCE_MODEL
    stream: str = Stream().spec
    frozen: bool = False


@dataclass(frozen=True)
class Environment:
    """Where cells are computed: the device, its CPU threads, and the folders of data and cache."""

    device: str
    threads: int
    data: Path
    cache: Path


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asked for. None is each task's own default; `labels` may name several budgets."""

    tasks: tuple[tuple[str, Task], ...]
    methods: tuple[registry.Variant, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    budget: float = 1.0
    backbone: str | None = None
    image_size: int | None = None
    protocol: str | None = None
    labels: tuple[int, ...] = (ALL,)
    target_images: int = ALL
    start: Start = Start.SOURCE_MODEL
    stream: str = Stream().spec
    frozen: bool = False


def of_suite(request: Request) -> tuple[Request, ...]:
    """The request for each task of the suite under its own condition, with the methods that have a place there.

    Raises DabenchError for an option that the conditions fix and that is not left at its default.
    """
    for each in fields(Request):
        if each.name in _OF_SUITE and getattr(request, each.name) != each.default:
            option = f"--{each.name.replace('_', '-')}"
            raise DabenchError(f"the suite fixes the {each.name.replace('_', ' ')} of each task; leave out {option}")
    return tuple(
        replace(
            request,
            tasks=registry.tasks(scenario.task),
            methods=tuple(each for each in request.methods if scenario.takes(registry.describe(each.file).setting)),
            budget=scenario.budget,
            backbone=scenario.backbone,
            image_size=scenario.image_size,
            protocol=scenario.protocol,
            target_images=scenario.target_images,
            start=Start(scenario.start),
            stream=scenario.stream,
            frozen=scenario.frozen,
        )
        for scenario in SUITE
    )


_OF_SUITE = ("budget", "backbone", "image_size", "protocol", "target_images", "start", "stream", "frozen")


class State(StrEnum):
    """What will become of a planned cell."""

    RUN = "run"
    CACHED = "cached"
    REFUSED = "refused"
    MISSING = "missing"


@dataclass(frozen=True)
class Planned:
    """A cell, the columns of its row that are known beforehand, and its state with the reason for it."""

    cell: Cell
    identity: Mapping[str, Any]
    state: State
    reason: str = ""

    @property
    def key(self) -> str:
        return str(self.identity["key"])

    @property
    def label(self) -> str:
        """How the cell is named on the screen."""
        return f"{self.identity['task']} · {self.cell.variant.label} · seed {self.cell.seed}"


def plan(
    request: Request,
    data_root: Path,
    cache_root: Path,
    results: Path,
    *,
    force: bool = False,
    before_reading: Callable[[], None] = lambda: None,
) -> tuple[Planned, ...]:
    """Every cell of the request, in the order in which they would run; with `force`, stored cells too.

    `before_reading` is called before a task's data are read, which takes seconds; they are where they are known.
    Raises DabenchError where a task lacks the protocol asked for.
    """
    stored = {} if force else store.statuses(results)
    planned: list[Planned] = []
    for spec, task in request.tasks:
        protocol = task.protocol(request.protocol)
        if request.backbone is not None and task.pretrained and task.folders:
            raise DabenchError(f"task '{task.name}' names its own checkpoint; leave out --backbone")
        size = request.image_size or task.image_shape[1]
        missing = ""
        try:
            images = data_print(registry.sized(task, size), data_root, cache_root, protocol, before_reading)
        except MissingData as error:
            missing, images = str(error), ""
        for variant in sorted(request.methods, key=_waits_for_the_source_model):
            described = registry.describe(variant.file)
            refusal = _refusal(task, protocol, described, request) or _refusal_of_frozen(task, described, request)
            for cell in _cells(request, spec, task, variant, described.needs):
                identity = _identity(cell, task, described, images)
                store.check_texts(identity)
                if stored.get(identity["key"]) in ("ok", "refused"):
                    state, reason = State.CACHED, refusal
                elif refusal:
                    state, reason = State.REFUSED, refusal
                elif missing:
                    state, reason = State.MISSING, missing
                else:
                    state, reason = State.RUN, ""
                planned.append(Planned(cell, identity, state, reason))
    return tuple(planned)


def _waits_for_the_source_model(variant: registry.Variant) -> bool:
    """The source model's own row comes first: other gains are over it, and it is there as soon as it is trained."""
    return registry.describe(variant.file).setting is not Setting.SOURCE_ONLY


def _cells(request: Request, spec: str, task: Task, variant: registry.Variant, needs: Needs) -> Iterator[Cell]:
    """The cells of one task and method: each number of labels under each seed."""
    for labels in _label_budgets(request, needs):
        for seed in request.seeds:
            yield Cell(
                task=spec,
                variant=variant,
                protocol=task.protocol(request.protocol).of_seed(seed).spec,
                backbone=request.backbone or task.backbone,
                image_size=request.image_size or task.image_shape[1],
                budget=request.budget,
                labels=labels,
                target_images=request.target_images if needs & Needs.TARGET_IMAGES else ALL,
                seed=seed,
                start=request.start,
                stream=request.stream,
                frozen=request.frozen,
            )


def _label_budgets(request: Request, needs: Needs) -> tuple[int, ...]:
    if needs & Needs.TARGET_LABELS:
        return request.labels
    return (ALL,) if needs & Needs.ALL_TARGET_LABELS else (0,)


def _refusal(task: Task, protocol: Protocol, described: registry.Description, request: Request) -> str:
    """Why the method has no place on this task, or nothing."""
    # With folders of one's own, the source pictures are there whoever trained the network.
    if described.needs & Needs.SOURCE and task.pretrained and not task.folders:
        return f"{described.setting} needs source images, and the source of '{task.name}' is a network alone"
    if request.start is Start.INITIAL_WEIGHTS and (
        not described.needs & Needs.SOURCE or described.needs & Needs.TEST_STREAM
    ):
        return f"{described.setting} does not train on source images, which a start from the initial weights needs"
    if not task.scored and described.needs & (Needs.TARGET_LABELS | Needs.ALL_TARGET_LABELS):
        return f"it learns from target labels, and the target's pictures of '{task.name}' have none"
    if protocol.transductive and described.setting in (Setting.SUPERVISED, Setting.UPPER_BOUND):
        return f"protocol '{protocol.name}' scores the images that adapt, whose labels the method would have seen"
    order = streams.parse(request.stream).order
    if order in streams.OF_SHIFTS and not task.shifts:
        return f"stream '{order}' leads through several shifts, and '{task.name}' has one; take cifar10-c"
    return ""


# dabench's own networks have no published weights, so their features would be noise.
_UNPUBLISHED = ("lenet", "lenet_bn", "dtn", "resnet8", "resnet20")


def _refusal_of_frozen(task: Task, described: registry.Description, request: Request) -> str:
    """Why the method has no place on the task's frozen features, or nothing."""
    if not request.frozen:
        return ""
    backbone = request.backbone or task.backbone
    if backbone in _UNPUBLISHED:
        return f"'{backbone}' has no published weights whose features could be frozen; name a --backbone of timm's"
    if task.pretrained:
        return f"the source model of '{task.name}' is the pretrained network itself; frozen, nothing of it would adapt"
    if described.reach is not Reach.FEATURES:
        return f"it works on {described.reach}, and the features are frozen"
    return ""


def _identity(cell: Cell, task: Task, described: registry.Description, images: str) -> dict[str, Any]:
    params = {**described.parameters, **dict(cell.variant.given)}
    known = {
        "task": task.name,
        "family": task.family,
        "protocol": task.protocol(cell.protocol).name,
        "method": described.name,
        "setting": str(described.setting),
        "variant": cell.variant.label,
        "params": json.dumps(params, sort_keys=True),
        "backbone": cell.backbone,
        "image_size": cell.image_size,
        "budget": cell.budget,
        "labels": cell.labels,
        "target_images": cell.target_images,
        "start": str(cell.start),
        "stream": cell.stream,
        "frozen": cell.frozen,
        "seed": cell.seed,
        "method_code": fingerprints.method_code(described.file),
        "task_code": fingerprints.task_code(task, cell.image_size),
        "data": images,
    }
    return {"key": fingerprints.digest(json.dumps(known, sort_keys=True)), **known}


def data_print(
    task: Task,
    data_root: Path,
    cache_root: Path,
    protocol: Protocol,
    before_reading: Callable[[], None] = lambda: None,
) -> str:
    """The fingerprint of the task's images under a protocol, remembered while files and loaders stay the same.

    `before_reading` is called where it is not. Raises MissingData where the files are not there.
    """
    loaders = fingerprints.loader_code(task)
    # Two processors' vector units round a colour that a camera computes differently, so what it sees is known by the
    # pictures before it; the pictures behind other cameras are files, or drawn by libraries.
    camera = None if isinstance(task.camera, Rotated | Power) else task.camera
    facts = (task.name, task.image_shape, protocol, task.camera, camera)
    files = data.manifest(data.files_of(task, data_root), cache_root)
    manifest = fingerprints.digest(files, loaders, repr(facts), _decoders())
    remembered = cache_root / "fingerprints" / manifest
    if remembered.exists():
        return remembered.read_text()
    before_reading()
    images = data.fingerprint(replace(task, camera=camera).read(data_root, cache_root, protocol))
    if camera is not task.camera:
        images = fingerprints.digest(images, repr(task.camera), fingerprints.camera_code())
    with named_errors(remembered, "--cache"), locked(remembered), replacing(remembered) as unfinished:
        unfinished.write_text(images)
    return images


@cache
def _decoders() -> str:
    """The libraries that could decode or draw the same files differently."""
    return ",".join(version(name) for name in ("matplotlib", "numpy", "pillow", "scikit-learn", "kornia"))


def seconds_expected(planned: tuple[Planned, ...], results: Path) -> float | None:
    """How long the cells to run would take one after the other; None where no past row says."""
    waiting = [each for each in planned if each.state is State.RUN]
    expected = expected_seconds(waiting, results)
    return sum(expected.values()) if expected or not waiting else None


def expected_seconds(waiting: Sequence[Planned], results: Path) -> dict[str, float]:
    """How long each cell would take, by its key, from the past rows most like it; nothing where there are none."""
    names = ("method", "task", "backbone", "image_size", "budget", "status", "seconds", "seconds_scoring")
    past: dict[tuple[Any, ...], list[float]] = {}
    for row in store.load(results, names).to_pylist():
        if row["status"] == "ok":
            spent = (row["seconds"] + row["seconds_scoring"]) / row["budget"]
            for kind in _kinds(row["method"], row["task"], row["backbone"], row["image_size"]):
                past.setdefault(kind, []).append(spent)
    typical = {kind: statistics.median(many) for kind, many in past.items()}
    expected: dict[str, float] = {}
    for each in waiting if past else ():
        cell = each.cell
        kinds = _kinds(cell.variant.name, each.identity["task"], cell.backbone, cell.image_size)
        expected[each.key] = cell.budget * next(typical[kind] for kind in kinds if kind in typical)
    return expected


def _kinds(method: str, task: str, backbone: str, image_size: int) -> tuple[tuple[Any, ...], ...]:
    """From the same cell under another seed to any cell at all."""
    return (method, task, backbone, image_size), (method, backbone, image_size), (backbone, image_size), ()
