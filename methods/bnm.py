"""BNM: target predictions whose matrix has a large nuclear norm are sure and varied at once.

Shuhao Cui, Shuhui Wang, Junbao Zhuo, Liang Li, Qingming Huang, Qi Tian: Towards Discriminability and Diversity: Batch
Nuclear-norm Maximization under Label Insufficient Situations, CVPR 2020, arXiv:2003.12237.

    min over all weights of  CE(source) - weight * |P|_* / n     P: softmax of the target's batch, (n, classes)
    |P|_*: nuclear norm, the sum of the singular values

|P|_* is at most sqrt(n min(n, classes)), and that where each of so many classes is predicted surely and equally often:
a batch smaller than the classes shows little of their variety. The authors' code takes the mean of the singular values,
which is the paper's term, and ours, times n / min(n, classes). Batch norm sees half a batch from each domain as one
batch. Departs from the paper in starting from the source-trained model.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, register
from dabench.nn import anneal


@register(needs=Needs.SOURCE | Needs.TARGET_IMAGES, paper="Cui et al., CVPR 2020")
@dataclass(frozen=True, kw_only=True)
class BNM:
    lr: float = between(0.001, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    weight_decay: float = between(5e-4, 0.0, 0.1)
    weight: float = between(1.0, 1e-3, 1e3, log=True)

    def adapt(self, model, target_data):
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.momentum > 0,
        )
        for batch in target_data.batches(model):
            anneal(optimizer, batch.progress)
            source, target = model(torch.cat([batch.source_images, batch.target_images])).chunk(2)
            classification = cross_entropy(source, batch.source_labels)
            nuclear = torch.linalg.matrix_norm(target.softmax(1), ord="nuc") / len(target)
            losses = {"classification": classification, "nuclear_norm": nuclear}
            batch.minimise(classification - self.weight * nuclear, optimizer, losses=losses)
        return model
