"""CoTTA: a student follows its own slow teacher's answers averaged over views, and falls back to the source by chance.

Qin Wang, Olga Fink, Luc Van Gool, Dengxin Dai: Continual Test-Time Domain Adaptation, CVPR 2022, arXiv:2203.13591.

    min over all weights of the student of  mean CE(p', p)     p' the teacher's answer, constant for the gradient
    p' over the mean logits of `views` views where the source model's mean confidence on the batch is below `confident`
    teacher <- momentum * teacher + (1 - momentum) * student, then each weight of the student is the source's with
    probability `restore`

The teacher answers. All weights move, and every batch norm takes the statistics of the batch. A batch costs up to
`views` + 3 passes. Adam and confidence as in the paper's CIFAR-10 experiments (.72 for CIFAR-100, .1 for ImageNet).
Departs from the authors' code in the views: `dabench.nn.strong`, each image by its own chance and without flips, for
colour jitter, turn, blur and noise.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import nn

from dabench.core import Needs, Reach, between, register
from dabench.nn import follow, freeze, strong, use_batch_statistics


@register(needs=Needs.TEST_STREAM, paper="Wang et al., CVPR 2022", reach=Reach.PIXELS)
@dataclass(frozen=True, kw_only=True)
class CoTTA:
    lr: float = between(1e-3, 1e-6, 1.0, log=True)
    momentum: float = between(0.999, 0.0, 0.99999)
    restore: float = between(0.01, 0.0, 1.0)
    confident: float = between(0.92, 0.0, 1.0)
    views: int = between(32, 1, 256)

    def adapt(self, model, target_data):
        freeze(model)
        for norm in model.modules():
            if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                use_batch_statistics(norm)
        return Stream(model, self)


class Stream(nn.Module):
    """A teacher that answers and a student that learns from its answers."""

    def __init__(self, model, settings):
        super().__init__()
        self.source, self.teacher, self.settings = model, deepcopy(model), settings
        self.student = deepcopy(model).requires_grad_(True)
        self.optimizer = torch.optim.Adam(self.student.parameters(), lr=settings.lr)

    @torch.enable_grad()
    def forward(self, images):
        answer = self.answer(images)
        loss = -(answer.softmax(1) * self.student(images).log_softmax(1)).sum(1).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        follow(self.teacher, self.student, self.settings.momentum)
        self.restore()
        return answer

    @torch.no_grad()
    def answer(self, images):
        """The teacher's logits, over many views where the source model is unsure of the batch."""
        if self.source(images).softmax(1).amax(1).mean() >= self.settings.confident:
            return self.teacher(images)
        return torch.stack([self.teacher(strong(images)) for _ in range(self.settings.views)]).mean(0)

    @torch.no_grad()
    def restore(self):
        """Gives each weight of the student its source value by chance."""
        for weight, start in zip(self.student.parameters(), self.source.parameters(), strict=True):
            weight.copy_(torch.where(torch.rand_like(weight) < self.settings.restore, start, weight))
