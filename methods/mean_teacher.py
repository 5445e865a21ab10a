"""Self-ensembling: a student agrees, on target images seen otherwise, with the sure answers of its own moving average.

Geoffrey French, Michal Mackiewicz, Mark Fisher: Self-ensembling for visual domain adaptation, ICLR 2018,
arXiv:1706.05208.

    min over the student of  CE(source) + weight * mean over t of [max p'(t') > threshold] |p(t'') - p'(t')|^2
    teacher <- momentum * teacher + (1 - momentum) * student     t', t'': two views of one image     p': the teacher

Source and target pass as separate batches, so that batch norm keeps their statistics apart; the target passes last and
leaves the running ones. The teacher answers in the end. The squared distance is summed over classes, and images that
are not confident count as zero, as in the authors' code. Departs from the paper in starting from the source-trained
model and without its class-balance loss.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, register
from dabench.nn import follow, strong


@register(needs=Needs.SOURCE | Needs.TARGET_IMAGES, paper="French et al., ICLR 2018")
@dataclass(frozen=True, kw_only=True)
class MeanTeacher:
    lr: float = between(1e-3, 1e-6, 1.0, log=True)
    momentum: float = between(0.99, 0.0, 0.99999)
    threshold: float = between(0.968, 0.0, 1.0)
    weight: float = between(3.0, 1e-3, 1e3, log=True)

    def adapt(self, model, target_data):
        teacher = deepcopy(model).requires_grad_(False)
        optimizer = torch.optim.Adam(model.parameters(), lr=self.lr)
        for batch in target_data.batches(teacher):
            classification = cross_entropy(model(batch.source_images), batch.source_labels)
            with torch.no_grad():
                expected = teacher(batch.target_images).softmax(1)
            distance = (model(strong(batch.target_raw)).softmax(1) - expected).square().sum(1)
            consistency = ((expected.amax(1) > self.threshold) * distance).mean()
            losses = {"classification": classification, "consistency": consistency}
            batch.minimise(classification + self.weight * consistency, optimizer, losses=losses)
            follow(teacher, model, self.momentum)
        return teacher.requires_grad_(True)
