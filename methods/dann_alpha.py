"""DANN under NoGRL's schedule: gradient reversal where `nogrl` has its confusion loss, and nothing else changed.

Yaroslav Ganin et al., JMLR 17, 2016, arXiv:1505.07818, under the objective of Serieys & Cherif, ESANN 2020.

    alpha L_y + (1 - alpha) L_d     alpha = 1 / (1 + exp(-gamma p))     p: progress over the whole run

L_y: cross-entropy of the source predictions. L_d: binary cross-entropy of the critic, reversed on its way into the
features. What separates it from `nogrl` is what the confusion loss is worth; what separates it from `dann` is what the
schedule is. Dropout and the penalty `l2` times the squared weights are on the fully connected layers.
"""

from dataclasses import dataclass
from math import exp

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, register
from dabench.nn import DomainCritic, domain_loss, reverse_gradient


@register(needs=Needs.SOURCE | Needs.TARGET_IMAGES, paper="Ganin et al., JMLR 2016; Serieys & Cherif, ESANN 2020")
@dataclass(frozen=True, kw_only=True)
class DANNAlpha:
    lr: float = between(0.01, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    hidden: int = between(500, 1, 8192)
    gamma: float = between(10.0, 0.0, 100.0)
    dropout: float = between(0.5, 0.0, 0.95)
    l2: float = between(0.01, 0.0, 1.0)

    def adapt(self, model, target_data):
        critic = DomainCritic(model.feature_dim, self.hidden, self.dropout).to(target_data.device)
        fully_connected = [*model.head.parameters(), *critic.parameters()]
        groups = [{"params": model.backbone.parameters()}, {"params": fully_connected, "weight_decay": 2 * self.l2}]
        optimizer = torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum)
        for batch in target_data.batches(model):
            alpha = 1 / (1 + exp(-self.gamma * batch.progress))
            images = torch.cat([batch.source_images, batch.target_images])
            source, target = model.features(images).chunk(2)
            classification = cross_entropy(model.head(source), batch.source_labels)
            domain = domain_loss(critic(reverse_gradient(source, 1.0)), critic(reverse_gradient(target, 1.0)))
            losses = {"classification": classification, "domain": domain}
            batch.minimise(alpha * classification + (1 - alpha) * domain, optimizer, losses=losses)
        return model
