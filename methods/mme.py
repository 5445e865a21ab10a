"""MME: a cosine head drifts towards the unlabelled target by maximising its entropy, and the features minimise it.

Kuniaki Saito, Donghyun Kim, Stan Sclaroff, Trevor Darrell, Kate Saenko: Semi-supervised Domain Adaptation via Minimax
Entropy, ICCV 2019, arXiv:1904.06487.

    A  min over all weights     CE(source and labelled target)
    B  min over the features, max over the head     weight * mean H(p)     on the unlabelled rest of the target
    p = softmax(W u / T)     u: features of unit length

One step of the budget is A and B: two optimizer steps, which the row counts. B is one descent through a gradient
reversal between features and head. W starts from the rows of the source's head at unit length. SGD with Nesterov's
momentum, the features at a tenth of the head's rate, annealed. Batch norm sees source and labelled target as one batch,
the unlabelled as another. The best checkpoint by the labelled target validation images. Departs from the paper in
starting from the source-trained model, and in as many unlabelled images a batch as of either other kind (twice there).
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear, normalize

from dabench.core import Needs, between, register
from dabench.nn import anneal, entropy, reverse_gradient


@register(
    needs=Needs.SOURCE | Needs.TARGET_IMAGES | Needs.TARGET_LABELS | Needs.UNLABELLED_REST,
    paper="Saito et al., ICCV 2019",
)
@dataclass(frozen=True, kw_only=True)
class MME:
    lr: float = between(0.01, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    weight_decay: float = between(5e-4, 0.0, 0.1)
    weight: float = between(0.1, 1e-3, 10.0, log=True)
    temperature: float = between(0.05, 0.01, 1.0, log=True)

    def adapt(self, model, target_data):
        model.head = CosineHead(model.head.weight, self.temperature)
        groups = [{"params": model.backbone.parameters(), "lr": self.lr / 10}, {"params": model.head.parameters()}]
        optimizer = torch.optim.SGD(
            groups, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay, nesterov=self.momentum > 0
        )
        for batch in target_data.batches(model):
            anneal(optimizer, batch.progress)
            images = torch.cat([batch.source_images, batch.target_images])
            labels = torch.cat([batch.source_labels, batch.target_labels])
            classification = cross_entropy(model(images), labels)
            batch.minimise(classification, optimizer, losses={"classification": classification})
            features = reverse_gradient(model.features(batch.unlabelled_images), 1.0)
            uncertainty = entropy(model.head(features)).mean()
            batch.minimise(-self.weight * uncertainty, optimizer, losses={"entropy": uncertainty})
        return target_data.best_checkpoint(model)


class CosineHead(nn.Module):
    """Logits (batch, classes) that are products of W with features at unit length, over a temperature."""

    def __init__(self, weight, temperature):
        super().__init__()
        self.weight = nn.Parameter(normalize(weight.detach()))
        self.temperature = temperature

    def forward(self, features):
        return linear(normalize(features), self.weight) / self.temperature
