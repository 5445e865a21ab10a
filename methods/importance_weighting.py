"""Importance weighting: source images count as much more as the target is likelier to hold their like.

Hidetoshi Shimodaira: Improving predictive inference under covariate shift, Journal of Statistical Planning and
Inference 90, 2000; weights from a classifier after Bickel, Brückner, Scheffer, ICML 2007.

    min over all weights of  mean over the source of  w(x) CE(f(x), y)
    w = (1 - d) / d * n_s / n_t     d = P(source | x)     lr = lr_0 / (1 + 10 p)^0.75

d is a logistic regression on the source model's features, calibrated on the quarter of the images that it was not
fitted to. w is divided by its mean over all source images, then cut at `clip`. Sound only where the source covers the
target: `effective_sample_size`, (sum w)^2 / sum w^2, on the returned model says how many source images are left, near
n_s where the domains look alike, a handful where they do not overlap. Batch norm sees source images alone.
"""

from copy import deepcopy
from dataclasses import dataclass
from math import log

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn.functional import cross_entropy

from dabench.core import Needs, NotApplicable, between, register
from dabench.nn import anneal, freeze


@register(needs=Needs.SOURCE | Needs.TARGET_IMAGES, paper="Shimodaira 2000; Bickel et al., ICML 2007")
@dataclass(frozen=True, kw_only=True)
class ImportanceWeighting:
    lr: float = between(0.01, 1e-5, 1.0, log=True)
    momentum: float = between(0.9, 0.0, 0.999)
    clip: float = between(20.0, 1.0, 1e4, log=True)
    c: float = between(0.01, 1e-5, 1e3, log=True)  # of the domain classifier: the inverse strength of its l2 penalty

    def adapt(self, model, target_data):
        frozen = freeze(deepcopy(model))
        source = torch.cat([frozen.features(images) for images, _ in target_data.source_batches()])
        target = torch.cat([frozen.features(images) for images in target_data.target_images()])
        log_ratio = fit_log_ratio(source, target, self.c)
        log_mean = log_ratio(source).logsumexp(0) - log(len(source))
        weights = (log_ratio(source) - log_mean).exp().clamp_max(self.clip)
        model.effective_sample_size = (weights.sum() ** 2 / weights.square().sum()).item()
        optimizer = torch.optim.SGD(model.parameters(), lr=self.lr, momentum=self.momentum)
        for batch in target_data.batches(model):
            anneal(optimizer, batch.progress)
            weight = (log_ratio(frozen.features(batch.source_images)) - log_mean).exp().clamp_max(self.clip)
            losses = cross_entropy(model(batch.source_images), batch.source_labels, reduction="none")
            batch.minimise((weight * losses).mean(), optimizer)
        return model


def fit_log_ratio(source, target, c):
    """A map from features (n, d) to log p_target / p_source, (n,), fitted to three in four and calibrated on the rest.

    Both regressions are linear in the standardised features, and so is what they make together. Raises NotApplicable
    for fewer than two images of a domain.
    """
    if min(len(source), len(target)) < 2:
        raise NotApplicable("importance weighting needs two images of each domain: one to fit to, one to calibrate on")
    features = torch.cat([source, target])
    mean, std = features.mean(0), features.std(0).clamp_min(1e-6)
    points = ((features - mean) / std).cpu().numpy()
    is_target = np.arange(len(points)) >= len(source)
    # A quarter of each domain: of a few target images, a quarter of all might hold none.
    held_out = np.concatenate([np.random.permutation(len(domain)) % 4 == 0 for domain in (source, target)])
    fitted = LogisticRegression(C=c, max_iter=1000).fit(points[~held_out], is_target[~held_out])
    scores = fitted.decision_function(points)[:, None]
    calibrated = LogisticRegression().fit(scores[held_out], is_target[held_out])
    slope = calibrated.coef_.item() * fitted.coef_[0]
    offset = calibrated.decision_function(fitted.intercept_[:, None]).item()
    prior = log(len(source) / len(target))
    layer = nn.Linear(features.shape[1], 1).requires_grad_(False).to(features)
    layer.weight.copy_(torch.as_tensor(slope).to(features) / std)
    layer.bias.copy_(offset + prior - layer.weight @ mean)
    return nn.Sequential(layer, nn.Flatten(0))
