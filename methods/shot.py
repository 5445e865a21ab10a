"""SHOT: the source's head stays; the features move until target predictions are sure, varied and near their centroids.

Jian Liang, Dapeng Hu, Jiashi Feng: Do We Really Need to Access the Source Data? Source Hypothesis Transfer for
Unsupervised Domain Adaptation, ICML 2020, arXiv:2002.08546.

    min over the features of  mean H(p) - H(mean p) + beta CE(p, pseudo-label)
    pseudo-labels: the nearest centroid, by cosine of [feature, 1]; centroids first of soft, then of these hard labels

Pseudo-labels are taken of all target images at the start of each epoch, in eval mode; training mode is on again after.
A class that no image has is left out of the next centroids, as in the authors' code.
beta is .3 as for objects in the paper (.1 for digits). SGD with Nesterov's momentum, annealed. `shot_im` is the same
without pseudo-labels. Departs from the paper in the source model, which is this harness's: no label smoothing, no
weight normalisation of the head, no bottleneck.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy, normalize, one_hot

from dabench.core import Needs, between, register
from dabench.nn import anneal, diversity, entropy, predict_target


@register(needs=Needs.TARGET_IMAGES, paper="Liang et al., ICML 2020")
@dataclass(frozen=True, kw_only=True)
class SHOT:
    lr: float = between(0.01, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    weight_decay: float = between(1e-3, 0.0, 0.1)
    beta: float = between(0.3, 0.0, 10.0)

    def adapt(self, model, target_data):
        model.head.requires_grad_(False)
        optimizer = torch.optim.SGD(
            model.backbone.parameters(),
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.momentum > 0,
        )
        for batch in target_data.batches(model):
            anneal(optimizer, batch.progress)
            if batch.starts_epoch:
                labels = pseudo_labels(model, target_data)
            logits = model(batch.target_images)
            pseudo = cross_entropy(logits, labels[batch.target_index.to(labels.device)])
            sure, varied = entropy(logits).mean(), diversity(logits)
            losses = {"entropy": sure, "diversity": varied, "pseudo_label": pseudo}
            batch.minimise(sure - varied + self.beta * pseudo, optimizer, losses=losses)
        model.head.requires_grad_(True)
        return model


def pseudo_labels(model, target_data):
    """The class of the nearest centroid for each target image, (n,); leaves the model in training mode."""
    features, soft = predict_target(model, target_data)
    points = normalize(torch.cat([features, torch.ones_like(features[:, :1])], 1))
    labels = soft.argmax(1)
    for _ in range(2):
        present = one_hot(labels, soft.shape[1]).any(0)
        centroids = (soft.T @ points) / soft.sum(0).clamp_min(1e-8)[:, None]
        nearness = (points @ normalize(centroids).T).masked_fill(~present, -torch.inf)
        labels = nearness.argmax(1)
        soft = one_hot(labels, soft.shape[1]).to(soft)
    return labels
