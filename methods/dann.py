"""DANN: features from which a critic cannot tell the domains, through a gradient reversal layer.

Yaroslav Ganin et al.: Domain-Adversarial Training of Neural Networks, JMLR 17, 2016, arXiv:1505.07818.

    min over features, head  of  CE(source) - lambda L_d      max over them, min over the critic:  L_d
    lambda = 2 / (1 + exp(-10 p)) - 1     lr = lr_0 / (1 + 10 p)^0.75     p: progress over the whole run

L_d is the binary cross-entropy of the critic on half a batch from each domain. Lambda scales only what reaches the
features, so the critic learns at full weight. Batch norm sees both halves as one batch. Departs from the paper
in starting from the source-trained model, unless --start says otherwise. `dropout` and `l2`, which the paper has not,
are `nogrl`'s, for a comparison in which the two differ by their losses and the schedule of the rate alone.
"""

from dataclasses import dataclass
from math import exp

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, register
from dabench.nn import DomainCritic, anneal, domain_loss, reverse_gradient


@register(needs=Needs.SOURCE | Needs.TARGET_IMAGES, paper="Ganin et al., JMLR 2016")
@dataclass(frozen=True, kw_only=True)
class DANN:
    lr: float = between(0.01, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    hidden: int = between(500, 1, 8192)
    dropout: float = between(0.0, 0.0, 0.95)
    l2: float = between(0.0, 0.0, 1.0)

    def adapt(self, model, target_data):
        critic = DomainCritic(model.feature_dim, self.hidden, self.dropout).to(target_data.device)
        fully_connected = [*model.head.parameters(), *critic.parameters()]
        groups = [{"params": model.backbone.parameters()}, {"params": fully_connected, "weight_decay": 2 * self.l2}]
        optimizer = torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum)
        for batch in target_data.batches(model):
            anneal(optimizer, batch.progress)
            strength = 2 / (1 + exp(-10 * batch.progress)) - 1
            images = torch.cat([batch.source_images, batch.target_images])
            source, target = model.features(images).chunk(2)
            classification = cross_entropy(model.head(source), batch.source_labels)
            domain = domain_loss(critic(reverse_gradient(source, strength)), critic(reverse_gradient(target, strength)))
            losses = {"classification": classification, "domain": domain}
            batch.minimise(classification + domain, optimizer, losses=losses)
        return model
