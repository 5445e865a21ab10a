"""Objects of the office in two to four domains: Office-31, Office-Home and Office-Caltech10, every ordered pair."""

from __future__ import annotations

from itertools import permutations

from dabench import data
from dabench.core import Recipe, Task

_STEPS = {"office31": 2000, "office_home": 3000, "office_caltech10": 1000}


def _task(release: data.DomainFolders, source: str, target: str) -> Task:
    facts = data.DATASETS[release.name]

    return Task(
        name=f"{release.name}-{source}-{target}",
        family=release.name if source != data.REST else f"{release.name}-rest",
        source=source,
        target=target,
        class_names=release.class_names,
        image_shape=(3, 224, 224),
        backbone="resnet50",
        recipe=Recipe(
            source_steps=_STEPS[release.name],
            source_lr=1e-4,
            steps=_STEPS[release.name],
            batch_size=32,
            flip=True,
            crop=16,
        ),
        protocols=(data.HOLDOUT, data.TRANSDUCTIVE),
        load=data.load_domain_folders,
        datasets=(release.name,),
        licence=facts.licence,
        citation=facts.citation,
        note="the source model learns from 80 % of each source class, by the same hash of the file names; papers "
        "adapt and score on all target images (transductive)",
    )


TASKS = tuple(
    _task(data.RELEASES[name], source, target)
    for name in _STEPS
    for source, target in (
        *permutations(data.RELEASES[name].domains, 2),
        *((data.REST, target) for target in data.RELEASES[name].domains),
    )
)
