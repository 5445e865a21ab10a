"""ImageNet's validation pictures behind simulated cameras; the source is the pretrained network alone."""

from __future__ import annotations

from dabench import data
from dabench.core import Protocol, Recipe, Task
from dabench.data.cameras import CAMERAS

CAMERA = Protocol(
    name="camera",
    adapts_on="validation pictures 1 to 40,000 (40,001 to 45,000 validate)",
    scores_on="validation pictures 45,001 to 50,000",
)

FOLDS = Protocol(
    name="five-folds",
    adapts_on="70 % of the validation pictures there are (10 % validate), by the fold that the seed names",
    scores_on="a fifth of them; five seeds score each picture once",
    folds=5,
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
        protocols=(CAMERA, FOLDS),
        load=data.load_imagenet,
        datasets=("imagenet",),
        camera=CAMERAS[shift](),
        pretrained=True,
        licence=facts.licence,
        citation=facts.citation,
        note="the source is the pretrained network alone; classes are numbered by sorted WordNet IDs",
    )


TASKS = tuple(_task(shift) for shift in CAMERAS)
