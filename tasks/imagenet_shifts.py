"""ImageNet-R, ImageNet-Sketch and ImageNet-V2: a pretrained network meets its classes in other pictures."""

from __future__ import annotations

from pathlib import Path

from dabench import data
from dabench.core import Domains, Protocol, Recipe, Task
from dabench.data.imagenet_shifts import IMAGENET_SHIFTS, ImageNetShift

_SHIFTS = {shift.name: shift for shift in IMAGENET_SHIFTS}


def load(task: Task, root: Path, cache: Path, protocol: Protocol) -> Domains:
    shift, resize = _SHIFTS[task.datasets[-1]], round(task.image_shape[1] * 8 / 7)
    pictures = shift.pictures(root)
    target_train, target_test = data.split(pictures, cache, task.image_shape, protocol, resize=resize)
    return Domains(
        source_train=None,
        source_test=data.decoded(shift.undistorted(root), cache, task.image_shape, resize),
        target_train=target_train,
        target_test=target_test,
        partial="" if len(pictures) == shift.count else f"{len(pictures):,} of {shift.count:,} pictures",
    )


def _task(shift: ImageNetShift) -> Task:
    facts = data.DATASETS[shift.name]
    return Task(
        name=shift.name.replace("_", "-"),
        family="imagenet-shifts",
        source="imagenet",
        target=shift.name.removeprefix("imagenet_"),
        class_names=tuple(str(index) for index in shift.classes),
        image_shape=(3, 224, 224),
        backbone="resnet50",
        recipe=Recipe(steps=5000, batch_size=32),
        protocols=(data.HOLDOUT, data.TRANSDUCTIVE),
        load=load,
        datasets=("imagenet", shift.name),
        pretrained=True,
        logit_indices=shift.classes if len(shift.classes) < 1000 else None,
        licence=facts.licence,
        citation=facts.citation,
        note="the source is the pretrained network alone; its own accuracy is on ImageNet's validation pictures of the "
        "same classes",
    )


TASKS = tuple(_task(shift) for shift in IMAGENET_SHIFTS)
