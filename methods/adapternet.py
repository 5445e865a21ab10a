"""AdapterNet: a shallow network before the frozen classifier learns to give the new camera's pictures back.

Alon Hazan, Yoel Shoshan, Daniel Khapun, Roy Aladjem, Vadim Ratner: AdapterNet - learning input transformation
for domain adaptation, 2018, arXiv:1805.11601.

    min over the adapter A of  CE(f(A(x_t)), y_t)

A is `depth` convolutions (1x1) with ReLU between, channels in = channels out, initialised to the identity: since
images are in [0, 1], ReLU changes nothing and A(x) = x before the first step. Hidden channels beyond the image's
(`width`) start at random, with no way into the picture yet. Every weight of f is frozen, its
batch-norm statistics too. A comes off: `adapted.adapter`. Departs from the paper in choosing the best checkpoint on
the labelled target validation images, and in Adam with a cosine schedule, as the paper names no optimizer.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from dabench.core import Needs, Reach, between, one_of, register
from dabench.nn import InputAdapted, freeze


@register(needs=Needs.TARGET_IMAGES | Needs.TARGET_LABELS, paper="Hazan et al., arXiv:1805.11601", reach=Reach.PIXELS)
@dataclass(frozen=True, kw_only=True)
class AdapterNet:
    lr: float = between(3e-3, 1e-6, 1.0, log=True)
    depth: int = between(5, 1, 20)
    width: int = between(1, 1, 64)  # hidden channels for each image channel
    kernel: int = one_of(1, 3, 5)
    init: str = one_of("identity", "random")

    def adapt(self, model, target_data):
        channels = model.mean.shape[1]
        sizes = [channels, *[channels * self.width] * (self.depth - 1), channels]
        layers = [nn.Conv2d(a, b, self.kernel, padding="same") for a, b in pairwise(sizes)]
        if self.init == "identity":
            for layer in layers:
                nn.init.dirac_(layer.weight[:channels])
                nn.init.zeros_(layer.bias)
        between_layers = [module for layer in layers for module in (layer, nn.ReLU())]
        adapter = nn.Sequential(*between_layers[:-1]).to(target_data.device)
        adapted = InputAdapted(adapter, freeze(model))
        optimizer = torch.optim.Adam(adapter.parameters(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, target_data.steps)
        for batch in target_data.batches(adapted):
            batch.minimise(cross_entropy(adapted(batch.target_images), batch.target_labels), optimizer)
            schedule.step()
        return target_data.best_checkpoint(adapted)
