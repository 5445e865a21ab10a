"""Handwritten and photographed digits: MNIST, USPS, SVHN, MNIST-M."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dabench import data
from dabench.core import Domains, Protocol, Recipe, Task

FULL = Protocol(
    name="full",
    adapts_on="the target's whole training set",
    scores_on="the target's official test set",
)


def _p1(source_images: int, target_images: int) -> Protocol:
    """The protocol of ADDA and MCD."""
    return Protocol(
        name="p1",
        adapts_on=f"{target_images:,} of the target's training images ({source_images:,} of the source's)",
        scores_on="the target's official test set",
        source_images=source_images,
        target_images=target_images,
    )


_READ = {"mnist": data.mnist, "usps": data.usps, "svhn": data.svhn}


def load(task: Task, root: Path, cache: Path, protocol: Protocol) -> Domains:
    source, target = _READ[task.source], _READ[task.target]
    shape = task.image_shape
    return Domains(
        source_train=data.fitted(data.drawn(source(root, "train"), protocol.source_images), shape),
        source_test=data.fitted(source(root, "test"), shape),
        target_train=data.fitted(data.drawn(target(root, "train"), protocol.target_images), shape),
        target_test=data.fitted(target(root, "test"), shape),
    )


def load_mnistm(task: Task, root: Path, cache: Path, protocol: Protocol) -> Domains:
    return Domains(
        source_train=data.fitted(data.mnist(root, "train"), task.image_shape),
        source_test=data.fitted(data.mnist(root, "test"), task.image_shape),
        target_train=data.decoded(data.mnistm(root, "train"), cache, task.image_shape),
        target_test=data.decoded(data.mnistm(root, "test"), cache, task.image_shape),
        partial=data.mnistm_partial(root),
    )


def _task(
    source: str,
    target: str,
    image_shape: tuple[int, int, int],
    backbone: str,
    recipe: Recipe,
    protocols: tuple[Protocol, ...],
    note: str,
    load: Callable[[Task, Path, Path, Protocol], Domains] = load,
) -> Task:
    facts = [data.DATASETS[name] for name in (source, target)]
    return Task(
        name=f"{source}-{target}",
        family="digits",
        source=source,
        target=target,
        class_names=tuple("0123456789"),
        image_shape=image_shape,
        backbone=backbone,
        recipe=recipe,
        protocols=protocols,
        load=load,
        datasets=(source, target),
        licence="; ".join(f"{dataset.name}: {dataset.licence}" for dataset in facts),
        citation="; ".join(dataset.citation for dataset in facts),
        note=note,
    )


_GREY = Recipe(source_steps=1500, steps=1500)

TASKS = (
    _task(
        "mnist",
        "usps",
        (1, 28, 28),
        "lenet",
        _GREY,
        (FULL, _p1(2000, 1800)),
        "USPS is enlarged from 16 to 28 pixels by nearest neighbour",
    ),
    _task(
        "usps",
        "mnist",
        (1, 28, 28),
        "lenet",
        _GREY,
        (FULL, _p1(1800, 2000)),
        "USPS is enlarged from 16 to 28 pixels by nearest neighbour",
    ),
    _task(
        "svhn",
        "mnist",
        (3, 32, 32),
        "dtn",
        Recipe(source_steps=5000, steps=5000),
        (FULL,),
        "MNIST is enlarged from 28 to 32 pixels by nearest neighbour, its channel repeated",
    ),
    _task(
        "mnist",
        "mnistm",
        (3, 32, 32),
        "dtn",
        Recipe(source_steps=3000, steps=3000),
        (FULL,),
        "MNIST is enlarged from 28 to 32 pixels by nearest neighbour, its channel repeated",
        load_mnistm,
    ),
)
