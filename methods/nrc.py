"""NRC: predictions agree with those of the neighbours, most with those that are neighbours of each other.

Shiqi Yang, Yaxing Wang, Joost van de Weijer, Luis Herranz, Shangling Jui: Exploiting the Intrinsic Neighborhood
Structure for Source-free Domain Adaptation, NeurIPS 2021, arXiv:2110.04202.

    min over all weights of  mean over i of  - sum over the K neighbours k of  w_ik p_i . q_k
                                             - .1 sum over their KK neighbours m of  p_i . q_m     - H(mean p)
    w_ik = 1 where i is among the KK neighbours of k, else .1     q: predictions as last seen, constant

Neighbours are by cosine among all target images, whose features and predictions are kept as last seen (at first in
eval mode). An image is not its own neighbour, but stays among its neighbours' neighbours, which takes the place of the
paper's self-regularisation, as in the authors' code. There the line that sets the weights of the neighbours'
neighbours overwrites w as well, on VisDA; here it does not. Batch norm is in training mode: it learns the target's
statistics. Departs from the code in one rate for all weights.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

from dabench.core import Needs, between, register
from dabench.nn import anneal, diversity, predict_target

ONE_SIDED = 0.1


@register(needs=Needs.TARGET_IMAGES, paper="Yang et al., NeurIPS 2021")
@dataclass(frozen=True, kw_only=True)
class NRC:
    lr: float = between(1e-3, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    weight_decay: float = between(1e-3, 0.0, 0.1)
    neighbours: int = between(5, 1, 100)
    neighbours_of_each: int = between(5, 1, 100)

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
            logits = model.head(found)
            predicted = logits.softmax(1)
            features[index], predictions[index] = normalize(found).detach(), predicted.detach()
            near, weight, around = neighbourhood(features, index, self.neighbours, self.neighbours_of_each)
            agreement = (weight * (predicted[:, None] * predictions[near]).sum(2)).sum(1).mean()
            expanded = ONE_SIDED * (predicted[:, None, None] * predictions[around]).sum((1, 2, 3)).mean()
            varied = diversity(logits)
            losses = {"neighbours": -agreement, "expanded": -expanded, "diversity": varied}
            batch.minimise(-agreement - expanded - varied, optimizer, losses=losses)
        return model


def neighbourhood(features, index, count, count_of_each):
    """The neighbours (batch, K) of the images at `index`, their weights, and their own neighbours (batch, K, KK).

    Unit features (n, feature_dim); the first neighbour is left out, for it is the image itself.
    """
    near = (features[index] @ features.T).topk(min(count + 1, len(features))).indices[:, 1:]
    around = (features[near] @ features.T).topk(min(count_of_each + 1, len(features))).indices[..., 1:]
    mutual = (around == index[:, None, None]).any(2)
    return near, torch.where(mutual, 1.0, ONE_SIDED), around
