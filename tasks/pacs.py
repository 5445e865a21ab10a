"""PACS: seven classes as art paintings, cartoons, photos and sketches; all twelve ordered pairs."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

from dabench import data
from dabench.core import Domains, Protocol, Recipe, Task


def load(task: Task, root: Path, cache: Path, protocol: Protocol) -> Domains:
    source, target = data.pacs(root, task.source), data.pacs(root, task.target)
    source_train, source_test = data.split(source, cache, task.image_shape, data.HOLDOUT)
    target_train, target_test = data.split(target, cache, task.image_shape, protocol)
    return Domains(
        source_train,
        source_test,
        target_train,
        target_test,
        partial=data.pacs_partial(root, task.source, task.target),
    )


def _task(source: str, target: str) -> Task:
    facts = data.DATASETS["pacs"]
    return Task(
        name=f"pacs-{source}-{target}",
        family="pacs",
        source=source,
        target=target,
        class_names=data.PACS_CLASSES,
        image_shape=(3, 224, 224),
        backbone="resnet18",
        recipe=Recipe(source_steps=1500, source_lr=3e-4, steps=2000, batch_size=32, flip=True, crop=16),
        protocols=(data.HOLDOUT, data.TRANSDUCTIVE),
        load=load,
        datasets=("pacs",),
        licence=facts.licence,
        citation=facts.citation,
        note="the source model learns from 80 % of each source class, by the same hash of the file names",
    )


TASKS = tuple(_task(source, target) for source, target in permutations(data.PACS_DOMAINS, 2))
