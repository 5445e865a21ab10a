"""BSP: DANN whose features lose their largest singular value, so that transfer does not cost discriminability.

Xinyang Chen, Sinan Wang, Mingsheng Long, Jianmin Wang: Transferability vs. Discriminability: Batch Spectral
Penalization for Adversarial Domain Adaptation, ICML 2019.

    min over features, head  of  CE(source) - lambda L_d + weight * (sigma_1(F_s)^2 + sigma_1(F_t)^2)
    max over features, min over the critic  of  L_d     sigma_1: largest singular value of a batch's features (n, d)
    lambda = 2 / (1 + exp(-10 p)) - 1     lr = lr_0 / (1 + 10 p)^0.75     p: progress over the whole run

L_d is the binary cross-entropy of the critic on half a batch from each domain. sigma_1^2 grows with the batch and the
features' size, so `weight` does too. Batch norm sees both halves as one batch. Departs from the paper in starting from
the source-trained model, which stands for the authors' training on the source beforehand.
"""

from dataclasses import dataclass
from math import exp

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, register
from dabench.nn import DomainCritic, anneal, domain_loss, reverse_gradient


@register(needs=Needs.SOURCE | Needs.TARGET_IMAGES, paper="Chen et al., ICML 2019")
@dataclass(frozen=True, kw_only=True)
class BSP:
    lr: float = between(0.003, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    weight_decay: float = between(1e-3, 0.0, 0.1)
    hidden: int = between(1024, 1, 8192)
    weight: float = between(2e-4, 1e-7, 1.0, log=True)

    def adapt(self, model, target_data):
        critic = DomainCritic(model.feature_dim, self.hidden).to(target_data.device)
        optimizer = torch.optim.SGD(
            [*model.parameters(), *critic.parameters()],
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )
        for batch in target_data.batches(model):
            anneal(optimizer, batch.progress)
            strength = 2 / (1 + exp(-10 * batch.progress)) - 1
            features = model.features(torch.cat([batch.source_images, batch.target_images]))
            source, target = features.chunk(2)
            classification = cross_entropy(model.head(source), batch.source_labels)
            domain = domain_loss(*critic(reverse_gradient(features, strength)).chunk(2))
            spectral = largest_singular_value(source).square() + largest_singular_value(target).square()
            losses = {"classification": classification, "domain": domain, "spectral": spectral}
            batch.minimise(classification + domain + self.weight * spectral, optimizer, losses=losses)
        return model


def largest_singular_value(features):
    """Of a batch of features, (n, d)."""
    return torch.linalg.matrix_norm(features, ord=2)
