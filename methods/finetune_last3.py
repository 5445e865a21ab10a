"""Fine-tuning of the last 3 layers on the labelled target images; everything before stays frozen.

    min over the last 3 layers of  CE(f(x_t), y_t)

Adam on the target's labels alone, the best checkpoint by the labelled target validation images. What is frozen
keeps its batch-norm statistics. One of the comparisons of Hazan et al., AdapterNet, table 1.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, register
from dabench.nn import freeze, unfreeze


@register(needs=Needs.TARGET_IMAGES | Needs.TARGET_LABELS, paper="fine-tuning; Hazan et al., AdapterNet, table 1")
@dataclass(frozen=True, kw_only=True)
class FinetuneLast3:
    lr: float = between(1e-3, 1e-6, 1.0, log=True)

    def adapt(self, model, target_data):
        freeze(model)
        for layer in model.layers()[-3:]:
            unfreeze(layer)
        trainable = [weight for weight in model.parameters() if weight.requires_grad]
        optimizer = torch.optim.Adam(trainable, lr=self.lr)
        for batch in target_data.batches(model):
            batch.minimise(cross_entropy(model(batch.target_images), batch.target_labels), optimizer)
        return target_data.best_checkpoint(model)
