"""LAME: no weight moves; the answers of a batch are drawn together where its images lie close.

Malik Boudiaf, Romain Mueller, Ismail Ben Ayed, Luca Bertinetto: Parameter-free Online Test-time Adaptation, CVPR 2022,
arXiv:2201.05718.

    Y  <-  softmax(log p + K Y)     until the energy sum Y (log Y - log p - K Y) rests, 100 rounds at most
    K_ij = 1 where j is among the `neighbours` nearest of i by normalised features, else 0

Nothing is learned and no state goes from batch to batch; batch norm keeps the source's statistics. It gains where a
batch holds images of few classes (`--stream correlated`), and loses elsewhere. An image alone is answered as the source
model answers it. The logits are log Y.
"""

from dataclasses import dataclass
from math import nan

import torch
from torch import nn
from torch.nn.functional import normalize

from dabench.core import Needs, between, register
from dabench.nn import freeze

ROUNDS = 100


@register(needs=Needs.TEST_STREAM, paper="Boudiaf et al., CVPR 2022")
@dataclass(frozen=True, kw_only=True)
class LAME:
    neighbours: int = between(5, 1, 100)

    def adapt(self, model, target_data):
        return Stream(freeze(model), self.neighbours)


class Stream(nn.Module):
    """A model whose answers to a batch agree where its images are alike."""

    def __init__(self, model, neighbours):
        super().__init__()
        self.model, self.neighbours = model, neighbours

    @torch.no_grad()
    def forward(self, images):
        features = self.model.features(images)
        return agreed(self.model.head(features).log_softmax(1), affinity(features, self.neighbours))


def affinity(features, neighbours):
    """1 where the column is among the nearest neighbours of the row, by cosine; (n, n)."""
    alike = normalize(features) @ normalize(features).T
    alike.fill_diagonal_(-2.0)
    nearest = alike.topk(min(neighbours, len(features) - 1)).indices
    return torch.zeros_like(alike).scatter_(1, nearest, 1.0)


def agreed(log_predictions, kernel):
    """Log-probabilities (n, classes) that minimise LAME's bound."""
    answers, before = log_predictions, nan  # to which no energy is close
    for _ in range(ROUNDS):
        pull = kernel @ answers.exp()
        answers = (log_predictions + pull).log_softmax(1)
        energy = (answers.exp() * (answers - log_predictions - pull)).sum().item()
        if abs(energy - before) <= 1e-8 * abs(before):
            break
        before = energy
    return answers
