"""AdapterNet inside: convolutions that start as the identity, between the layers of the frozen classifier.

Alon Hazan, Yoel Shoshan, Daniel Khapun, Roy Aladjem, Vadim Ratner: AdapterNet - learning input transformation
for domain adaptation, 2018, arXiv:1805.11601, whose future work this is; in the form of Rebuffi, Bilen, Vedaldi:
Learning multiple visual domains with residual adapters, NeurIPS 2017, arXiv:1705.08045.

    min over the adapters A_i of  CE(f(x_t), y_t)     where f's i-th chosen convolution c becomes A_i(c(.))

Each A_i is one 1x1 convolution, weights the identity and bias 0: without a ReLU it is the identity on signed maps
too, so f is unchanged before the first step. They follow every `every`-th convolution, or the last one of a network
that has fewer; three is where the narrow maps of bottleneck blocks are. Every weight of f is frozen, its batch-norm
statistics too. The best checkpoint by the labelled target validation images; Adam with a cosine schedule.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from dabench.core import Needs, Reach, between, register
from dabench.nn import follow_by, freeze, layers_of


@register(
    needs=Needs.TARGET_IMAGES | Needs.TARGET_LABELS,
    paper="future work of Hazan et al., arXiv:1805.11601",
    reach=Reach.BACKBONE,
)
@dataclass(frozen=True, kw_only=True)
class AdapterNetInner:
    lr: float = between(1e-3, 1e-6, 1.0, log=True)
    every: int = between(3, 1, 1000)

    def adapt(self, model, target_data):
        freeze(model)
        convolutions = layers_of(model.backbone, "conv")
        adapters = nn.ModuleList()
        for convolution in convolutions[self.every - 1 :: self.every] or convolutions[-1:]:
            adapter = nn.Conv2d(convolution.out_channels, convolution.out_channels, 1)
            nn.init.dirac_(adapter.weight)
            nn.init.zeros_(adapter.bias)
            adapters.append(adapter.to(target_data.device))
            follow_by(model, convolution, adapters[-1])
        optimizer = torch.optim.Adam(adapters.parameters(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, target_data.steps)
        for batch in target_data.batches(model):
            batch.minimise(cross_entropy(model(batch.target_images), batch.target_labels), optimizer)
            schedule.step()
        return target_data.best_checkpoint(model)
