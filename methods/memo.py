"""MEMO: for each test image alone, the mean prediction over its views is made sure, and then all is forgotten.

Marvin Zhang, Sergey Levine, Chelsea Finn: MEMO: Test Time Robustness via Adaptation and Augmentation, NeurIPS 2022,
arXiv:2110.09506.

    one SGD step over all weights on  H(mean p over `views` views of the image)     the answer: the image after the step

Every image starts from the source model, in batches of any size: it costs a step of its own. Batch norm mixes the
source's statistics with those of the views by 1/17 (the paper's prior of 16 images); layer and group norms act as ever.
Rate as in the paper's CIFAR-10 experiments. Departs from the paper in the views: `dabench.nn.strong` for AugMix.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call

from dabench.core import Needs, Reach, between, register
from dabench.nn import freeze, mix_batch_statistics, strong


@register(needs=Needs.TEST_STREAM, paper="Zhang et al., NeurIPS 2022", reach=Reach.PIXELS)
@dataclass(frozen=True, kw_only=True)
class MEMO:
    lr: float = between(0.005, 1e-6, 1.0, log=True)
    views: int = between(32, 1, 256)
    alpha: float = between(0.0588, 0.0, 1.0)

    def adapt(self, model, target_data):
        for norm in freeze(model).modules():
            if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                mix_batch_statistics(norm, self.alpha)
        return Stream(model.requires_grad_(True), self)


class Stream(nn.Module):
    """A model that takes one step for each image and answers with the weights it leads to."""

    def __init__(self, model, settings):
        super().__init__()
        self.model, self.settings = model, settings

    def forward(self, images):
        return torch.cat([self.answer(image) for image in images.split(1)])

    @torch.enable_grad()
    def answer(self, image):
        """Logits (1, classes) of one image (1, channels, height, width)."""
        weights = dict(self.model.named_parameters())
        loss = marginal_entropy(self.model(strong(image.expand(self.settings.views, -1, -1, -1))))
        gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        with torch.no_grad():
            moved = {
                name: weight if gradient is None else weight - self.settings.lr * gradient
                for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
            }
            return functional_call(self.model, moved, (image,))


def marginal_entropy(logits):
    """The entropy of the mean prediction of logits (n, classes)."""
    mean = logits.log_softmax(1).logsumexp(0) - torch.tensor(len(logits)).log()
    return -(mean.exp() * mean).sum()
