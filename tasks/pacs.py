"""PACS: seven classes as art paintings, cartoons, photos and sketches; all twelve ordered pairs, and three to one."""

from __future__ import annotations

from itertools import permutations

from dabench import data
from dabench.core import Recipe, Task


def _task(source: str, target: str) -> Task:
    facts = data.DATASETS["pacs"]
    return Task(
        name=f"pacs-{source}-{target}",
        family="pacs" if source != data.REST else "pacs-rest",
        source=source,
        target=target,
        class_names=data.PACS.class_names,
        image_shape=(3, 224, 224),
        backbone="resnet18",
        recipe=Recipe(source_steps=1500, source_lr=3e-4, steps=2000, batch_size=32, flip=True, crop=16),
        protocols=(data.HOLDOUT, data.TRANSDUCTIVE),
        load=data.load_domain_folders,
        datasets=("pacs",),
        licence=facts.licence,
        citation=facts.citation,
        note="the source model learns from 80 % of each source class, by the same hash of the file names",
    )


_PAIRS = tuple(permutations(data.PACS.domains, 2))

TASKS = tuple(_task(*pair) for pair in (*_PAIRS, *((data.REST, target) for target in data.PACS.domains)))
