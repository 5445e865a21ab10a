"""ImageNet's validation pictures behind simulated cameras; the source is the pretrained network alone."""

from __future__ import annotations

from pathlib import Path

from dabench import data
from dabench.core import Domains, Protocol, Recipe, Task
from dabench.data.cameras import CAMERAS

CAMERA = Protocol(
    name="camera",
    adapts_on="validation pictures 1 to 40,000 (40,001 to 45,000 validate)",
    scores_on="validation pictures 45,001 to 50,000",
)

_ALL = 50_000


def load(task: Task, root: Path, cache: Path, protocol: Protocol) -> Domains:
    """Pictures in the order of their IDs; a partial copy is cut at the same fractions."""
    pictures = data.imagenet(root)
    first, second = round(0.8 * len(pictures)), round(0.9 * len(pictures))
    height = task.image_shape[1]
    resize = round(height * 8 / 7)
    target = data.decoded(pictures, cache, task.image_shape, resize, task.camera)
    return Domains(
        source_train=None,
        source_test=data.decoded(pictures[second:], cache, task.image_shape, resize),
        target_train=target[:first],
        target_validation=target[first:second],
        target_test=target[second:],
        partial="" if len(pictures) == _ALL else f"{len(pictures):,} of {_ALL:,} pictures",
    )


def _task(shift: str) -> Task:
    facts = data.DATASETS["imagenet"]
    return Task(
        name=f"imagenet-{shift}",
        family="imagenet",
        source="imagenet",
        target=shift,
        class_names=tuple(str(index) for index in range(1000)),
        image_shape=(3, 224, 224),
        backbone="vgg16",
        recipe=Recipe(steps=5000, batch_size=32),
        protocols=(CAMERA,),
        load=load,
        datasets=("imagenet",),
        camera=CAMERAS[shift](),
        pretrained=True,
        licence=facts.licence,
        citation=facts.citation,
        note="the source is the pretrained network alone; classes are numbered by sorted WordNet IDs",
    )


TASKS = tuple(_task(shift) for shift in CAMERAS)
