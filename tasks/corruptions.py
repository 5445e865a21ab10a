"""The 15 corruptions of ImageNet-C on CIFAR-10, imagenette and ImageNet's validation pictures, one by one or all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from dabench import data
from dabench.core import Domain, Domains, Protocol, Recipe, Task
from dabench.data.corruptions import CORRUPTIONS, Corruption, corrupted

OFFICIAL = Protocol(
    name="official",
    adapts_on="the release's training pictures, corrupted",
    scores_on="the release's test pictures, corrupted",
)
IMAGENETTE = Protocol(
    name="official",
    adapts_on="90 % of imagenette's training pictures, corrupted (10 % validate)",
    scores_on="imagenette's validation pictures, corrupted",
)
IMAGENET = Protocol(
    name="official",
    adapts_on="validation pictures 1 to 40,000, corrupted (40,001 to 45,000 validate)",
    scores_on="validation pictures 45,001 to 50,000, corrupted",
)
SEVERITIES = {
    f"severity{severity}": Protocol(
        name=f"severity{severity}",
        adapts_on="the scored pictures, unlabelled",
        scores_on=f"all test pictures under each of the 15 corruptions in turn, at severity {severity}",
        transductive=True,
    )
    for severity in (5, 4, 3, 2, 1)
}
GRADUAL = Protocol(
    name="gradual",
    adapts_on="the scored pictures, unlabelled",
    scores_on="under each of the 15 corruptions in turn, ninths of the test pictures at severity 1-2-3-4-5-4-3-2-1",
    transductive=True,
)
_RISE_AND_FALL = (1, 2, 3, 4, 5, 4, 3, 2, 1)
_Part = Callable[[str, int, slice], Domain]

_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def load_cifar10(task: Task, root: Path, cache: Path, protocol: Protocol) -> Domains:
    """Both splits as they are for the source, corrupted at their own size for the target."""
    train, test = data.cifar10(root, "train"), data.cifar10(root, "test")
    assert isinstance(task.camera, Corruption)
    target_train, target_test = (corrupted(domain, task.camera, cache) for domain in (train, test))
    train, test, target_train, target_test = (
        data.fitted(domain, task.image_shape) for domain in (train, test, target_train, target_test)
    )
    return Domains(train, test, target_train, target_test, partial=data.cifar10_partial(train, test))


def load_together(task: Task, root: Path, cache: Path, protocol: Protocol) -> Domains:
    """The test pictures under each corruption in the official order, made here."""
    test = data.cifar10(root, "test")

    def part(name: str, severity: int, which: slice) -> Domain:
        return corrupted(test[which], Corruption(name, severity), cache)

    return _together(task, root, protocol, part)


def load_released(task: Task, root: Path, cache: Path, protocol: Protocol) -> Domains:
    """The test pictures under each corruption in the official order, from the released files."""

    def part(name: str, severity: int, which: slice) -> Domain:
        return data.cifar10c(root, name, severity)[which]

    return _together(task, root, protocol, part)


def _together(task: Task, root: Path, protocol: Protocol, part: _Part) -> Domains:
    if protocol.name == GRADUAL.name:
        wanted = [
            (name, severity, slice(k, None, 9)) for name in task.shifts for k, severity in enumerate(_RISE_AND_FALL)
        ]
    else:
        wanted = [(name, int(protocol.name.removeprefix("severity")), slice(None)) for name in task.shifts]
    parts = [part(*one) for one in wanted]
    images, labels = (np.concatenate([getattr(one, field) for one in parts]) for field in ("images", "labels"))
    train, test, target = (
        data.fitted(domain, task.image_shape)
        for domain in (data.cifar10(root, "train"), data.cifar10(root, "test"), Domain(images, labels))
    )
    partial = data.cifar10_partial(train, test)
    return Domains(train, test, target, target, partial=partial, parts=tuple(map(len, parts)))


def _imagenette(name: str) -> Task:
    return Task(
        name=f"imagenette-{name}",
        family="corruptions",
        source="imagenette",
        target=name,
        class_names=tuple(label for label, _ in data.IMAGENETTE_CLASSES.values()),
        image_shape=(3, 224, 224),
        backbone="resnet18",
        recipe=Recipe(steps=1000, batch_size=32),
        protocols=(IMAGENETTE,),
        load=data.load_imagenette,
        datasets=("imagenette",),
        camera=Corruption(name),
        pretrained=True,
        logit_indices=tuple(index for _, index in data.IMAGENETTE_CLASSES.values()),
        licence=data.DATASETS["imagenette"].licence,
        citation=data.DATASETS["imagenette"].citation,
        note="part of the pictures come from ImageNet's training set, so the clean accuracy is flattered",
    )


def _imagenet(name: str) -> Task:
    return replace(
        _imagenette(name),
        name=f"imagenet-{name}",
        source="imagenet",
        class_names=tuple(str(index) for index in range(1000)),
        backbone="resnet50",
        recipe=Recipe(steps=5000, batch_size=32),
        protocols=(IMAGENET,),
        load=data.load_imagenet,
        datasets=("imagenet",),
        logit_indices=None,
        licence=data.DATASETS["imagenet"].licence,
        citation=data.DATASETS["imagenet"].citation,
        note="made here, without the JPEG compression of ImageNet-C's files; the source is a pretrained network alone",
    )


def _cifar10(name: str) -> Task:
    return Task(
        name=f"cifar10-{name}",
        family="corruptions",
        source="cifar10",
        target=name,
        class_names=_CLASSES,
        image_shape=(3, 32, 32),
        backbone="resnet20",
        recipe=Recipe(source_steps=8000, steps=2000, batch_size=128, flip=True, crop=4),
        protocols=(OFFICIAL,),
        load=load_cifar10,
        datasets=("cifar10",),
        camera=Corruption(name),
        licence=data.DATASETS["cifar10"].licence,
        citation=data.DATASETS["cifar10"].citation,
        note="made here by CIFAR-10-C's definitions; the source model learns from the undistorted training pictures",
    )


CIFAR10_C = replace(
    _cifar10("fog"),
    name="cifar10-c",
    target="c",
    protocols=(*SEVERITIES.values(), GRADUAL),
    load=load_together,
    camera=None,
    shifts=tuple(CORRUPTIONS),
)
CIFAR10_C_RELEASED = replace(
    CIFAR10_C,
    name="cifar10-c-released",
    target="c-released",
    load=load_released,
    datasets=("cifar10", "cifar10c"),
    citation=data.DATASETS["cifar10c"].citation,
    note="the released files; the source model learns from the undistorted training pictures",
)

TASKS = (
    *(make(name) for make in (_cifar10, _imagenette, _imagenet) for name in CORRUPTIONS),
    CIFAR10_C,
    CIFAR10_C_RELEASED,
)
