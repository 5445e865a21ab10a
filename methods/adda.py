"""ADDA: a target encoder learns to give features that a critic takes for the source encoder's.

Eric Tzeng, Judy Hoffman, Kate Saenko, Trevor Darrell: Adversarial Discriminative Domain Adaptation, CVPR 2017,
arXiv:1702.05464.

    min over the critic          of  L_d: binary cross-entropy, F_s(source) is 1, F_t(target) is 0
    min over the target encoder  of  L_c: binary cross-entropy of F_t(target) with the label inverted, 1

Both in turn, once each a step, by Adam. The source encoder F_s stays as it was trained, in eval mode; F_t starts as its
copy and answers with the source's head, which stays too. The source's labels are not used. Batch norm in F_t sees
target images alone. Rate, momentum and the critic's two layers of `hidden` are the authors' for digits. Nothing but the
critic holds F_t to the classes: accuracy may rise and then fall, so look at its checkpoints. Departs from the authors'
code in showing the critic features, where theirs shows it the logits.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch

from dabench.core import Needs, between, register
from dabench.nn import DomainCritic, cross_entropy_of, domain_loss, freeze


@register(needs=Needs.SOURCE | Needs.TARGET_IMAGES, paper="Tzeng et al., CVPR 2017")
@dataclass(frozen=True, kw_only=True)
class ADDA:
    lr: float = between(2e-4, 1e-6, 1.0, log=True)
    momentum: float = between(0.5, 0.0, 0.999)
    hidden: int = between(500, 1, 8192)

    def adapt(self, model, target_data):
        source_model = freeze(deepcopy(model))
        model.head.requires_grad_(False)
        critic = DomainCritic(model.feature_dim, self.hidden).to(target_data.device)
        betas = (self.momentum, 0.999)
        judge = torch.optim.Adam(critic.parameters(), lr=self.lr, betas=betas)
        encoder = torch.optim.Adam(model.backbone.parameters(), lr=self.lr, betas=betas)
        for batch in target_data.batches(model):
            source = source_model.features(batch.source_images)
            target = model.features(batch.target_images)
            domain = domain_loss(critic(source), critic(target.detach()))
            batch.minimise(domain, judge, losses={"domain": domain})
            confusion = cross_entropy_of(critic(target), True)
            batch.minimise(confusion, encoder, losses={"confusion": confusion})
        model.head.requires_grad_(True)
        return model
