"""What tells two domains apart, and by that brings them together: critics, and distances of distributions."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus


class DomainCritic(nn.Sequential):
    """Tells source from target by features: (batch, feature_dim) to one logit each (batch,), positive for source."""

    def __init__(self, feature_dim: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__(
            nn.Linear(feature_dim, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, 1),
            nn.Flatten(0),
        )


class JointFeatures(nn.Module):
    """Features times predictions: (batch, feature_dim) and (batch, classes) to (batch, width).

    All products where these are 4,096 at most; else `width` = 1,024 random ones, fixed from the start, whose inner
    products are those of all in expectation (Long et al., NeurIPS 2018).
    """

    of_features: Tensor
    of_predictions: Tensor

    def __init__(self, feature_dim: int, num_classes: int) -> None:
        super().__init__()
        every = feature_dim * num_classes
        self.width = every if every <= 4096 else 1024
        if self.width != every:
            self.register_buffer("of_features", torch.randn(feature_dim, self.width))
            self.register_buffer("of_predictions", torch.randn(num_classes, self.width))

    def forward(self, features: Tensor, predictions: Tensor) -> Tensor:
        if hasattr(self, "of_features"):
            return (features @ self.of_features) * (predictions @ self.of_predictions) / math.sqrt(self.width)
        return (predictions[:, :, None] * features[:, None, :]).flatten(1)


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, features: Tensor, scale: float) -> Tensor:
        context.scale = scale
        return features.view_as(features)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -context.scale * gradient, None


def reverse_gradient(features: Tensor, scale: float) -> Tensor:
    """The features as they are; on the way back their gradient times `-scale` (Ganin & Lempitsky, ICML 2015)."""
    return cast(Tensor, _ReverseGradient.apply(features, scale))


def domain_loss(source: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of the critic's logits, (batch,) each: source is 1, target is 0."""
    return cross_entropy_of(source, True) / 2 + cross_entropy_of(target, False) / 2


def cross_entropy_of(logits: Tensor, truth: bool) -> Tensor:
    """Mean binary cross-entropy of logits (batch,) that all have the same label."""
    return softplus(-logits if truth else logits).mean()


def coral(source: Tensor, target: Tensor) -> Tensor:
    """Squared distance of the covariances over 4 d^2, of (batch, d) each (Sun & Saenko, ECCV workshops 2016)."""
    difference = source.T.cov() - target.T.cov()
    return difference.square().sum() / (4 * source.shape[1] ** 2)


def squared_distances(points: Tensor) -> Tensor:
    """Between all pairs, (n, n), of points (n, d)."""
    norms = points.square().sum(1)
    return (norms[:, None] + norms - 2 * points @ points.T).clamp_min(0)


def gaussian_kernels(points: Tensor) -> Tensor:
    """The sum of five Gaussian kernels between all pairs, (n, n), of points (n, d).

    Their variances are 2^-3 ... 2^1 times the mean squared distance of two different points, held constant
    for the gradient (Long et al., ICML 2015).
    """
    squared = squared_distances(points)
    count = len(points)
    mean = squared.detach().sum().clamp_min(1e-12) / (count * (count - 1))
    return torch.stack([(-squared / (2 * mean * 2.0**k)).exp() for k in range(-3, 2)]).sum(0)


def mmd(kernel: Tensor) -> Tensor:
    """Squared maximum mean discrepancy from a kernel between all pairs, half of the points from each domain."""
    half = len(kernel) // 2
    return kernel[:half, :half].mean() + kernel[half:, half:].mean() - 2 * kernel[:half, half:].mean()
