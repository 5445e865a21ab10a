"""Fine-tuning of every layer on the labelled target images, earlier layers more slowly where one asks for it.

    min over all weights of  CE(f(x_t), y_t)     lr of the layer k places before the last: lr * layer_decay^k

Adam on the target's labels alone, the best checkpoint by the labelled target validation images. Batch norm learns
the target's statistics. The last `reinitialise` layers start from fresh random weights. Weights that belong to no
layer (a position embedding) count as nearest to the input. Practice after Yosinski et al., How transferable are
features in deep neural networks?, NeurIPS 2014, and Howard & Ruder, ULMFiT, ACL 2018 (rates by layer).
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, register


@register(needs=Needs.TARGET_IMAGES | Needs.TARGET_LABELS, paper="fine-tuning; Howard & Ruder, ACL 2018")
@dataclass(frozen=True, kw_only=True)
class FinetuneAll:
    lr: float = between(1e-3, 1e-6, 1.0, log=True)
    layer_decay: float = between(1.0, 0.0, 1.0)
    reinitialise: int = between(0, 0, 1000)  # this many last layers

    def adapt(self, model, target_data):
        from_the_last = model.layers()[::-1]
        for layer in from_the_last[: self.reinitialise]:
            for module in layer:
                module.reset_parameters()
        weights = [list(layer.parameters()) for layer in from_the_last]
        placed = {weight for layer in weights for weight in layer}
        weights.append([weight for weight in model.parameters() if weight not in placed])
        groups = [{"params": layer, "lr": self.lr * self.layer_decay**k} for k, layer in enumerate(weights)]
        optimizer = torch.optim.Adam(groups)
        for batch in target_data.batches(model):
            batch.minimise(cross_entropy(model(batch.target_images), batch.target_labels), optimizer)
        return target_data.best_checkpoint(model)
