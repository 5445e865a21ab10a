"""What a classifier's answers are worth, measured with labels.

Tensors on one device in, Python floats out; nan where an output is not finite. The global random state is left alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

CALIBRATION_BINS = 15


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """The fraction of images whose largest logit is the label's; logits (n, classes), labels (n,)."""
    if not usable(logits):
        return math.nan
    return (logits.argmax(1) == labels).double().mean().item()


def mean_class_accuracy(logits: Tensor, labels: Tensor) -> float:
    """The mean over the classes that have images of each one's accuracy, a fraction."""
    if not usable(logits):
        return math.nan
    by_class = torch.tensor(per_class_accuracy(logits, labels, logits.shape[1]), dtype=torch.float64)
    return by_class.nanmean().item()


def per_class_accuracy(logits: Tensor, labels: Tensor, num_classes: int) -> list[float]:
    """The accuracy over each class's own images, a fraction; nan for a class without images."""
    if not usable(logits):
        return [math.nan] * num_classes
    hits = torch.bincount(labels[logits.argmax(1) == labels], minlength=num_classes)
    images = torch.bincount(labels, minlength=num_classes)
    return (hits.double() / images).tolist()


def accuracy_over_time(logits: Tensor, labels: Tensor, parts: Sequence[int] = ()) -> list[float]:
    """The accuracy on each part of a stream, in its order; on each tenth of it where there are not several parts."""
    cuts = torch.tensor(parts).cumsum(0)[:-1] if len(parts) > 1 else 10
    pieces = zip(logits.tensor_split(cuts), labels.tensor_split(cuts), strict=True)
    return [accuracy(some, truth) for some, truth in pieces if len(some)]


def nll(logits: Tensor, labels: Tensor) -> float:
    """The mean negative log likelihood of the labels, in nats."""
    if not usable(logits):
        return math.nan
    return cross_entropies(logits, labels).mean().item()


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """The expected calibration error over 15 bins of equal width, a fraction in [0, 1].

    A bin holds the confidences in (low, high]; each bin's gap between accuracy and mean confidence counts by
    its share of the images (Guo et al., ICML 2017).
    """
    if not usable(logits):
        return math.nan
    confidences, predictions = torch.softmax(logits.float(), 1).double().max(1)
    bins = (confidences * CALIBRATION_BINS).ceil().long().clamp(1, CALIBRATION_BINS) - 1
    gaps = (predictions == labels).double() - confidences
    return (F.one_hot(bins, CALIBRATION_BINS).double().T @ gaps).abs().sum().item() / len(labels)


def cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """The negative log likelihood of each label in nats, float64 (n,)."""
    return F.cross_entropy(logits.float(), labels, reduction="none").double()


def usable(values: Tensor, fewest: int = 1) -> bool:
    """Whether there are enough rows, all of them finite."""
    return len(values) >= fewest and bool(torch.isfinite(values).all())
