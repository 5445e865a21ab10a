"""DeepJDOT: each target image is matched with source images like it, and learns their labels and features.

Bharath Bhushan Damodaran, Benjamin Kellenberger, Remi Flamary, Devis Tuia, Nicolas Courty: DeepJDOT: Deep Joint
Distribution Optimal Transport for Unsupervised Domain Adaptation, ECCV 2018, arXiv:1803.10081.

    min over all weights of  CE(source) + sum over i, j of  G_ij (alpha |f(s_i) - f(t_j)|^2 + label CE(t_j, y_i))
    G: the transport plan of least cost that gives each of a batch's n source and n target images the mass 1/n

In turn in each step: the plan, constant for the gradient, then the weights. With equal masses an exact plan matches the
images one to one, so that an assignment solver finds it and the sum is the mean over matched pairs. Batch norm sees
half a batch from each domain as one batch. alpha and `label` (the paper's lambda_t) are the authors' for digits.
Departs from their code in starting from the source-trained model, in the plan's label cost, which is the loss's
cross-entropy (theirs: a squared distance), and in batches that are not balanced by class.
"""

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch.nn.functional import cross_entropy

from dabench.core import Needs, between, register
from dabench.nn import squared_distances


@register(needs=Needs.SOURCE | Needs.TARGET_IMAGES, paper="Damodaran et al., ECCV 2018")
@dataclass(frozen=True, kw_only=True)
class DeepJDOT:
    lr: float = between(1e-4, 1e-6, 1.0, log=True)
    alpha: float = between(1e-3, 1e-6, 10.0, log=True)
    label: float = between(1e-4, 1e-6, 10.0, log=True)

    def adapt(self, model, target_data):
        optimizer = torch.optim.Adam(model.parameters(), lr=self.lr)
        for batch in target_data.batches(model):
            features = model.features(torch.cat([batch.source_images, batch.target_images]))
            source, target = model.head(features).chunk(2)
            classification = cross_entropy(source, batch.source_labels)
            cost = self.cost(features, target, batch.source_labels)
            transport = cost[linear_sum_assignment(cost.detach().cpu())].mean()
            losses = {"classification": classification, "transport": transport}
            batch.minimise(classification + transport, optimizer, losses=losses)
        return model

    def cost(self, features, target, labels):
        """Of matching each source with each target image, (n, n); features (2n, d), target logits (n, classes)."""
        apart = squared_distances(features)[: len(labels), len(labels) :]
        return self.alpha * apart - self.label * target.log_softmax(1).T[labels]
