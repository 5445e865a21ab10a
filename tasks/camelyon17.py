"""Camelyon17 of WILDS: tumour in patches of lymph nodes, learnt at three hospitals, adapted to a fourth or fifth."""

from __future__ import annotations

from pathlib import Path

from dabench import data
from dabench.core import Domains, Protocol, Recipe, Task
from dabench.data.camelyon17 import CAMELYON17_CLASSES, camelyon17_hospital, camelyon17_partial, camelyon17_training


def load(task: Task, root: Path, cache: Path, protocol: Protocol) -> Domains:
    shape = task.image_shape
    hospital = camelyon17_hospital(root, int(task.target.removeprefix("hospital")))
    target_train, target_test = data.split(hospital, cache, shape, protocol)
    return Domains(
        data.decoded(camelyon17_training(root, "train"), cache, shape),
        data.decoded(camelyon17_training(root, "id_val"), cache, shape),
        target_train,
        target_test,
        partial=camelyon17_partial(root),
    )


def _task(hospital: int) -> Task:
    facts = data.DATASETS["camelyon17"]
    return Task(
        name=f"camelyon17-hospital{hospital}",
        family="camelyon17",
        source="hospitals1to3",
        target=f"hospital{hospital}",
        class_names=CAMELYON17_CLASSES,
        image_shape=(3, 96, 96),
        backbone="densenet121",
        recipe=Recipe(source_steps=10_000, source_lr=1e-4, steps=5000, batch_size=32, flip=True),
        protocols=(data.HOLDOUT, data.TRANSDUCTIVE),
        load=load,
        datasets=("camelyon17",),
        licence=facts.licence,
        citation=facts.citation,
        note="hospitals as WILDS numbers them: 4 validates there, 5 tests; patches of one slide lie on both sides of "
        "the holdout",
    )


TASKS = (_task(5), _task(4))
