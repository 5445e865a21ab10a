"""NoGRL: domain adaptation first, prediction later, and a confusion loss in the place of gradient reversal.

Hugo Serieys, Aymen Cherif: Adversarial domain adaptation without gradient reversal layer, ESANN 2020.

    alpha L_y + (1 - alpha) (L_d + L_c)     alpha = 1 / (1 + exp(-gamma p))     p: progress over the whole run

L_y: cross-entropy of the source predictions. L_d: binary cross-entropy of the critic, for the critic alone. L_c: the
same with the domain labels swapped, for the features alone, through a critic held fixed. All three step together.
Dropout and the penalty `l2` times the squared weights are on the fully connected layers, as in the paper. From `dann`
it differs by these losses, by these two defaults (there 0) and by a rate that stays as it is.
"""

from dataclasses import dataclass
from math import exp

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, register
from dabench.nn import DomainCritic, domain_loss


@register(needs=Needs.SOURCE | Needs.TARGET_IMAGES, paper="Serieys & Cherif, ESANN 2020")
@dataclass(frozen=True, kw_only=True)
class NoGRL:
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
            domain = domain_loss(critic(source.detach()), critic(target.detach()))
            critic.requires_grad_(False)
            confusion = domain_loss(critic(target), critic(source))
            critic.requires_grad_(True)
            losses = {"classification": classification, "domain": domain, "confusion": confusion}
            batch.minimise(alpha * classification + (1 - alpha) * (domain + confusion), optimizer, losses=losses)
        return model
