"""MCD: two heads that disagree on the target find what lies outside the source; the features then make them agree.

Kuniaki Saito, Kohei Watanabe, Yoshitaka Ushiku, Tatsuya Harada: Maximum Classifier Discrepancy for Unsupervised Domain
Adaptation, CVPR 2018, arXiv:1712.02560.

    A  min over features, heads    CE_1(source) + CE_2(source)
    B  min over heads              CE_1(source) + CE_2(source) - mean |p_1(t) - p_2(t)|
    C  min over features, `k` times                              mean |p_1(t) - p_2(t)|

One step of the budget is A, B and C together: 2 + k optimizer steps, which the row counts. The first head starts from
the source model's and is the one that answers (fixed beforehand, not the better one on the test images); the second
starts at random. Batch norm sees half a batch from each domain as one batch. Departs from the paper in starting from
the source-trained model, and in SGD for features and heads alike.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, register


@register(needs=Needs.SOURCE | Needs.TARGET_IMAGES, paper="Saito et al., CVPR 2018")
@dataclass(frozen=True, kw_only=True)
class MCD:
    lr: float = between(0.003, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    k: int = between(4, 1, 20)

    def adapt(self, model, target_data):
        first, second = model.head, deepcopy(model.head)
        second.reset_parameters()
        features = torch.optim.SGD(model.backbone.parameters(), lr=self.lr, momentum=self.momentum)
        heads = torch.optim.SGD([*first.parameters(), *second.parameters()], lr=self.lr, momentum=self.momentum)

        def losses(batch):
            """The classification loss of both heads on the source, and how far they differ on the target."""
            source, target = model.features(torch.cat([batch.source_images, batch.target_images])).chunk(2)
            classification = sum(cross_entropy(head(source), batch.source_labels) for head in (first, second))
            discrepancy = (first(target).softmax(1) - second(target).softmax(1)).abs().mean()
            return {"classification": classification, "discrepancy": discrepancy}

        for batch in target_data.batches(model):
            found = losses(batch)
            batch.minimise(found["classification"], features, heads, losses=found)
            found = losses(batch)
            batch.minimise(found["classification"] - found["discrepancy"], heads)
            for _ in range(self.k):
                batch.minimise(losses(batch)["discrepancy"], features)
        return model
