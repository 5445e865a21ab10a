"""EATA: entropy is minimised on sure and new test images alone, and weights that matter to the source hardly move.

Shuaicheng Niu, Jiaxiang Wu, Yifan Zhang, Yaofo Chen, Shijian Zheng, Peilin Zhao, Mingkui Tan: Efficient Test-Time
Model Adaptation without Forgetting, ICML 2022, arXiv:2204.02610.

    min over every gamma, beta of  mean over the chosen of  exp(.4 ln C - H) H + fisher * sum F (theta - theta_0)^2
    chosen: H < .4 ln C, and |cos(p, mean p of those chosen before)| < distance     F: mean squared gradient of H's
    pseudo-label cross-entropy on 2,000 source images

The answer is the output from before the update, and every image is answered. Batch norm takes the statistics of the
batch. A batch without a chosen image updates nothing. Needs source images for F: a setting of its own; `eta` does
without. Defaults are the paper's for CIFAR-10 (fisher 1, distance .4); ImageNet's are 2,000 and .05.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from dabench.core import Needs, Reach, between, register
from dabench.nn import entropy_of_sure_and_new, norms_of_the_batch

FISHER_IMAGES = 2000


@register(needs=Needs.TEST_STREAM | Needs.SOURCE, paper="Niu et al., ICML 2022", reach=Reach.BACKBONE)
@dataclass(frozen=True, kw_only=True)
class EATA:
    lr: float = between(1e-3, 1e-6, 1.0, log=True)
    margin: float = between(0.4, 0.0, 1.0)
    distance: float = between(0.4, 0.0, 1.0)
    fisher: float = between(1.0, 0.0, 1e5)

    def adapt(self, model, target_data):
        affine = norms_of_the_batch(model)
        importance = fisher_information(model, affine, target_data.source_batches(64))
        return Stream(model, affine, importance, self)


def fisher_information(model, affine, batches):
    """The mean squared gradient of each affine weight, for the model's own answers on source images."""
    total, seen = [torch.zeros_like(weight) for weight in affine], 0
    for count, (images, _) in enumerate(batches, start=1):
        logits = model(images)
        gradients = torch.autograd.grad(cross_entropy(logits, logits.argmax(1)), affine)
        total = [mean + (gradient.square() - mean) / count for mean, gradient in zip(total, gradients, strict=True)]
        seen += len(images)
        if seen >= FISHER_IMAGES:
            break
    return total


class Stream(nn.Module):
    """A model that learns from the sure and new images of each batch it answers."""

    def __init__(self, model, affine, importance, settings):
        super().__init__()
        self.model, self.affine, self.importance, self.settings = model, affine, importance, settings
        self.start = [weight.detach().clone() for weight in affine]
        self.optimizer = torch.optim.Adam(affine, lr=settings.lr)
        self.seen = None

    @torch.enable_grad()
    def forward(self, images):
        logits = self.model(images)
        loss, self.seen = entropy_of_sure_and_new(logits, self.seen, self.settings.margin, self.settings.distance)
        if loss is not None:
            drift = zip(self.importance, self.affine, self.start, strict=True)
            anchor = sum((fisher * (now - before).square()).sum() for fisher, now, before in drift)
            self.optimizer.zero_grad(set_to_none=True)
            (loss + self.settings.fisher * anchor).backward()
            self.optimizer.step()
        return logits.detach()
