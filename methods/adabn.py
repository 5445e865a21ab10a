"""AdaBN: every batch norm's mean and variance recomputed on the unlabelled target images.

Yanghao Li, Naiyan Wang, Jianping Shi, Xiaodi Hou, Jiaying Liu: Adaptive Batch Normalization for practical domain
adaptation, Pattern Recognition 80, 2018, arXiv:1603.04779.

    mu, sigma^2  <-  averages over all target training images, each of equal weight; gamma and beta stay

No gradient, one pass. A backbone without batch norm is refused: there is nothing to adapt. So is a single image: where
a map has one value, it has no variance.
"""

from dataclasses import dataclass

import torch

from dabench.core import Needs, NotApplicable, Reach, register
from dabench.nn import batch_norms


@register(needs=Needs.TARGET_IMAGES, paper="Li et al., Pattern Recognition 2018", reach=Reach.BACKBONE)
@dataclass(frozen=True, kw_only=True)
class AdaBN:
    @torch.no_grad()
    def adapt(self, model, target_data):
        norms = batch_norms(model)
        count = target_data.num_target
        if count < 2:
            raise NotApplicable("adabn needs two target images or more, since one has no variance")
        model.eval()
        for norm in norms:
            norm.reset_running_stats()
            norm.train()
        # No batch of a single image is left over.
        batch_size = next(size for size in range(256, 1, -1) if count % size != 1)
        seen = 0
        for images in target_data.target_images(batch_size):
            seen += len(images)
            for norm in norms:
                norm.momentum = len(images) / seen  # the weight of this batch in the average over all so far
            model(images)
        return model
