"""What predictions alone say: how sure, how varied and how new they are."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import cosine_similarity


def entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of each prediction, (batch,)."""
    return -(logits.softmax(1) * logits.log_softmax(1)).sum(1)


def diversity(logits: Tensor) -> Tensor:
    """Entropy of the mean prediction: high where all classes are predicted."""
    mean = logits.softmax(1).mean(0)
    return -(mean * mean.clamp_min(1e-8).log()).sum()


def entropy_of_sure_and_new(
    logits: Tensor, seen: Tensor | None, margin: float, distance: float
) -> tuple[Tensor | None, Tensor | None]:
    """EATA's weighted entropy of the chosen test images, and the moving mean of chosen predictions (Niu et al., 2022).

    Chosen are the sure, H < margin ln C, that are new, |cos(p, seen)| < distance; each counts exp(margin ln C - H).
    The loss is None where none is chosen. `seen` (classes,) is None before the first.
    """
    uncertainty, limit = entropy(logits), margin * math.log(logits.shape[1])
    predictions = logits.detach().softmax(1)
    chosen = uncertainty.detach() < limit
    if seen is not None:
        chosen &= cosine_similarity(predictions, seen[None]).abs() < distance
    if not chosen.any():
        return None, seen
    weight, mean = (limit - uncertainty[chosen].detach()).exp(), predictions[chosen].mean(0)
    return (weight * uncertainty[chosen]).mean(), mean if seen is None else 0.9 * seen + 0.1 * mean
