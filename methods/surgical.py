"""Surgical fine-tuning: one block of layers learns, the first where the input has changed.

Yoonho Lee, Annie S. Chen, Fahim Tajwar, Ananya Kumar, Huaxiu Yao, Percy Liang, Chelsea Finn: Surgical Fine-Tuning
Improves Adaptation to Distribution Shifts, ICLR 2023, arXiv:2210.11466.

    min over the weights of one block of  CE(f(x_t), y_t)

The layers from input to output, the head among them, are cut into four blocks of about equal length; `block` says
which one learns. In the paper the first is best for corrupted pictures, the middle ones for new subgroups, the last for
new meanings of the classes. The block's batch norms learn the target's statistics, all others keep the source's. Adam;
the best checkpoint by the labelled target validation images. Departs from the paper in cutting by number of layers,
so that any backbone has blocks.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, NotApplicable, Reach, between, one_of, register
from dabench.nn import freeze, unfreeze

BLOCKS = 4


@register(needs=Needs.TARGET_IMAGES | Needs.TARGET_LABELS, paper="Lee et al., ICLR 2023", reach=Reach.BACKBONE)
@dataclass(frozen=True, kw_only=True)
class Surgical:
    lr: float = between(1e-3, 1e-6, 1.0, log=True)
    block: int = one_of(1, 2, 3, 4)

    def adapt(self, model, target_data):
        layers = model.layers()
        first, end = ((len(layers) * edge) // BLOCKS for edge in (self.block - 1, self.block))
        if first == end:
            raise NotApplicable(
                f"the model's {len(layers)} layers are too few for {BLOCKS} blocks; choose another block"
            )
        freeze(model)
        for layer in layers[first:end]:
            unfreeze(layer)
        optimizer = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], lr=self.lr)
        for batch in target_data.batches(model):
            batch.minimise(cross_entropy(model(batch.target_images), batch.target_labels), optimizer)
        return target_data.best_checkpoint(model)
