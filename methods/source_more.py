"""The source model trained further on the source: the control for every method that goes on training there.

    min over all weights of  CE(f(x_s), y_s)

What such a method has over this, it owes to more than its further steps. SGD as in activation_shaping, which is this
file and its maps; the two draw the same batches.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, register


@register(needs=Needs.SOURCE, paper="the control of equal length")
@dataclass(frozen=True, kw_only=True)
class SourceMore:
    lr: float = between(0.01, 1e-6, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)

    def adapt(self, model, target_data):
        optimizer = torch.optim.SGD(model.parameters(), lr=self.lr, momentum=self.momentum)
        for batch in target_data.batches(model):
            batch.minimise(cross_entropy(model(batch.source_images), batch.source_labels), optimizer)
        return model
