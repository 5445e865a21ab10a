"""SHOT-IM: the source's head stays; the features move until target predictions are sure and varied.

Jian Liang, Dapeng Hu, Jiashi Feng: Do We Really Need to Access the Source Data? Source Hypothesis Transfer for
Unsupervised Domain Adaptation, ICML 2020, arXiv:2002.08546.

    min over the features of  mean H(p) - H(mean p)     p = softmax(f(x_t)), H: entropy

`shot` without its pseudo-labels, the paper's own ablation. SGD with Nesterov's momentum, annealed. Batch norm is in
training mode: it learns the target's statistics. Departs from the paper in the source model, which is this harness's:
no label smoothing, no weight normalisation of the head, no bottleneck.
"""

from dataclasses import dataclass

import torch

from dabench.core import Needs, between, register
from dabench.nn import anneal, diversity, entropy


@register(needs=Needs.TARGET_IMAGES, paper="Liang et al., ICML 2020")
@dataclass(frozen=True, kw_only=True)
class SHOTIM:
    lr: float = between(0.01, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    weight_decay: float = between(1e-3, 0.0, 0.1)

    def adapt(self, model, target_data):
        model.head.requires_grad_(False)
        optimizer = torch.optim.SGD(
            model.backbone.parameters(),
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.momentum > 0,
        )
        for batch in target_data.batches(model):
            anneal(optimizer, batch.progress)
            logits = model(batch.target_images)
            sure, varied = entropy(logits).mean(), diversity(logits)
            batch.minimise(sure - varied, optimizer, losses={"entropy": sure, "diversity": varied})
        model.head.requires_grad_(True)
        return model
