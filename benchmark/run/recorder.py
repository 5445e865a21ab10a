"""Keeps what a method's model answers at each tenth of its budget, and scores it with the labels that only it holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from torch import Tensor

from dabench.core import Diverged, Needs
from dabench.run import validators
from dabench.run.images import Pictures
from dabench.run.task_data import TaskData, labels_of, subset

# A checkpoint looks at one image for every hundred the budget trains on: ten of them take about a tenth of the run.
_TRAINED_PER_SCORED, _FEWEST_SCORED, _MOST_SCORED = 100, 200, 1000


class Recorder:
    """Accuracy and label-free scores at each checkpoint.

    Each looks at about a hundredth of the images that the budget trains on: so many of the target's test images, as
    many to adapt to and half as many of the source's test images, the same at every checkpoint and spread evenly over
    their order. `looked_at` holds them without labels.
    """

    def __init__(self, data: TaskData, needs: Needs, trained_images: int) -> None:
        count = min(max(trained_images // _TRAINED_PER_SCORED, _FEWEST_SCORED), _MOST_SCORED)
        self.tested = _spread(data.target_test, count)
        test = subset(data.target_test, self.tested)
        source = subset(data.source_test, _spread(data.source_test, count // 2))
        self.looked_at: dict[str, Pictures] = {
            "test": replace(test, labels=None),
            "target": replace(subset(data.target_train, _spread(data.target_train, count)), labels=None),
        }
        self._sees_source = bool(needs & Needs.SOURCE)
        if self._sees_source:
            self.looked_at["source"] = replace(source, labels=None)
        self._labels = labels_of(data.target_test)
        self._accuracy_of = data.accuracy
        self._tested_labels, self._source_labels = labels_of(test), labels_of(source)
        self.progress: list[float] = []
        self.loss: list[float] = []
        self.losses: dict[str, list[float]] = {}
        self.scores: dict[str, list[float]] = {}
        self._accuracy: list[float] = []

    def note(self, progress: float, losses: Mapping[str, float], answers: Mapping[str, Tensor]) -> None:
        """Scores one checkpoint's logits on what was looked at, by its names, and `*_features`.

        Raises Diverged where the logits are not finite.
        """
        if not answers["test"].isfinite().all():
            raise Diverged(f"the logits are not finite after {progress:.0%} of the budget; lower lr")
        evidence = validators.Evidence(
            target_logits=answers["target"],
            target_features=answers.get("target_features", validators.NOT_GIVEN),
        )
        if "source" in answers:
            evidence = replace(
                evidence,
                source_logits=answers["source"],
                source_features=answers.get("source_features", validators.NOT_GIVEN),
                source_labels=self._source_labels,
            )
        noted = len(self.progress)
        self.progress.append(progress)
        self.loss.append(losses.get("total", math.nan))
        for name, loss in losses.items():
            if name != "total":
                # A loss that was not given before this checkpoint has none at those.
                self.losses.setdefault(name, [math.nan] * noted).append(loss)
        for mean in self.losses.values():
            mean += [math.nan] * (noted + 1 - len(mean))
        self._accuracy.append(self._accuracy_of(answers["test"], self._tested_labels))
        for name, value in validators.score_all(evidence, may_see_source=self._sees_source).items():
            self.scores.setdefault(name, []).append(value)

    def accuracy_given(self, logits: Tensor) -> list[float]:
        """Each checkpoint's accuracy on all test images, estimated with the returned model's logits on them.

        A control variate: a checkpoint differs from the returned model by what it differs on the images looked at.
        """
        on_tested = self._accuracy_of(logits[self.tested], self._tested_labels)
        moved = self._accuracy_of(logits, self._labels) - on_tested
        return [min(max(accuracy + moved, 0.0), 1.0) for accuracy in self._accuracy]


def _spread(pictures: Pictures, count: int) -> np.ndarray:
    """Indices of at most `count` of the pictures, spread evenly over their order."""
    return np.linspace(0, len(pictures) - 1, min(count, len(pictures))).astype(np.int64)
