"""DAN: the last layers' outputs have the same mean embedding in both domains, under many Gaussian kernels at once.

Mingsheng Long, Yue Cao, Jianmin Wang, Michael I. Jordan: Learning Transferable Features with Deep Adaptation Networks,
ICML 2015, arXiv:1502.02791.

    min over all weights of  CE(source) + weight * (MMD^2(features) + MMD^2(logits))
    MMD^2 = mean k(s, s') + mean k(t, t') - 2 mean k(s, t)     lr = lr_0 / (1 + 10 p)^0.75

k: the sum of Gaussians whose variances are 2^-3 ... 2^1 times the batch's mean squared distance, without gradient.
Batch norm sees half a batch from each domain as one batch. Departs from the paper in kernels of equal weight instead
of learned ones, in all pairs of a batch instead of the linear-time estimate, and in starting from the source-trained
model.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, register
from dabench.nn import anneal, gaussian_kernels, mmd


@register(needs=Needs.SOURCE | Needs.TARGET_IMAGES, paper="Long et al., ICML 2015")
@dataclass(frozen=True, kw_only=True)
class DAN:
    lr: float = between(0.01, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    weight: float = between(1.0, 1e-3, 1e3, log=True)

    def adapt(self, model, target_data):
        optimizer = torch.optim.SGD(model.parameters(), lr=self.lr, momentum=self.momentum)
        for batch in target_data.batches(model):
            anneal(optimizer, batch.progress)
            features = model.features(torch.cat([batch.source_images, batch.target_images]))
            logits = model.head(features)
            classification = cross_entropy(logits.chunk(2)[0], batch.source_labels)
            discrepancy = mmd(gaussian_kernels(features)) + mmd(gaussian_kernels(logits))
            losses = {"classification": classification, "discrepancy": discrepancy}
            batch.minimise(classification + self.weight * discrepancy, optimizer, losses=losses)
        return model
