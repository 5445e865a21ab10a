"""Pseudo-labels: beside the source's labels the network learns from its own sure answers on the target.

Dong-Hyun Lee: Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks, ICML
workshop 2013.

    min over all weights of  CE(source) + alpha * mean over t of [max p(t) > threshold] CE(t, argmax p(t))
    alpha = weight * min(1, p / ramp)     p: progress over the whole run

Pseudo-labels are chosen anew at each step, from the prediction that they then teach; images that are not sure count as
zero. Batch norm sees half a batch from each domain as one batch. Departs from the paper, which is of one domain with
few labels and trusts every prediction (threshold 0), in the threshold, in a ramp that begins at once, and in starting
from the source-trained model.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, register
from dabench.nn import anneal


@register(needs=Needs.SOURCE | Needs.TARGET_IMAGES, paper="Lee, ICML workshop 2013")
@dataclass(frozen=True, kw_only=True)
class PseudoLabel:
    lr: float = between(0.003, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    weight_decay: float = between(1e-3, 0.0, 0.1)
    weight: float = between(1.0, 1e-3, 1e2, log=True)
    threshold: float = between(0.9, 0.0, 1.0)
    ramp: float = between(0.5, 0.01, 1.0)

    def adapt(self, model, target_data):
        optimizer = torch.optim.SGD(
            model.parameters(), lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay
        )
        for batch in target_data.batches(model):
            anneal(optimizer, batch.progress)
            source, target = model(torch.cat([batch.source_images, batch.target_images])).chunk(2)
            classification = cross_entropy(source, batch.source_labels)
            sureness, guess = target.detach().softmax(1).max(1)
            pseudo = ((sureness > self.threshold) * cross_entropy(target, guess, reduction="none")).mean()
            losses = {"classification": classification, "pseudo_label": pseudo}
            alpha = self.weight * min(1, batch.progress / self.ramp)
            batch.minimise(classification + alpha * pseudo, optimizer, losses=losses)
        return model
