"""BitFit: fine-tuning of the biases alone.

Elad Ben Zaken, Shauli Ravfogel, Yoav Goldberg: BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based
Masked Language-models, ACL 2022, arXiv:2106.10199.

    min over every bias of  CE(f(x_t), y_t)

The biases are those of convolutions, linear maps and the head, and the shifts of the norms; a convolution before a
batch norm often has none of its own. The batch norms keep the source's statistics. Adam; the best checkpoint by the
labelled target validation images. Departs from the paper, written for text, in keeping the head's weights: the
classes are the source's.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, NotApplicable, Reach, between, register
from dabench.nn import freeze


@register(needs=Needs.TARGET_IMAGES | Needs.TARGET_LABELS, paper="Ben Zaken et al., ACL 2022", reach=Reach.BACKBONE)
@dataclass(frozen=True, kw_only=True)
class BitFit:
    lr: float = between(1e-3, 1e-6, 1.0, log=True)

    def adapt(self, model, target_data):
        freeze(model)
        biases = [weight for name, weight in model.named_parameters() if name.rpartition(".")[2] == "bias"]
        if not biases:
            raise NotApplicable("the backbone and its head have no bias to learn; choose another (--backbone lenet)")
        for bias in biases:
            bias.requires_grad_(True)
        optimizer = torch.optim.Adam(biases, lr=self.lr)
        for batch in target_data.batches(model):
            batch.minimise(cross_entropy(model(batch.target_images), batch.target_labels), optimizer)
        return target_data.best_checkpoint(model)
