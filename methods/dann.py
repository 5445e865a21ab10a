"""DANN: features from which a critic cannot tell the domains, through a gradient reversal layer.

Yaroslav Ganin et al.: Domain-Adversarial Training of Neural Networks, JMLR 17, 2016, arXiv:1505.07818.

    min over features, head  of  CE(source) - lambda L_d      max over them, min over the critic:  L_d
    lambda = 2 / (1 + exp(-10 p)) - 1     lr = lr_0 / (1 + 10 p)^0.75     p: progress over the whole run

L_d is the binary cross-entropy of the critic on half a batch from each domain. Lambda scales only what reaches the
features, so the critic learns at full weight. Batch norm sees both halves as one batch. Departs from the paper
in starting from the source-trained model, as every method here does.
"""

from dataclasses import dataclass
from math import exp

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, register
from dabench.nn import DomainCritic, domain_loss, reverse_gradient


@register(needs=Needs.SOURCE | Needs.TARGET_IMAGES, paper="Ganin et al., JMLR 2016")
@dataclass(frozen=True, kw_only=True)
class DANN:
    lr: float = between(0.01, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    hidden: int = between(500, 1, 8192)

    def adapt(self, model, target_data):
        critic = DomainCritic(model.feature_dim, self.hidden).to(target_data.device)
        weights = [*model.parameters(), *critic.parameters()]
        optimizer = torch.optim.SGD(weights, lr=self.lr, momentum=self.momentum)
        for batch in target_data.batches(model):
            for group in optimizer.param_groups:
                group["lr"] = self.lr / (1 + 10 * batch.progress) ** 0.75
            strength = 2 / (1 + exp(-10 * batch.progress)) - 1
            images = torch.cat([batch.source_images, batch.target_images])
            source, target = model.features(images).chunk(2)
            prediction = cross_entropy(model.head(source), batch.source_labels)
            domain = domain_loss(critic(reverse_gradient(source, strength)), critic(reverse_gradient(target, strength)))
            batch.minimise(prediction + domain, optimizer)
        return model
