"""DeYO: entropy is minimised on test images that are sure, and no longer so when their shape is destroyed.

Jonghyun Lee, Dahuin Jung, Saehyung Lee, Junsung Park, Juhyeon Shin, Uiwon Hwang, Sungroh Yoon: Entropy is not Enough
for Test-Time Adaptation: From the Perspective of Disentangled Factors, ICLR 2024, arXiv:2403.07366.

    min over gamma, beta of  mean over the chosen of  (exp(.4 ln C - H) + exp(d)) H
    chosen: H < margin ln C and d > drop     d = p_k(x) - p_k(x, its 4 x 4 patches shuffled), k = argmax p(x)

The answer is the output from before the update; a batch without a chosen image updates nothing. Norms of the last
quarter of the network stay as they are (in the authors' code: the last stage of a ResNet, the last blocks of a ViT);
layer and group norms are adapted as batch norms are, which take the statistics of the batch. Where sides
are no multiple of 4, the pixels left over stay in place (that code resizes).
"""

from dataclasses import dataclass
from math import log

import torch
from torch import nn
from torch.nn.functional import fold, unfold

from dabench.core import Needs, Reach, between, register
from dabench.nn import entropy, norms_of_the_batch

PATCHES = 4  # along each side


@register(needs=Needs.TEST_STREAM, paper="Lee et al., ICLR 2024", reach=Reach.PIXELS)
@dataclass(frozen=True, kw_only=True)
class DeYO:
    lr: float = between(1e-3, 1e-6, 1.0, log=True)
    margin: float = between(0.5, 0.0, 1.0)
    drop: float = between(0.2, -1.0, 1.0)

    def adapt(self, model, target_data):
        return Stream(model, norms_of_the_batch(model, share=0.75), self)


class Stream(nn.Module):
    """A model that learns from the images of each batch whose shape it looks at."""

    def __init__(self, model, affine, settings):
        super().__init__()
        self.model, self.settings = model, settings
        self.optimizer = torch.optim.Adam(affine, lr=settings.lr)

    @torch.enable_grad()
    def forward(self, images):
        logits = self.model(images)
        uncertainty, classes = entropy(logits), logits.shape[1]
        sure = (uncertainty < self.settings.margin * log(classes)).nonzero()[:, 0]
        if len(sure):
            drop = self.drop(images[sure], logits[sure].detach())
            chosen = sure[drop > self.settings.drop]
            if len(chosen):
                uncertainty = uncertainty[chosen]
                weight = (0.4 * log(classes) - uncertainty.detach()).exp() + drop[drop > self.settings.drop].exp()
                self.optimizer.zero_grad(set_to_none=True)
                (weight * uncertainty).mean().backward()
                self.optimizer.step()
        return logits.detach()

    @torch.no_grad()
    def drop(self, images, logits):
        """How much less probable each image's class is once its patches are shuffled, (n,)."""
        likely = logits.argmax(1, keepdim=True)
        shuffled = self.model(patches_shuffled(images)).softmax(1)
        return (logits.softmax(1).gather(1, likely) - shuffled.gather(1, likely))[:, 0]


def patches_shuffled(images):
    """The images with their 4 x 4 patches in an order of each one's own."""
    height, width = images.shape[2] // PATCHES, images.shape[3] // PATCHES
    patches = unfold(images, (height, width), stride=(height, width))  # (n, pixels of a patch, patches)
    order = torch.rand(len(images), 1, PATCHES**2, device=images.device).argsort(2)
    mixed = patches.gather(2, order.expand_as(patches))
    shuffled = images.clone()
    area = height * PATCHES, width * PATCHES
    shuffled[:, :, : area[0], : area[1]] = fold(mixed, area, (height, width), stride=(height, width))
    return shuffled
