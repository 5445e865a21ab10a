"""DomainNet: every ordered pair of its six styles with 345 classes, and of four of them with 126."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

from dabench import data
from dabench.core import Domain, Domains, Protocol, Recipe, Task
from dabench.data.domainnet import DOMAINNET126_CLASSES, DOMAINNET_CLASSES, DOMAINNET_DOMAINS, domainnet

OFFICIAL = Protocol(
    name="official",
    adapts_on="the target's list of training pictures",
    scores_on="the target's list of test pictures",
)


def load(task: Task, root: Path, cache: Path, protocol: Protocol) -> Domains:
    pictures = {
        (domain, split): domainnet(root, domain, split, task.class_names)
        for domain in (task.source, task.target)
        for split in ("train", "test")
    }

    def read(domain: str, split: str) -> Domain:
        return data.decoded(pictures[domain, split], cache, task.image_shape)

    short = [
        f"{len(pictures[domain, split]):,} of {count:,} {domain} pictures to {split}"
        for domain in (task.source, task.target)
        for split, count in zip(("train", "test"), DOMAINNET_DOMAINS[domain], strict=True)
        if task.class_names == DOMAINNET_CLASSES and len(pictures[domain, split]) != count
    ]
    return Domains(
        read(task.source, "train"),
        read(task.source, "test"),
        read(task.target, "train"),
        read(task.target, "test"),
        partial=", ".join(short),
    )


def _task(family: str, class_names: tuple[str, ...], source: str, target: str) -> Task:
    facts = data.DATASETS["domainnet"]
    return Task(
        name=f"{family}-{source}-{target}",
        family=family,
        source=source,
        target=target,
        class_names=class_names,
        image_shape=(3, 224, 224),
        backbone="resnet50",
        recipe=Recipe(source_steps=10_000, source_lr=1e-4, steps=10_000, batch_size=32, flip=True, crop=16),
        protocols=(OFFICIAL,),
        load=load,
        datasets=("domainnet",),
        licence=facts.licence,
        citation=facts.citation,
        note="the cleaned version"
        if family == "domainnet"
        else "the 126 classes of Saito et al. (ICCV 2019) in the official split; papers adapt and score on both lists",
    )


_FOUR = ("clipart", "painting", "real", "sketch")

TASKS = (
    *(_task("domainnet", DOMAINNET_CLASSES, *pair) for pair in permutations(DOMAINNET_DOMAINS, 2)),
    *(_task("domainnet126", DOMAINNET126_CLASSES, *pair) for pair in permutations(_FOUR, 2)),
)
