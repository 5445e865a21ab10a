"""LoRA: beside every linear map a product of two narrow ones learns, and nothing else.

Edward J. Hu, Yelong Shen, Phillip Wallis, Zeyuan Allen-Zhu, Yuanzhi Li, Shean Wang, Lu Wang, Weizhu Chen: LoRA:
Low-Rank Adaptation of Large Language Models, ICLR 2022, arXiv:2106.09685.

    min over all A, B of  CE(f(x_t), y_t)     every chosen W becomes  W + strength B A     A: (rank, in), B: (out, rank)

Chosen are the linear maps, the head too, and the convolutions of 1x1, which are linear maps at each place. A starts at
random and B at 0, so that f is unchanged before the first step. All else is frozen, the batch norms keep the source's
statistics. `strength` is the paper's alpha / rank. Adam; the best checkpoint by the labelled target validation images.
The products stay beside their maps, where the count of learned weights sees them.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from dabench.core import Needs, Reach, between, register
from dabench.nn import freeze


@register(needs=Needs.TARGET_IMAGES | Needs.TARGET_LABELS, paper="Hu et al., ICLR 2022", reach=Reach.BACKBONE)
@dataclass(frozen=True, kw_only=True)
class LoRA:
    lr: float = between(1e-3, 1e-6, 1.0, log=True)
    rank: int = between(4, 1, 256)
    strength: float = between(1.0, 0.01, 100.0, log=True)

    def adapt(self, model, target_data):
        freeze(model)
        for name, module in list(model.named_modules()):
            if is_linear(module):
                parent, _, child = name.rpartition(".")
                setattr(model.get_submodule(parent), child, LowRank(module, self.rank, self.strength))
        model.to(target_data.device)
        optimizer = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], lr=self.lr)
        for batch in target_data.batches(model):
            batch.minimise(cross_entropy(model(batch.target_images), batch.target_labels), optimizer)
        return target_data.best_checkpoint(model)


def is_linear(module):
    """Whether the layer is a linear map, of the whole input or at each place of it."""
    if isinstance(module, nn.Conv2d):
        return module.kernel_size == (1, 1) and module.groups == 1 and module.padding in ((0, 0), "same", "valid")
    return isinstance(module, nn.Linear)


class LowRank(nn.Module):
    """A linear map and, beside it, a product of two narrow ones that starts at zero."""

    def __init__(self, linear, rank, strength):
        super().__init__()
        self.linear, self.strength = linear, strength
        if isinstance(linear, nn.Conv2d):
            self.down = nn.Conv2d(linear.in_channels, rank, 1, stride=linear.stride, bias=False)
            self.up = nn.Conv2d(rank, linear.out_channels, 1, bias=False)
        else:
            self.down = nn.Linear(linear.in_features, rank, bias=False)
            self.up = nn.Linear(rank, linear.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, values):
        return self.linear(values) + self.strength * self.up(self.down(values))
