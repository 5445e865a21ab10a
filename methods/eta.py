"""ETA: entropy is minimised on sure and new test images alone; `eata` without its anchor to the source.

Shuaicheng Niu, Jiaxiang Wu, Yifan Zhang, Yaofo Chen, Shijian Zheng, Peilin Zhao, Mingkui Tan: Efficient Test-Time
Model Adaptation without Forgetting, ICML 2022, arXiv:2204.02610.

    min over every gamma, beta of  mean over the chosen of  exp(margin ln C - H) H
    chosen: H < margin ln C, and |cos(p, mean p of those chosen before)| < distance

The answer is the output from before the update, and every image is answered. Batch norm takes the statistics of the
batch; layer and group norms are adapted likewise. A batch without a chosen image updates nothing. Defaults are the
paper's for CIFAR-10 (distance .4, Adam); ImageNet's distance is .05.
"""

from dataclasses import dataclass

import torch
from torch import nn

from dabench.core import Needs, Reach, between, register
from dabench.nn import entropy_of_sure_and_new, norms_of_the_batch


@register(needs=Needs.TEST_STREAM, paper="Niu et al., ICML 2022", reach=Reach.BACKBONE)
@dataclass(frozen=True, kw_only=True)
class ETA:
    lr: float = between(1e-3, 1e-6, 1.0, log=True)
    margin: float = between(0.4, 0.0, 1.0)
    distance: float = between(0.4, 0.0, 1.0)

    def adapt(self, model, target_data):
        return Stream(model, norms_of_the_batch(model), self)


class Stream(nn.Module):
    """A model that learns from the sure and new images of each batch it answers."""

    def __init__(self, model, affine, settings):
        super().__init__()
        self.model, self.settings = model, settings
        self.optimizer = torch.optim.Adam(affine, lr=settings.lr)
        self.seen = None

    @torch.enable_grad()
    def forward(self, images):
        logits = self.model(images)
        loss, self.seen = entropy_of_sure_and_new(logits, self.seen, self.settings.margin, self.settings.distance)
        if loss is not None:
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        return logits.detach()
