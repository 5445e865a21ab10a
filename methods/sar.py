"""SAR: entropy is minimised on sure test images at a flat place, and a model that has collapsed starts anew.

Shuaicheng Niu, Jiaxiang Wu, Yifan Zhang, Zhiquan Wen, Yaofo Chen, Peilin Zhao, Mingkui Tan: Towards Stable Test-Time
Adaptation in Dynamic Wild World, ICLR 2023, arXiv:2302.12400.

    min over gamma, beta of  mean H(w + e) over the sure     e = rho g / |g|, g the gradient of mean H(w) over the sure
    sure: H < margin ln C, at w and again at w + e     reset where the loss's moving average falls below `collapsed`

Norms of the last quarter of the network stay as they are (in the paper: the last stage of a ResNet, the last three of
twelve blocks of a ViT); layer and group norms are adapted as batch norms are, which take the statistics of the batch.
The answer is the output from before the update. A batch without a sure image updates nothing; in the authors' code it
makes every weight NaN. Two passes forward and backward a batch.
"""

from dataclasses import dataclass
from math import log

import torch
from torch import nn

from dabench.core import Needs, Reach, between, register
from dabench.nn import entropy, norms_of_the_batch


@register(needs=Needs.TEST_STREAM, paper="Niu et al., ICLR 2023", reach=Reach.BACKBONE)
@dataclass(frozen=True, kw_only=True)
class SAR:
    lr: float = between(1e-3, 1e-6, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    margin: float = between(0.4, 0.0, 1.0)
    rho: float = between(0.05, 0.0, 1.0)
    collapsed: float = between(0.2, 0.0, 10.0)

    def adapt(self, model, target_data):
        return Stream(model, norms_of_the_batch(model, share=0.75), self)


class Stream(nn.Module):
    """A model that learns from the sure images of each batch it answers."""

    def __init__(self, model, affine, settings):
        super().__init__()
        self.model, self.affine, self.settings = model, affine, settings
        self.start = [weight.detach().clone() for weight in affine]
        self.reset()

    @torch.enable_grad()
    def forward(self, images):
        logits = self.model(images)
        limit = self.settings.margin * log(logits.shape[1])
        uncertainty = entropy(logits)
        sure = uncertainty.detach() < limit
        if sure.any():
            before = [weight.detach().clone() for weight in self.affine]
            self.climb(uncertainty[sure].mean())
            above = entropy(self.model(images))[sure]
            above = above[above.detach() < limit]
            gradients = torch.autograd.grad(above.mean(), self.affine) if len(above) else None
            self.put(before)
            if gradients:
                self.descend(gradients, above.mean().item())
        return logits.detach()

    def climb(self, loss):
        """Moves the weights by rho to where the loss is greatest nearby."""
        gradients = torch.autograd.grad(loss, self.affine)
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm() + 1e-12
        self.put(
            [weight + self.settings.rho / norm * slope for weight, slope in zip(self.affine, gradients, strict=True)]
        )

    def descend(self, gradients, loss):
        """Steps along the gradient found above; starts anew where the losses say that the model has collapsed."""
        for weight, gradient in zip(self.affine, gradients, strict=True):
            weight.grad = gradient
        self.optimizer.step()
        self.average = loss if self.average is None else 0.9 * self.average + 0.1 * loss
        if self.average < self.settings.collapsed:
            self.reset()

    def reset(self):
        """Forgets every update."""
        self.put(self.start)
        self.optimizer = torch.optim.SGD(self.affine, lr=self.settings.lr, momentum=self.settings.momentum)
        self.average = None

    @torch.no_grad()
    def put(self, values):
        """Sets the weights."""
        for weight, value in zip(self.affine, values, strict=True):
            weight.copy_(value)
