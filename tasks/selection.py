"""Sample selection bias: faint handwritten digits, from a source that has few of them or none."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dabench.core import Domain, Domains, Protocol, Recipe, Task
from dabench.data import fitted

HOLDOUT = Protocol(
    name="holdout",
    adapts_on="600 of the digits with less ink than the median of their class",
    scores_on="the other such digits",
)
_HEAVY_TEST, _FAINT_TRAIN, _FAINT_SEEN = 150, 600, 60


def load(task: Task, root: Path, cache: Path, protocol: Protocol) -> Domains:
    """Ink is what selects, and inside a class only, so that p(y | x) and the share of each class stay the same."""
    from sklearn.datasets import load_digits

    stored = load_digits()
    images = (stored.images * (255 / 16)).round().astype(np.uint8)[:, None]
    digits = fitted(Domain(images, stored.target.astype(np.int64)), task.image_shape)
    digits = digits[np.random.default_rng(0).permutation(len(digits))]
    ink = digits.images.mean(axis=(1, 2, 3))
    medians = np.array([np.median(ink[digits.labels == label]) for label in range(task.num_classes)])
    faint = ink < medians[digits.labels]
    heavy, light = np.flatnonzero(~faint), np.flatnonzero(faint)
    # The faint digits that a covering source holds are of the ones that adapt, never of those that score.
    seen = light[:_FAINT_SEEN] if task.source == "covered" else light[:0]
    return Domains(
        source_train=digits[np.concatenate([heavy[_HEAVY_TEST:], seen])],
        source_test=digits[heavy[:_HEAVY_TEST]],
        target_train=digits[light[:_FAINT_TRAIN]],
        target_test=digits[light[_FAINT_TRAIN:]],
    )


def _task(source: str, note: str) -> Task:
    return Task(
        name=f"optdigits-{source}",
        family="selection",
        source=source,
        target="faint",
        class_names=tuple("0123456789"),
        image_shape=(1, 16, 16),
        backbone="lenet_bn",
        recipe=Recipe(source_steps=200, steps=200),
        protocols=(HOLDOUT,),
        load=load,
        licence="CC BY 4.0",
        citation="Alpaydin and Kaynak, Optical recognition of handwritten digits, UCI repository 1998",
        note=note,
    )


TASKS = (
    _task("covered", "the source is the digits with more ink and 60 faint ones: it covers the target"),
    _task("uncovered", "the source is the digits with more ink alone: it does not cover the target"),
)
