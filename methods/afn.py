"""AFN: features of both domains grow step by step, since what transfers has a large norm.

Ruijia Xu, Guanbin Li, Jihan Yang, Liang Lin: Larger Norm More Transferable: An Adaptive Feature Norm Approach for
Unsupervised Domain Adaptation, ICCV 2019, arXiv:1811.07456.

    min over all weights of  CE(source) + weight * (N(source) + N(target)) + entropy * mean H(target)
    N = mean over the domain of  (|f| - (|f|' + step))^2     |f|': the same norm, constant for the gradient

Between features and head is dropout that keeps the norm in expectation, 1 / sqrt(1 - dropout) where the usual one has
1 / (1 - dropout), so that N means the same in training as in answering; it is gone from the answer. The rate stays, as
in the authors' code. Batch norm sees half a batch from each domain as one batch. Departs from the paper in starting
from the source-trained model, and in acting on the network's own features, without a bottleneck.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy, dropout

from dabench.core import Needs, between, register
from dabench.nn import entropy


@register(needs=Needs.SOURCE | Needs.TARGET_IMAGES, paper="Xu et al., ICCV 2019")
@dataclass(frozen=True, kw_only=True)
class AFN:
    lr: float = between(0.001, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    weight_decay: float = between(5e-4, 0.0, 0.1)
    weight: float = between(0.05, 1e-4, 1e2, log=True)
    step: float = between(1.0, 0.0, 100.0)
    entropy: float = between(0.1, 0.0, 10.0)
    dropout: float = between(0.5, 0.0, 0.95)

    def adapt(self, model, target_data):
        optimizer = torch.optim.SGD(
            model.parameters(), lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay
        )
        for batch in target_data.batches(model):
            features = model.features(torch.cat([batch.source_images, batch.target_images]))
            features = dropout_keeping_norm(features, self.dropout)
            source, target = model.head(features).chunk(2)
            classification = cross_entropy(source, batch.source_labels)
            growth = sum(norm_growth(domain, self.step) for domain in features.chunk(2))
            sure = entropy(target).mean()
            losses = {"classification": classification, "norm": growth, "entropy": sure}
            batch.minimise(classification + self.weight * growth + self.entropy * sure, optimizer, losses=losses)
        return model


def norm_growth(features, step):
    """Mean squared distance of each feature's norm from what it is now plus `step`; features (n, d)."""
    norms = features.norm(dim=1)
    return (norms - (norms.detach() + step)).square().mean()


def dropout_keeping_norm(features, rate):
    """Entries are zero with probability `rate`; the squared norm is the same in expectation."""
    return dropout(features, rate) * (1 - rate) ** 0.5
