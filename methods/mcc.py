"""MCC: classes that the target's predictions confuse are pulled apart, with nothing added to the network.

Ying Jin, Ximei Wang, Mingsheng Long, Jianmin Wang: Minimum Class Confusion for Versatile Domain Adaptation, ECCV 2020,
arXiv:1912.03699.

    min over all weights of  CE(source) + weight * sum of the off-diagonal of C / classes
    C = (p w)^T p, its rows divided by their sums     p = softmax(z_t / T)
    w = n (1 + exp(-H(p))) / sum (1 + exp(-H(p)))

The weights w are constant for the gradient. Batch norm sees half a batch from each domain as one batch. T as in the
authors' code (2.5). Departs from the paper in starting from the source-trained model.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, register
from dabench.nn import anneal, entropy


@register(needs=Needs.SOURCE | Needs.TARGET_IMAGES, paper="Jin et al., ECCV 2020")
@dataclass(frozen=True, kw_only=True)
class MCC:
    lr: float = between(0.005, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    weight_decay: float = between(1e-3, 0.0, 0.1)
    weight: float = between(1.0, 1e-3, 1e3, log=True)
    temperature: float = between(2.5, 0.1, 100.0, log=True)

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
            confusion = class_confusion(target / self.temperature)
            losses = {"classification": classification, "confusion": confusion}
            batch.minimise(classification + self.weight * confusion, optimizer, losses=losses)
        return model


def class_confusion(logits):
    """How much of each class's prediction goes to the others, averaged over classes; logits (n, classes)."""
    predictions = logits.softmax(1)
    weights = 1 + (-entropy(logits.detach())).exp()
    weights = weights * len(weights) / weights.sum()
    confusion = (predictions * weights[:, None]).T @ predictions
    confusion = confusion / confusion.sum(1, keepdim=True)
    return (confusion.sum() - confusion.trace()) / len(confusion)
