"""Frozen features: a published network's features of a task's images, and what learns on top of them.

Most of a cell's time goes into the backbone. Where it is frozen its features are computed once for each network, images
and image size, and kept; a bottleneck and a head, which train in seconds, then take the classifier's place: `features`
and `head` of the same contract, with features where there were images.
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dabench import data, fingerprints, models
from dabench.core import Domain, Domains, Recipe, Task
from dabench.files import locked, named_errors, replacing
from dabench.nn import Classifier
from dabench.run.images import Pictures, predict
from dabench.run.plan import Environment

_BOTTLENECK = 256  # units, as TLlib's and SHOT's
_SOURCE_LR = 1e-3  # of AdamW: bottleneck and head begin at random, and rates for fine-tuning are too low
_IN_MEMORY = 256_000_000  # bytes; larger arrays stay on disk


def features_of(task: Task, domains: Domains, backbone: str, environment: Environment) -> Domains:
    """The domains with each image's features, float32 (n, feature_dim), in its place.

    Raises MissingData where the backbone's published weights cannot be had.
    """
    computed: dict[int, Domain] = {}
    for field in fields(domains):
        domain = getattr(domains, field.name)
        if isinstance(domain, Domain) and id(domain) not in computed:
            computed[id(domain)] = Domain(_features(task, domain, backbone, environment), domain.labels)
    names = {field.name: id(getattr(domains, field.name)) for field in fields(domains)}
    frozen: dict[str, Any] = {name: computed[given] for name, given in names.items() if given in computed}
    return replace(domains, **frozen)


def recipe_of(recipe: Recipe) -> Recipe:
    """The task's recipe with a source learning rate for layers that begin at random; features are not augmented."""
    return replace(recipe, source_lr=_SOURCE_LR)


def network(feature_dim: int, num_classes: int, device: torch.device) -> Classifier:
    """A bottleneck of 256 units (linear, batch norm, ReLU) and a head, on features (batch, feature_dim).

    Fresh weights from torch's global random state.
    """
    bottleneck = nn.Sequential(nn.Linear(feature_dim, _BOTTLENECK), nn.BatchNorm1d(_BOTTLENECK), nn.ReLU())
    head = nn.Linear(_BOTTLENECK, num_classes)
    return Classifier(bottleneck, head, _BOTTLENECK, num_classes, mean=(0.0,), std=(1.0,)).to(device)


def _features(task: Task, domain: Domain, backbone: str, environment: Environment) -> np.ndarray:
    """The features of one domain, from the cache or computed into it."""
    device = torch.device(environment.device)
    images = replace(domain, labels=np.zeros(len(domain), np.int64))  # features do not depend on labels
    key = fingerprints.digest(
        data.domain_print(images), backbone, repr(task.image_shape), device.type, fingerprints.core_code()
    )
    path = environment.cache / "features" / f"{key}.npy"
    with named_errors(path, "--cache"), locked(path):
        if not path.exists():
            _compute(task, images, backbone, device, path)
    features: np.ndarray = np.load(path, mmap_mode="c" if path.stat().st_size > _IN_MEMORY else None)
    return features


def _compute(task: Task, domain: Domain, backbone: str, device: torch.device, path: Path) -> None:
    """Writes the features beside their place, then moves them."""
    model = models.build(backbone, task.num_classes, task.image_shape, pretrained=True, device=device)
    model.head = nn.Identity()
    features, _ = predict(model, Pictures.of(domain, device, labelled=False))
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, features.cpu().numpy())
