"""AdapterNet without labels: the shallow network before the frozen classifier learns to make it sure and varied.

Alon Hazan, Yoel Shoshan, Daniel Khapun, Roy Aladjem, Vadim Ratner: AdapterNet - learning input transformation
for domain adaptation, 2018, arXiv:1805.11601, with the objective of Liang, Hu, Feng: Do We Really Need to Access the
Source Data? (SHOT), ICML 2020, arXiv:2002.08546.

    min over the adapter A of  mean H(f(A(x_t))) - weight * H(mean f(A(x_t)))     H: entropy of the softmax

`adapternet` with another loss: confident predictions (first term) that use all the classes (second). A is `depth`
convolutions (1x1) with ReLU between, initialised to the identity. Every weight of f is frozen, its batch-norm
statistics too. A comes off: `adapted.adapter`. No label chooses a checkpoint, so the last one stays.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from dabench.core import Needs, Reach, between, one_of, register
from dabench.nn import InputAdapted, diversity, entropy, freeze


@register(needs=Needs.TARGET_IMAGES, paper="Hazan et al., arXiv:1805.11601", reach=Reach.PIXELS)
@dataclass(frozen=True, kw_only=True)
class AdapterNetUnlabelled:
    lr: float = between(3e-3, 1e-6, 1.0, log=True)
    depth: int = between(5, 1, 20)
    width: int = between(1, 1, 64)  # hidden channels for each image channel
    kernel: int = one_of(1, 3, 5)
    weight: float = between(1.0, 0.0, 10.0)

    def adapt(self, model, target_data):
        channels = model.mean.shape[1]
        sizes = [channels, *[channels * self.width] * (self.depth - 1), channels]
        layers = [nn.Conv2d(a, b, self.kernel, padding="same") for a, b in pairwise(sizes)]
        for layer in layers:
            nn.init.dirac_(layer.weight[:channels])
            nn.init.zeros_(layer.bias)
        between_layers = [module for layer in layers for module in (layer, nn.ReLU())]
        adapter = nn.Sequential(*between_layers[:-1]).to(target_data.device)
        adapted = InputAdapted(adapter, freeze(model))
        optimizer = torch.optim.Adam(adapter.parameters(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, target_data.steps)
        for batch in target_data.batches(adapted):
            logits = adapted(batch.target_images)
            batch.minimise(entropy(logits).mean() - self.weight * diversity(logits), optimizer)
            schedule.step()
        return adapted
