"""Norm only: fine-tuning of the norms' scales and shifts alone.

Jonathan Frankle, David J. Schwab, Ari S. Morcos: Training BatchNorm and Only BatchNorm: On the Expressive Power of
Random Features in CNNs, ICLR 2021, arXiv:2003.00152.

    min over every gamma, beta of  CE(f(x_t), y_t)

Batch, layer and group norms. Batch norm is in training mode: it learns the target's statistics, too. Adam; the best
checkpoint by the labelled target validation images. Departs from the paper, which trains on random features, in
starting from the source-trained model.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from dabench.core import Needs, NotApplicable, Reach, between, register
from dabench.nn import freeze, unfreeze


@register(needs=Needs.TARGET_IMAGES | Needs.TARGET_LABELS, paper="Frankle et al., ICLR 2021", reach=Reach.BACKBONE)
@dataclass(frozen=True, kw_only=True)
class NormOnly:
    lr: float = between(1e-3, 1e-6, 1.0, log=True)

    def adapt(self, model, target_data):
        freeze(model)
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.LayerNorm | nn.GroupNorm):
                unfreeze(module)
        affine = [weight for weight in model.parameters() if weight.requires_grad]
        if not affine:
            raise NotApplicable("the backbone has no norm to learn; choose one that has (--backbone lenet_bn)")
        optimizer = torch.optim.Adam(affine, lr=self.lr)
        for batch in target_data.batches(model):
            batch.minimise(cross_entropy(model(batch.target_images), batch.target_labels), optimizer)
        return target_data.best_checkpoint(model)
