"""Deep CORAL: logits whose covariance over the target images is that over the source images.

Baochen Sun, Kate Saenko: Deep CORAL: Correlation Alignment for Deep Domain Adaptation, ECCV workshops 2016,
arXiv:1607.01719.

    min over all weights of  CE(source) + weight * ||C_s - C_t||_F^2 / (4 d^2)     C: covariance of the d logits

`weight` is to let both terms end about equally large. The last layer is the one that the paper aligns. Batch norm
sees half a batch from each domain as one batch. Departs from the paper in starting from the source-trained model, as
every method here does, and in DANN's learning rates, so that the losses alone differ: lr = lr_0 / (1 + 10 p)^0.75.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, NotApplicable, between, register
from dabench.nn import anneal, coral


@register(needs=Needs.SOURCE | Needs.TARGET_IMAGES, paper="Sun & Saenko, ECCV workshops 2016")
@dataclass(frozen=True, kw_only=True)
class DeepCORAL:
    lr: float = between(0.01, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    weight: float = between(0.1, 1e-3, 1e3, log=True)

    def adapt(self, model, target_data):
        optimizer = torch.optim.SGD(model.parameters(), lr=self.lr, momentum=self.momentum)
        for batch in target_data.batches(model):
            anneal(optimizer, batch.progress)
            source, target = model(torch.cat([batch.source_images, batch.target_images])).chunk(2)
            if len(source) < 2:
                raise NotApplicable("one image has no covariance; give the task a batch_size of 2 or more")
            classification = cross_entropy(source, batch.source_labels)
            discrepancy = coral(source, target)
            losses = {"classification": classification, "discrepancy": discrepancy}
            batch.minimise(classification + self.weight * discrepancy, optimizer, losses=losses)
        return model
