"""The simulated cameras in front of pictures that anyone can get: imagenette, CIFAR-10 and PACS photos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from dabench import data
from dabench.core import Domain, Domains, Protocol, Recipe, Task
from dabench.data.cameras import CAMERAS

OFFICIAL = Protocol(
    name="official",
    adapts_on="the release's training pictures behind the camera",
    scores_on="the release's test pictures behind the camera",
)
IMAGENETTE = Protocol(
    name="official",
    adapts_on="90 % of imagenette's training pictures behind the camera (10 % validate)",
    scores_on="imagenette's validation pictures behind the camera",
)


def load_imagenette1k(task: Task, root: Path, cache: Path, protocol: Protocol) -> Domains:
    """The same pictures, each labelled by its class's place among the thousand."""
    domains = data.load_imagenette(task, root, cache, protocol)
    number = np.array([index for _, index in data.IMAGENETTE_CLASSES.values()])

    def numbered(domain: Domain) -> Domain:
        return Domain(domain.images, number[domain.labels])

    return replace(
        domains,
        source_test=numbered(domains.source_test),
        target_train=numbered(domains.target_train),
        target_validation=domains.target_validation and numbered(domains.target_validation),
        target_test=numbered(domains.target_test),
    )


def load_cifar10(task: Task, root: Path, cache: Path, protocol: Protocol) -> Domains:
    train, test = (data.fitted(data.cifar10(root, split), task.image_shape) for split in ("train", "test"))
    partial = data.cifar10_partial(train, test)
    return Domains(train, test, data.seen_by(task.camera, train), data.seen_by(task.camera, test), partial=partial)


def load_pacs_photo(task: Task, root: Path, cache: Path, protocol: Protocol) -> Domains:
    pictures = data.PACS.pictures(root, "photo")
    source_train, source_test = data.split(pictures, cache, task.image_shape, protocol)
    target_train, target_test = data.split(pictures, cache, task.image_shape, protocol, task.camera)
    return Domains(source_train, source_test, target_train, target_test, partial=data.PACS.partial(root, "photo"))


_CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def _imagenette(shift: str) -> Task:
    return Task(
        name=f"imagenette-{shift}",
        family="cameras",
        source="imagenette",
        target=shift,
        class_names=tuple(name for name, _ in data.IMAGENETTE_CLASSES.values()),
        image_shape=(3, 224, 224),
        backbone="resnet18",
        recipe=Recipe(steps=1000, batch_size=32),
        protocols=(IMAGENETTE,),
        load=data.load_imagenette,
        datasets=("imagenette",),
        camera=CAMERAS[shift](),
        pretrained=True,
        logit_indices=tuple(index for _, index in data.IMAGENETTE_CLASSES.values()),
        licence=data.DATASETS["imagenette"].licence,
        citation=data.DATASETS["imagenette"].citation,
        note="part of the pictures come from ImageNet's training set, so the clean accuracy is flattered",
    )


def _imagenette1k(shift: str) -> Task:
    return replace(
        _imagenette(shift),
        name=f"imagenette1k-{shift}",
        source="imagenette1k",
        class_names=tuple(str(index) for index in range(1000)),
        load=load_imagenette1k,
        logit_indices=None,
        note="all 1,000 logits, pictures of ten classes: what learns from labels also learns which ten these are",
    )


def _cifar10(shift: str) -> Task:
    return Task(
        name=f"cifar10-{shift}",
        family="cameras",
        source="cifar10",
        target=shift,
        class_names=_CIFAR10_CLASSES,
        image_shape=(3, 32, 32),
        backbone="resnet20",
        recipe=Recipe(source_steps=8000, steps=2000, batch_size=128, flip=True, crop=4),
        protocols=(OFFICIAL,),
        load=load_cifar10,
        datasets=("cifar10",),
        camera=CAMERAS[shift](),
        licence=data.DATASETS["cifar10"].licence,
        citation=data.DATASETS["cifar10"].citation,
        note="the source model learns from the undistorted training pictures",
    )


def _pacs_photo(shift: str) -> Task:
    return Task(
        name=f"pacs-photo-{shift}",
        family="cameras",
        source="photo",
        target=shift,
        class_names=data.PACS.class_names,
        image_shape=(3, 224, 224),
        backbone="resnet18",
        recipe=Recipe(source_steps=1500, source_lr=1e-4, steps=2000, batch_size=32, flip=True, crop=16),
        protocols=(data.HOLDOUT,),
        load=load_pacs_photo,
        datasets=("pacs",),
        camera=CAMERAS[shift](),
        licence=data.DATASETS["pacs"].licence,
        citation=data.DATASETS["pacs"].citation,
        note="the source model learns from the undistorted photos of the same 80 %",
    )


_FAMILIES: tuple[Callable[[str], Task], ...] = (_imagenette, _imagenette1k, _cifar10, _pacs_photo)

TASKS = tuple(make(shift) for make in _FAMILIES for shift in CAMERAS)
