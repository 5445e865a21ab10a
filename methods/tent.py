"""TENT: each test batch's prediction entropy is minimised by the norms' affine parameters alone.

Dequan Wang, Evan Shelhamer, Shaoteng Liu, Bruno Olshausen, Trevor Darrell: Tent: Fully Test-Time Adaptation by
Entropy Minimization, ICLR 2021, arXiv:2006.10726.

    min over every gamma, beta of  mean H(f(x_t))     one step a batch, statistics from the batch itself

The answer is the output from before the update. The state goes on from batch to batch, or starts anew for each with
`episodic`. Adam as in the paper's CIFAR experiments. Layer and group norms are adapted likewise; a backbone without
any norm is refused.
"""

from dataclasses import dataclass

import torch
from torch import nn

from dabench.core import Needs, Reach, between, one_of, register
from dabench.nn import entropy, norms_of_the_batch


@register(needs=Needs.TEST_STREAM, paper="Wang et al., ICLR 2021", reach=Reach.BACKBONE)
@dataclass(frozen=True, kw_only=True)
class Tent:
    lr: float = between(1e-3, 1e-6, 1.0, log=True)
    episodic: bool = one_of(False, True)

    def adapt(self, model, target_data):
        return Stream(model, norms_of_the_batch(model), self)


class Stream(nn.Module):
    """A model that learns from each batch it answers."""

    def __init__(self, model, affine, settings):
        super().__init__()
        self.model, self.affine, self.episodic = model, affine, settings.episodic
        self.start = [weight.detach().clone() for weight in affine]
        self.optimizer = torch.optim.Adam(affine, lr=settings.lr)
        self.fresh = self.optimizer.state_dict()

    @torch.enable_grad()
    def forward(self, images):
        if self.episodic:
            self.reset()
        logits = self.model(images)
        self.optimizer.zero_grad(set_to_none=True)
        entropy(logits).mean().backward()
        self.optimizer.step()
        return logits.detach()

    @torch.no_grad()
    def reset(self):
        """Forgets every update."""
        for weight, start in zip(self.affine, self.start, strict=True):
            weight.copy_(start)
        self.optimizer.load_state_dict(self.fresh)
