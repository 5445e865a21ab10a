"""VisDA-2017: renderings of twelve kinds of objects against photographs of them."""

from __future__ import annotations

from dabench import data
from dabench.core import Recipe, Task

_FACTS = data.DATASETS["visda2017"]

TASKS = (
    Task(
        name="visda-synthetic-real",
        family="visda",
        source="synthetic",
        target="real",
        class_names=data.RELEASES["visda2017"].class_names,
        image_shape=(3, 224, 224),
        backbone="resnet101",
        recipe=Recipe(source_steps=5000, source_lr=1e-4, steps=10_000, batch_size=32, flip=True, crop=16),
        protocols=(data.HOLDOUT, data.TRANSDUCTIVE),
        load=data.load_domain_folders,
        datasets=("visda2017",),
        class_mean=True,
        licence=_FACTS.licence,
        citation=_FACTS.citation,
        note="accuracy is the mean over classes, as the challenge scores; papers adapt and score on all target images "
        "(transductive)",
    ),
)
