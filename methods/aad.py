"""AaD: predictions attract those of the nearest images in feature space and disperse from the rest of the batch.

Shiqi Yang, Yaxing Wang, Kai Wang, Shangling Jui, Joost van de Weijer: Attracting and Dispersing: A Simple Approach for
Source-free Domain Adaptation, NeurIPS 2022, arXiv:2205.04183.

    min over all weights of  mean over i of  - sum over the K neighbours k of  p_i . q_k
                                             + alpha sum over the others j of the batch of  p_i . p_j
    alpha = (1 + 10 p)^-beta     q: predictions as last seen, constant for the gradient     p: progress

Neighbours are by cosine among all target images, whose features and predictions are kept as last seen (at first in
eval mode), without the image itself. Batch norm is in training mode: it learns the target's statistics. K and beta as
for VisDA in the authors' code; Office has 3 and .75. Departs from it in one rate for all weights.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

from dabench.core import Needs, between, register
from dabench.nn import anneal, predict_target


@register(needs=Needs.TARGET_IMAGES, paper="Yang et al., NeurIPS 2022")
@dataclass(frozen=True, kw_only=True)
class AaD:
    lr: float = between(1e-3, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    weight_decay: float = between(1e-3, 0.0, 0.1)
    neighbours: int = between(5, 1, 100)
    beta: float = between(5.0, 0.0, 10.0)

    def adapt(self, model, target_data):
        features, predictions = predict_target(model, target_data)
        features = normalize(features)
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.momentum > 0,
        )
        for batch in target_data.batches(model):
            anneal(optimizer, batch.progress)
            index = batch.target_index.to(target_data.device)
            found = model.features(batch.target_images)
            predicted = model.head(found).softmax(1)
            features[index], predictions[index] = normalize(found).detach(), predicted.detach()
            nearest = (features[index] @ features.T).topk(min(self.neighbours + 1, len(features))).indices[:, 1:]
            attraction = -(predicted[:, None] * predictions[nearest]).sum((1, 2)).mean()
            alike = predicted @ predicted.T
            dispersion = (alike.sum() - alike.trace()) / len(alike)
            alpha = (1 + 10 * batch.progress) ** -self.beta
            losses = {"attraction": attraction, "dispersion": dispersion}
            batch.minimise(attraction + alpha * dispersion, optimizer, losses=losses)
        return model
