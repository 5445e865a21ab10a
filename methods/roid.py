"""ROID: sure and varied test images pull the prediction up, while the weights are pulled back to the source's.

Robert A. Marsden, Mario Döbler, Bin Yang: Universal Test-time Adaptation through Weight Ensembling, Diversity
Weighting, and Prior Correction, WACV 2024, arXiv:2306.00650.

    min over every gamma, beta of  sum over the varied of  w (SLR(p) + SCE(p(view), p)) / batch
    SLR = - sum p log(p / (1 - p)), p at most .99     SCE = the mean of both cross-entropies     w = exp(d c / T)
    d: 1 - cos(p, moving mean of p), c: -H, each scaled to [0, 1] over the batch; varied: d no less than its mean
    then theta <- (1 - pull) theta + pull theta_source     the answer: p times the batch's smoothed mean of p

The answer is the prediction from before the update, its prior corrected. The authors' code multiplies the logits by the
prior instead, where the paper multiplies the probabilities: this follows the paper. Batch norm takes the statistics of
the batch; layer and group norms are adapted likewise. An image alone counts as varied. Departs from the authors' code
in the view too: `dabench.nn.strong`, without flips.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from dabench.core import Needs, Reach, between, register
from dabench.nn import entropy, norms_of_the_batch, strong


@register(needs=Needs.TEST_STREAM, paper="Marsden et al., WACV 2024", reach=Reach.BACKBONE)
@dataclass(frozen=True, kw_only=True)
class ROID:
    lr: float = between(1e-3, 1e-6, 1.0, log=True)
    temperature: float = between(0.333, 0.01, 100.0, log=True)
    pull: float = between(0.01, 0.0, 1.0)

    def adapt(self, model, target_data):
        return Stream(model, norms_of_the_batch(model), target_data.num_classes, self)


class Stream(nn.Module):
    """A model that learns from the sure and varied images of each batch it answers."""

    def __init__(self, model, affine, num_classes, settings):
        super().__init__()
        self.model, self.affine, self.settings = model, affine, settings
        self.start = [weight.detach().clone() for weight in affine]
        self.optimizer = torch.optim.Adam(affine, lr=settings.lr)
        self.mean = torch.full((num_classes,), 1 / num_classes, device=affine[0].device)

    @torch.enable_grad()
    def forward(self, images):
        logits = self.model(images)
        predictions = logits.detach().softmax(1)
        distance = scaled(1 - cosine_similarity(predictions, self.mean[None]))
        weight = (distance * scaled(-entropy(logits.detach())) / self.settings.temperature).exp()
        self.mean = 0.9 * self.mean + 0.1 * predictions.mean(0)
        varied = distance >= distance.mean()
        views = self.model(strong(images[varied]))
        losses = likelihood_ratio(logits[varied]) + symmetric_cross_entropy(views, logits[varied])
        self.optimizer.zero_grad(set_to_none=True)
        ((weight[varied] * losses).sum() / len(images)).backward()
        self.optimizer.step()
        with torch.no_grad():
            for now, source in zip(self.affine, self.start, strict=True):
                now.lerp_(source, self.settings.pull)
        return predictions.log() + smoothed_prior(predictions).log()


def scaled(values):
    """The values moved and stretched to [0, 1]; zeros where all are the same."""
    return (values - values.min()) / (values.max() - values.min()).clamp_min(1e-12)


def likelihood_ratio(logits):
    """The soft likelihood ratio loss of each row."""
    certain = logits.softmax(1).clamp(max=0.99)
    return -(certain * (certain / (1 - certain) + 1e-5).log()).sum(1)


def symmetric_cross_entropy(logits, others):
    """Half the cross-entropy either way, of each row."""
    return (
        -((logits.softmax(1) * others.log_softmax(1)).sum(1) + (others.softmax(1) * logits.log_softmax(1)).sum(1)) / 2
    )


def smoothed_prior(predictions):
    """The mean prediction, the flatter the fewer images it is of."""
    count, classes = predictions.shape
    mean = predictions.mean(0)
    smooth = max(1 / count, 1 / classes) / mean.max()
    return (mean + smooth) / (1 + smooth * classes)
