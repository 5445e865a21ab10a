"""CDAN: a critic that sees features and predictions together, so that each class is aligned with its own.

Mingsheng Long, Zhangjie Cao, Jianmin Wang, Michael I. Jordan: Conditional Adversarial Domain Adaptation, NeurIPS 2018,
arXiv:1705.10667.

    min over features, head  of  CE(source) - lambda L_d      max over them, min over the critic:  L_d
    L_d: binary cross-entropy of the critic on  f x p     p = softmax(head(f)), constant for the gradient
    lambda = 2 / (1 + exp(-10 p)) - 1     lr = lr_0 / (1 + 10 p)^0.75     p: progress over the whole run

f x p holds all products, or 1,024 random ones where all are more than 4,096. `cdan_e` weights images by how sure they
are. Batch norm sees half a batch from each domain as one batch. Departs from the paper in starting from
the source-trained model, and in having no bottleneck before the head.
"""

from dataclasses import dataclass
from math import exp

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, register
from dabench.nn import DomainCritic, JointFeatures, anneal, domain_loss, reverse_gradient


@register(needs=Needs.SOURCE | Needs.TARGET_IMAGES, paper="Long et al., NeurIPS 2018")
@dataclass(frozen=True, kw_only=True)
class CDAN:
    lr: float = between(0.01, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    weight_decay: float = between(1e-3, 0.0, 0.1)
    hidden: int = between(1024, 1, 8192)

    def adapt(self, model, target_data):
        joint = JointFeatures(model.feature_dim, model.num_classes).to(target_data.device)
        critic = DomainCritic(joint.width, self.hidden).to(target_data.device)
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
            logits = model.head(features)
            classification = cross_entropy(logits.chunk(2)[0], batch.source_labels)
            seen = joint(reverse_gradient(features, strength), logits.detach().softmax(1))
            domain = domain_loss(*critic(seen).chunk(2))
            losses = {"classification": classification, "domain": domain}
            batch.minimise(classification + domain, optimizer, losses=losses)
        return model
