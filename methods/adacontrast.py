"""AdaContrast: strong views learn the neighbours' vote, and are told apart from images that the vote calls otherwise.

Dian Chen, Dequan Wang, Trevor Darrell, Sayna Ebrahimi: Contrastive Test-Time Adaptation, CVPR 2022, arXiv:2204.10377.

    min over all weights of  CE(f(t'), y) + InfoNCE(u(t'), v(t''); T) - H(mean p(t'))
    y = argmax of the mean prediction of the k nearest target images     t', t'': two strong views of t
    InfoNCE: -log of exp(u . v / T) over itself + sum of exp(u . v_j / T) over the queued v_j whose y_j is not y
    u, v: unit features of the model and of its moving average, which follows by `momentum`

The features and predictions that vote are the moving average's of the weak view, those of each image as last seen (at
first the source model's in eval mode). Batch norm is in training mode. The rate falls by a cosine. This is the
authors' offline version, which passes over the target many times; the online one answers in one pass. Departs from it
in a queue that starts empty rather than with noise, votes by image rather than by a queue, and one rate for all.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy, normalize

from dabench.core import Needs, between, register
from dabench.nn import diversity, follow, predict_target, strong


@register(needs=Needs.TARGET_IMAGES, paper="Chen et al., CVPR 2022")
@dataclass(frozen=True, kw_only=True)
class AdaContrast:
    lr: float = between(2e-3, 1e-5, 1.0, log=True)
    momentum: float = between(0.999, 0.0, 0.99999)
    neighbours: int = between(10, 1, 100)
    queue: int = between(16384, 1, 65536)
    temperature: float = between(0.07, 0.01, 1.0, log=True)

    def adapt(self, model, target_data):
        features, predictions = predict_target(model, target_data)
        features = normalize(features)
        teacher = deepcopy(model).requires_grad_(False)
        optimizer = torch.optim.SGD(model.parameters(), lr=self.lr, momentum=0.9, weight_decay=1e-4, nesterov=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, target_data.steps)
        keys = features[:0]
        key_labels = torch.empty(0, dtype=torch.long, device=target_data.device)
        for batch in target_data.batches(model):
            index = batch.target_index.to(target_data.device)
            with torch.no_grad():
                labels = vote(model.features(batch.target_images), features, predictions, self.neighbours)
                follow(teacher, model, self.momentum)
                positive = normalize(teacher.features(strong(batch.target_raw)))
            query = model.features(strong(batch.target_raw))
            logits = model.head(query)
            classification, varied = cross_entropy(logits, labels), diversity(logits)
            others = labels[:, None] != key_labels
            contrast = info_nce(normalize(query), positive, keys, others, self.temperature)
            losses = {"classification": classification, "contrast": contrast, "diversity": varied}
            batch.minimise(classification + contrast - varied, optimizer, losses=losses)
            schedule.step()
            keys, key_labels = (torch.cat([*pair])[: self.queue] for pair in ((positive, keys), (labels, key_labels)))
            with torch.no_grad():
                slow = teacher.features(batch.target_images)
                features[index], predictions[index] = normalize(slow), teacher.head(slow).softmax(1)
        return model


def vote(features, bank, predictions, count):
    """The class, (batch,), that the mean prediction of the nearest of the bank's unit features gives."""
    nearest = (normalize(features) @ bank.T).topk(min(count, len(bank))).indices
    return predictions[nearest].mean(1).argmax(1)


def info_nce(queries, positives, keys, others, temperature):
    """How badly each query tells its positive from the keys that are `others`, (batch, keys), of another class."""
    same = (queries * positives).sum(1, keepdim=True) / temperature
    different = (queries @ keys.T / temperature).masked_fill(~others, -torch.inf)
    logits = torch.cat([same, different], 1)
    return (logits.logsumexp(1) - same[:, 0]).mean()
