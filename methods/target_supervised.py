"""The whole network trained on every target label: the ceiling, which no adaptation may expect to reach.

    min over all weights of  CE(f(x_t), y_t)

AdamW from the source model's weights, one cycle. Batch norm learns the target's statistics.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, register


@register(needs=Needs.TARGET_IMAGES | Needs.ALL_TARGET_LABELS, paper="the upper bound")
@dataclass(frozen=True, kw_only=True)
class TargetSupervised:
    lr: float = between(1e-3, 1e-6, 1.0, log=True)

    def adapt(self, model, target_data):
        optimizer = torch.optim.AdamW(model.parameters(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=target_data.steps + 1)
        for batch in target_data.batches(model):
            batch.minimise(cross_entropy(model(batch.target_images), batch.target_labels), optimizer)
            schedule.step()
        return model
