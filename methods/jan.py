"""JAN: features and predictions together have the same mean embedding in both domains.

Mingsheng Long, Han Zhu, Jianmin Wang, Michael I. Jordan: Deep Transfer Learning with Joint Adaptation Networks,
ICML 2017, arXiv:1605.06636.

    min over all weights of  CE(source) + lambda * weight * JMMD^2
    JMMD^2 = MMD^2 under the kernel  k(features) * exp(-|softmax - softmax'|^2 / 1.68)
    lambda = 2 / (1 + exp(-10 p)) - 1     lr = lr_0 / (1 + 10 p)^0.75     p: progress over the whole run

`dan` with one kernel of both layers in the place of one for each; k is DAN's, 1.68 the width in the authors' code.
Batch norm sees half a batch from each domain as one batch. Departs from the paper in all pairs of a batch instead of
the linear-time estimate, and in starting from the source-trained model.
"""

from dataclasses import dataclass
from math import exp

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, register
from dabench.nn import anneal, gaussian_kernels, mmd, squared_distances


@register(needs=Needs.SOURCE | Needs.TARGET_IMAGES, paper="Long et al., ICML 2017")
@dataclass(frozen=True, kw_only=True)
class JAN:
    lr: float = between(0.01, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    weight: float = between(1.0, 1e-3, 1e3, log=True)

    def adapt(self, model, target_data):
        optimizer = torch.optim.SGD(model.parameters(), lr=self.lr, momentum=self.momentum)
        for batch in target_data.batches(model):
            anneal(optimizer, batch.progress)
            strength = 2 / (1 + exp(-10 * batch.progress)) - 1
            features = model.features(torch.cat([batch.source_images, batch.target_images]))
            logits = model.head(features)
            classification = cross_entropy(logits.chunk(2)[0], batch.source_labels)
            joint = gaussian_kernels(features) * (-squared_distances(logits.softmax(1)) / 1.68).exp()
            discrepancy = mmd(joint)
            losses = {"classification": classification, "discrepancy": discrepancy}
            batch.minimise(classification + strength * self.weight * discrepancy, optimizer, losses=losses)
        return model
