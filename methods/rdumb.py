"""RDumb: ETA that forgets all it learned every thousand batches; the honest baseline on a long stream.

Ori Press, Steffen Schneider, Matthias Kümmerer, Matthias Bethge: RDumb: A simple approach that questions our progress
in continual test-time adaptation, NeurIPS 2023, arXiv:2306.05401.

    min over every gamma, beta of  mean over the chosen of  exp(margin ln C - H) H     (as `eta`)
    after every `period` batches: weights, optimizer and the mean prediction as at the start

The answer is the output from before the update. Batch norm takes the statistics of the batch; layer and group norms are
adapted likewise. On a stream of no more than `period` batches this is `eta`. Defaults are ETA's for CIFAR-10.
"""

from dataclasses import dataclass

import torch
from torch import nn

from dabench.core import Needs, Reach, between, register
from dabench.nn import entropy_of_sure_and_new, norms_of_the_batch


@register(needs=Needs.TEST_STREAM, paper="Press et al., NeurIPS 2023", reach=Reach.BACKBONE)
@dataclass(frozen=True, kw_only=True)
class RDumb:
    lr: float = between(1e-3, 1e-6, 1.0, log=True)
    margin: float = between(0.4, 0.0, 1.0)
    distance: float = between(0.4, 0.0, 1.0)
    period: int = between(1000, 1, 100_000, log=True)

    def adapt(self, model, target_data):
        return Stream(model, norms_of_the_batch(model), self)


class Stream(nn.Module):
    """A model that learns from the sure and new images of each batch it answers, and now and then forgets."""

    def __init__(self, model, affine, settings):
        super().__init__()
        self.model, self.affine, self.settings = model, affine, settings
        self.start = [weight.detach().clone() for weight in affine]
        self.batches = 0
        self.reset()

    @torch.enable_grad()
    def forward(self, images):
        logits = self.model(images)
        loss, self.seen = entropy_of_sure_and_new(logits, self.seen, self.settings.margin, self.settings.distance)
        if loss is not None:
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        self.batches += 1
        if self.batches % self.settings.period == 0:
            self.reset()
        return logits.detach()

    @torch.no_grad()
    def reset(self):
        """Forgets every update."""
        for weight, start in zip(self.affine, self.start, strict=True):
            weight.copy_(start)
        self.optimizer = torch.optim.Adam(self.affine, lr=self.settings.lr)
        self.seen = None
