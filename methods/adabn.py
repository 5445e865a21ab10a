"""AdaBN: every batch norm's mean and variance recomputed on the unlabelled target images.

Yanghao Li, Naiyan Wang, Jianping Shi, Xiaodi Hou, Jiaying Liu: Adaptive Batch Normalization for practical domain
adaptation, Pattern Recognition 80, 2018, arXiv:1603.04779.

    mu, sigma^2  <-  the cumulative average over all target training images; gamma and beta stay

No gradient, one pass. A backbone without batch norm is refused: there is nothing to adapt.
"""

from dataclasses import dataclass

import torch

from dabench.core import Needs, register
from dabench.nn import batch_norms


@register(needs=Needs.TARGET_IMAGES, paper="Li et al., Pattern Recognition 2018")
@dataclass(frozen=True, kw_only=True)
class AdaBN:
    @torch.no_grad()
    def adapt(self, model, target_data):
        norms = batch_norms(model)
        model.eval()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a cumulative average, every batch of equal weight
            norm.train()
        for images in target_data.target_images():
            model(images)
        return model
