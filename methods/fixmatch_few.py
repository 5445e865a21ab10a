"""FixMatch with few labels: the rest of the target learns, in a strong view, what its weak view is sure of.

Kihyuk Sohn, David Berthelot, Chun-Liang Li, Zizhao Zhang, Nicholas Carlini, Ekin D. Cubuk, Alex Kurakin, Han Zhang,
Colin Raffel: FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence, NeurIPS 2020,
arXiv:2001.07685.

    min over all weights of  CE(labelled) + weight * mean over the unlabelled of  [max p(u) > threshold] CE(f(u'), y)
    y = argmax p(u)     u, u': a weak and a strong view of one image     p: constant for the gradient

Images that are not sure count as zero. Labelled, weak and strong images pass as one batch, which batch norm sees as
such. SGD with Nesterov's momentum; the rate falls as cos(7 pi p / 16). The best checkpoint by the labelled target
validation images. Departs from the paper in starting from the source-trained model at a tenth of its rate, in as many
unlabelled images a batch as labelled ones (seven times as many there), and in no moving average of the weights.
"""

from dataclasses import dataclass
from math import cos, pi

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, register
from dabench.nn import strong


@register(needs=Needs.TARGET_IMAGES | Needs.TARGET_LABELS | Needs.UNLABELLED_REST, paper="Sohn et al., NeurIPS 2020")
@dataclass(frozen=True, kw_only=True)
class FixMatchFew:
    lr: float = between(3e-3, 1e-6, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    weight_decay: float = between(5e-4, 0.0, 0.1)
    threshold: float = between(0.95, 0.0, 1.0)
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
            optimizer.param_groups[0]["lr"] = self.lr * cos(7 * pi * batch.progress / 16)
            views = [batch.target_images, batch.unlabelled_images, strong(batch.unlabelled_raw)]
            labelled, weak, seen_otherwise = model(torch.cat(views)).chunk(3)
            certainty, guess = weak.detach().softmax(1).max(1)
            classification = cross_entropy(labelled, batch.target_labels)
            distances = cross_entropy(seen_otherwise, guess, reduction="none")
            consistency = ((certainty > self.threshold) * distances).mean()
            losses = {"classification": classification, "consistency": consistency}
            batch.minimise(classification + self.weight * consistency, optimizer, losses=losses)
        return target_data.best_checkpoint(model)
