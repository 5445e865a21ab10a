"""FixMatch: what a weak view of a target image is sure of, a strong view of it has to say too.

Kihyuk Sohn et al.: FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence, NeurIPS 2020,
arXiv:2001.07685.

    min over all weights of  CE(source) + weight * mean over t of [max p > threshold] CE(strong view of t, argmax p)
    p: softmax for the weak view of t

The weak view is the task's own augmentation, the strong one `dabench.nn.strong`. The answer for the weak view is
constant for the gradient; images that are not sure count as zero. Weak view, source and strong view pass one after
another, so that batch norm keeps their statistics apart; the running ones are a mean over all three. Departs from the
paper, which is of one domain with few labels: the source is what is labelled, threshold and rate are those usual for
domain adaptation (.9 and .003 for .95 and .03), and training starts from the source-trained model.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, register
from dabench.nn import anneal, strong


@register(needs=Needs.SOURCE | Needs.TARGET_IMAGES, paper="Sohn et al., NeurIPS 2020")
@dataclass(frozen=True, kw_only=True)
class FixMatch:
    lr: float = between(0.003, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    weight_decay: float = between(1e-3, 0.0, 0.1)
    weight: float = between(1.0, 1e-3, 1e2, log=True)
    threshold: float = between(0.9, 0.0, 1.0)

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
            with torch.no_grad():
                sureness, guess = model(batch.target_images).softmax(1).max(1)
            classification = cross_entropy(model(batch.source_images), batch.source_labels)
            apart = cross_entropy(model(strong(batch.target_raw)), guess, reduction="none")
            consistency = ((sureness > self.threshold) * apart).mean()
            losses = {"classification": classification, "consistency": consistency}
            batch.minimise(classification + self.weight * consistency, optimizer, losses=losses)
        return model
