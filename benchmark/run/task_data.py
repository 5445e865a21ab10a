"""A task's domains in the evaluating process, and what of them a method's declaration grants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from dabench import data, registry
from dabench.core import ALL, Domain, Domains, Needs, Stream, Task
from dabench.run import frozen as frozen_features
from dabench.run import metrics, streams
from dabench.run.images import Pictures
from dabench.run.plan import Cell, Environment
from dabench.run.sharing import Shared

_MOST_VALIDATED = 200  # labelled target images a class that choose the checkpoint of a method that sees labels


@dataclass(frozen=True)
class TaskData:
    """A task's domains with all their labels, the test images in the order of the stream, and its `parts`.

    Images stay in the CPU's memory, `shared` by the address at which they begin, so that a method's process maps them.
    """

    task: Task
    source_train: Pictures | None
    source_test: Pictures
    target_train: Pictures
    target_validation: Pictures | None
    target_test: Pictures
    source_fingerprint: str
    partial: str
    parts: tuple[int, ...]
    resets: bool
    shared: Mapping[int, Shared]

    def accuracy(self, logits: Tensor, labels: Tensor) -> float:
        """The task's accuracy, a fraction: over images, or where the task says so the mean over classes."""
        return (metrics.mean_class_accuracy if self.task.class_mean else metrics.accuracy)(logits, labels)


@lru_cache(maxsize=2)
def of_cell(spec: str, protocol: str, image_size: int, stream: str, frozen: str, environment: Environment) -> TaskData:
    """The data of a cell's task, or its features under the backbone `frozen`; the last two tasks are kept."""
    task = registry.sized(registry.task(spec), image_size)
    domains = task.read(environment.data, environment.cache, task.protocol(protocol))
    if frozen:
        domains = frozen_features.features_of(task, domains, frozen, environment)
        task = replace(task, recipe=frozen_features.recipe_of(task.recipe))
    return task_data(task, domains, torch.device(environment.device), streams.parse(stream))


def task_data(task: Task, domains: Domains, device: torch.device, stream: Stream) -> TaskData:
    """What a task has loaded, ready to be handed out; minibatches are made on the device."""
    shared: dict[int, Shared] = {}
    arrival = streams.arrival(stream, domains.target_test.labels, domains.parts)

    def pictures(domain: Domain) -> Pictures:
        images = Shared(domain.images)
        tensor = torch.from_numpy(images.array)
        shared[tensor.data_ptr()] = images
        return Pictures(tensor, torch.as_tensor(domain.labels, dtype=torch.long, device=device), device)

    return TaskData(
        task=task,
        source_train=None if domains.source_train is None else pictures(domains.source_train),
        source_test=pictures(domains.source_test),
        target_train=pictures(domains.target_train),
        target_validation=None if domains.target_validation is None else pictures(domains.target_validation),
        target_test=pictures(domains.target_test[arrival.order]),
        source_fingerprint=data.domain_print(domains.source_train) if domains.source_train else "",
        partial=domains.partial,
        parts=arrival.parts,
        resets=arrival.resets,
        shared=shared,
    )


def grant(needs: Needs, data: TaskData, cell: Cell) -> dict[str, Pictures]:
    """Exactly what the needs declare; the test images are never among it."""
    granted: dict[str, Pictures] = {}
    if needs & Needs.SOURCE and data.source_train is not None:
        granted["source"] = data.source_train
    if not needs & Needs.TARGET_IMAGES:
        return granted
    target = data.target_train
    if cell.target_images != ALL:
        order = np.random.default_rng(cell.seed).permutation(len(target))
        target = subset(target, np.sort(order[: cell.target_images]))
    if needs & Needs.ALL_TARGET_LABELS:
        return granted | {"target": target}
    if not needs & Needs.TARGET_LABELS:
        return granted | {"target": replace(target, labels=None)}
    train, held_out = label_budget(labels_of(target).numpy(), cell.labels, cell.seed)
    if cell.labels == ALL and data.target_validation is not None:
        granted |= {"target": target, "validation": data.target_validation}
    else:
        granted["target"] = subset(target, train)
        if len(held_out):
            granted["validation"] = subset(target, held_out)
    if needs & Needs.UNLABELLED_REST:
        # Where every image is labelled there is no rest: all of them stand in, without their labels.
        rest = np.setdiff1d(np.arange(len(target)), np.concatenate([train, held_out]))
        granted["unlabelled"] = replace(subset(target, rest) if len(rest) else target, labels=None)
    return granted


def label_budget(labels: np.ndarray, per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the labelled images to train on and to validate on: of each class every fifth, up to 200.

    `per_class` images of each class together (ALL for every one), nested: a seed's budget of 3 is part of its
    budget of 10. Budgets below five images a class leave none to validate on.
    """
    chance = np.random.default_rng(seed)
    train, validation = [], []
    for label in np.unique(labels):
        drawn = chance.permutation(np.flatnonzero(labels == label))[: None if per_class == ALL else per_class]
        place = np.arange(len(drawn))
        validates = (place % 5 == 4) & (place < 5 * _MOST_VALIDATED)
        train.append(drawn[~validates])
        validation.append(drawn[validates])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(validation))


def labels_of(pictures: Pictures) -> Tensor:
    """The labels, int64 (n,) on the CPU, of a domain that has them."""
    assert pictures.labels is not None
    return pictures.labels.cpu()


def subset(pictures: Pictures, index: np.ndarray) -> Pictures:
    """The pictures at these indices, a copy."""
    chosen = torch.from_numpy(index)
    labels = None if pictures.labels is None else pictures.labels_at(chosen)
    return replace(pictures, images=pictures.images[chosen.to(pictures.images.device)], labels=labels)
