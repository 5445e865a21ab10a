"""MDD: a second head agrees with the first on the source and departs from it on the target, which the features undo.

Yuchen Zhang, Tianle Liu, Mingsheng Long, Michael I. Jordan: Bridging Theory and Algorithm for Domain Adaptation,
ICML 2019, arXiv:1904.05801.

    min over features, head  of  CE(source) - lambda D      max over them, min over the second head:  D
    D = gamma CE(f'(s), argmax f(s)) - log(1 - p'(t)[argmax f(t)])     p' = softmax f'
    lambda = strength * (2 / (1 + exp(-10 p)) - 1)     lr = lr_0 / (1 + 10 p)^0.75     p: progress over the whole run

`gamma` is the margin's exponent (the paper's exp of rho). Under the log is 1 - p' + 1e-6, at most 1. Lambda scales only
what reaches the features. The second head has one hidden layer and starts at random, the first is the source model's.
Batch norm sees half a batch from each domain as one batch. Departs from the paper in starting from the source-trained
model, in having no bottleneck before the heads, and in lambda's schedule: the authors' counts steps, whatever the run's
length.
"""

from dataclasses import dataclass
from math import exp

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, register
from dabench.nn import anneal, reverse_gradient


@register(needs=Needs.SOURCE | Needs.TARGET_IMAGES, paper="Zhang et al., ICML 2019")
@dataclass(frozen=True, kw_only=True)
class MDD:
    lr: float = between(0.004, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    weight_decay: float = between(5e-4, 0.0, 0.1)
    gamma: float = between(4.0, 1.0, 32.0, log=True)
    strength: float = between(0.1, 1e-3, 10.0, log=True)
    hidden: int = between(1024, 1, 8192)
    dropout: float = between(0.5, 0.0, 0.95)

    def adapt(self, model, target_data):
        second = nn.Sequential(
            nn.Linear(model.feature_dim, self.hidden),
            nn.ReLU(),
            nn.Dropout(self.dropout),
            nn.Linear(self.hidden, model.num_classes),
        ).to(target_data.device)
        optimizer = torch.optim.SGD(
            [*model.parameters(), *second.parameters()],
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.momentum > 0,
        )
        for batch in target_data.batches(model):
            anneal(optimizer, batch.progress)
            strength = self.strength * (2 / (1 + exp(-10 * batch.progress)) - 1)
            features = model.features(torch.cat([batch.source_images, batch.target_images]))
            logits = model.head(features)
            classification = cross_entropy(logits.chunk(2)[0], batch.source_labels)
            disparity = margin_disparity(logits, second(reverse_gradient(features, strength)), self.gamma)
            losses = {"classification": classification, "disparity": disparity}
            batch.minimise(classification + disparity, optimizer, losses=losses)
        return model


def margin_disparity(logits, second, gamma):
    """What the second head minimises and the features maximise; logits (2n, classes) of both heads, source first."""
    source, target = logits.argmax(1).chunk(2)
    second_source, second_target = second.chunk(2)
    elsewhere = 1 - second_target.softmax(1).gather(1, target[:, None])
    return gamma * cross_entropy(second_source, source) - (elsewhere + 1e-6).clamp_max(1).log().mean()
