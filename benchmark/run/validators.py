"""Label-free scores of a checkpoint: they read no target label, so a practitioner may choose by them.

Tensors on one device in, Python floats out; nan where nothing can be computed: outputs that are not finite, too few
images, evidence that is missing. The global random state is left alone.

**A higher score means a better checkpoint**, so losses and risks are negated. Left out on purpose: MixVal (Hu et al.,
NeurIPS 2023) and reverse validation, which need forward passes on mixed images or a second training and thus more than
one pass over the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional as F

from dabench.run.metrics import accuracy, cross_entropies, usable

SND_TEMPERATURE = 0.05
SND_IMAGES = 5_000
RATIO_IMAGES = 5_000
RATIO_COMPONENTS = 64

NOT_GIVEN = torch.empty(0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What one checkpoint says about unlabelled target images and, where granted, held-out source images.

    Features (n, dim), logits (n, classes), labels (n,). `source_train_features` are of source images that
    trained the model: the density ratio is then fitted on them and weighs the held-out ones.
    What is not granted stays NOT_GIVEN: no image at all. What several validators share is computed once.
    """

    target_logits: Tensor
    target_features: Tensor = NOT_GIVEN
    source_logits: Tensor = NOT_GIVEN
    source_labels: Tensor = NOT_GIVEN
    source_features: Tensor = NOT_GIVEN
    source_train_features: Tensor = NOT_GIVEN

    @cached_property
    def target_probabilities(self) -> Tensor:
        """The softmax of the target logits, float32 (n, classes)."""
        return torch.softmax(self.target_logits.float(), 1)

    @cached_property
    def mean_entropy(self) -> float:
        """The mean entropy of the target predictions, in nats."""
        return torch.special.entr(self.target_probabilities).sum(1).double().mean().item()

    @cached_property
    def class_gram(self) -> Tensor:
        """How much probability mass each two classes share: P^T P in float64 (classes, classes)."""
        return sum(rows.double().T @ rows.double() for rows in self.target_probabilities.split(8192))

    @cached_property
    def source_losses(self) -> Tensor:
        """The cross-entropy of each held-out source image, float64 (n,)."""
        return cross_entropies(self.source_logits, self.source_labels)

    @cached_property
    def source_weights(self) -> Tensor:
        """The density ratio target / source at each held-out source image, float64 (n,).

        Without `source_train_features` it is cross-fitted: each half of the held-out images is weighed by the
        ratio fitted on the other half, so that no image is weighed by a fit that has seen it.
        """
        held_out = self.source_features
        if len(self.source_train_features):
            return density_ratio(self.source_train_features, self.target_features, at=held_out)
        first, second = _shuffled(len(held_out)).chunk(2)
        weights = torch.empty(len(held_out), dtype=torch.float64, device=held_out.device)
        for weighed, fitted in ((first, second), (second, first)):
            weights[weighed] = density_ratio(held_out[fitted], self.target_features, at=held_out[weighed])
        return weights


def density_ratio(source: Tensor, target: Tensor, *, at: Tensor) -> Tensor:
    """p_target / p_source at the features `at`, float64 (n,): the odds of a logistic regression.

    The regression sees at most 5,000 images a domain (a fixed shuffle) through the first 64 principal
    components of the standardised features, which bounds its time and its variance. By Bayes' rule
    p_target(x) / p_source(x) = (n_source / n_target) * odds(target | x) (Bickel et al., ICML 2007).
    All nan where a feature is not finite.
    """
    if not all(map(usable, (source, target, at))):
        return torch.full((len(at),), math.nan, dtype=torch.float64, device=at.device)
    source, target = _subsample(source, RATIO_IMAGES), _subsample(target, RATIO_IMAGES)
    features = torch.cat([source, target]).detach().float().cpu().numpy()
    is_target = np.repeat([0, 1], [len(source), len(target)])
    components = min(RATIO_COMPONENTS, *features.shape)
    regression = make_pipeline(
        StandardScaler(),
        PCA(components, svd_solver="randomized", iterated_power=2, random_state=0),
        LogisticRegression(solver="newton-cholesky"),
    )
    # A collapsed network gives constant features: PCA then divides by a total variance of zero.
    with np.errstate(divide="ignore", invalid="ignore"):
        regression.fit(features, is_target)
    log_odds = regression.decision_function(at.detach().float().cpu().numpy()).astype(np.float64)
    return torch.from_numpy(log_odds).exp().to(at.device) * (len(source) / len(target))


def source_accuracy(evidence: Evidence) -> float:
    """The accuracy on held-out source images: what practice chooses by when nothing of the target is seen."""
    return accuracy(evidence.source_logits, evidence.source_labels)


def entropy(evidence: Evidence) -> float:
    """Minus the mean entropy of the target predictions, in nats (Morerio et al., ICLR 2018)."""
    return -evidence.mean_entropy


def information_maximisation(evidence: Evidence) -> float:
    """The entropy of the mean target prediction less the mean entropy, in nats, in [0, ln classes].

    Confident and diverse predictions score high (Shi and Sha, ICML 2012; Musgrave et al., 2022).
    """
    mean_prediction = evidence.target_probabilities.mean(0, dtype=torch.float64)
    return torch.special.entr(mean_prediction).sum().item() - evidence.mean_entropy


def bnm(evidence: Evidence) -> float:
    """The nuclear norm of the target predictions over its largest possible value, in (0, 1].

    Singular values are the roots of the eigenvalues of P^T P; the bound is sqrt(n * min(n, classes))
    (Cui et al., CVPR 2020; normalised as in Deng et al., ICML 2023).
    """
    images, classes = evidence.target_probabilities.shape
    nuclear_norm = torch.linalg.eigvalsh(evidence.class_gram).clamp_min(0).sqrt().sum()
    return nuclear_norm.item() / math.sqrt(images * min(images, classes))


def corr_c(evidence: Evidence) -> float:
    """The cosine between the class correlation matrix P^T P / n and the identity, in (0, 1].

    1 means certain predictions that cover all classes evenly. The paper already has it that higher is better
    (Tu et al., "Assessing model out-of-distribution generalization with softmax prediction probability
    baselines and a correlation method", 2023; SoftmaxCorr in TMLR 2024).
    """
    gram = evidence.class_gram
    return (gram.trace() / gram.norm()).item() / math.sqrt(len(gram))


def snd(evidence: Evidence) -> float:
    """The soft neighbourhood density of the target predictions (Saito et al., ICCV 2021).

    Over at most 5,000 images (a fixed shuffle), for its time grows with their square.
    """
    return soft_neighbourhood_density(_subsample(evidence.target_probabilities, SND_IMAGES))


def soft_neighbourhood_density(vectors: Tensor, *, rows: int = 1024) -> float:
    """The mean entropy, in nats, of each vector's softmax over its cosine similarities to all others.

    Vectors (n, dim) with non-negative entries; temperature 0.05. Memory is bounded at rows x n similarities.
    """
    unit = F.normalize(vectors.float(), dim=1)
    total = 0.0
    for start in range(0, len(unit), rows):
        similarities = unit[start : start + rows] @ unit.T / SND_TEMPERATURE
        # Similarities lie in [0, 20], so exp needs no shift; a vector is not its own neighbour.
        masses = similarities.exp()
        masses.diagonal(start).zero_()
        mass = masses.sum(1)
        total += (mass.log() - (masses * similarities).sum(1) / mass).double().sum().item()
    return total / len(unit)


def iwcv(evidence: Evidence) -> float:
    """Minus the importance-weighted source risk, mean(weight * cross-entropy) (Sugiyama et al., JMLR 2007).

    The weights are not normalised to mean 1, as in the paper: where the domains separate they vanish, and the
    risk with them.
    """
    return -(evidence.source_weights * evidence.source_losses).mean().item()


def dev(evidence: Evidence) -> float:
    """Minus the deep embedded validation risk: IWCV's with the weights as control variate.

    True weights have mean 1, so that adding eta * (mean(weight) - 1) keeps the mean, and
    eta = -cov(weighted loss, weight) / var(weight) makes the variance least (You et al., ICML 2019).
    """
    weights = evidence.source_weights
    weighted = weights * evidence.source_losses
    covariance = torch.cov(torch.stack([weighted, weights]))
    eta = -covariance[0, 1] / covariance[1, 1] if covariance[1, 1] > 0 else 0.0
    return -(weighted.mean() + eta * (weights.mean() - 1)).item()


@dataclass(frozen=True, kw_only=True)
class Validator:
    """A label-free score: the fields of Evidence it reads, the fewest images that make sense, its paper."""

    name: str
    function: Callable[[Evidence], float]
    needs: tuple[str, ...]
    paper: str
    fewest_images: int = 1

    @property
    def needs_source(self) -> bool:
        return any(field.startswith("source") for field in self.needs)

    def __call__(self, evidence: Evidence) -> float:
        """The score, higher for a better checkpoint; nan where the evidence does not allow one."""
        if not all(usable(getattr(evidence, field), self.fewest_images) for field in self.needs):
            return math.nan
        with torch.no_grad():
            score = self.function(evidence)
        return score if math.isfinite(score) else math.nan


_PREDICTIONS = ("target_logits",)
_BOTH_DOMAINS = ("source_features", "source_logits", "source_labels", "target_features")

VALIDATORS: dict[str, Validator] = {
    validator.name: validator
    for validator in (
        Validator(
            name="source_accuracy",
            function=source_accuracy,
            needs=("source_logits", "source_labels"),
            paper="common practice",
        ),
        Validator(name="entropy", function=entropy, needs=_PREDICTIONS, paper="Morerio et al., ICLR 2018"),
        Validator(
            name="information_maximisation",
            function=information_maximisation,
            needs=_PREDICTIONS,
            paper="Shi and Sha, ICML 2012",
        ),
        Validator(name="bnm", function=bnm, needs=_PREDICTIONS, paper="Cui et al., CVPR 2020"),
        Validator(name="corr_c", function=corr_c, needs=_PREDICTIONS, paper="Tu et al., 2023"),
        Validator(name="snd", function=snd, needs=_PREDICTIONS, paper="Saito et al., ICCV 2021", fewest_images=3),
        Validator(
            name="iwcv",
            function=iwcv,
            needs=_BOTH_DOMAINS,
            paper="Sugiyama et al., JMLR 2007",
            fewest_images=4,
        ),
        Validator(name="dev", function=dev, needs=_BOTH_DOMAINS, paper="You et al., ICML 2019", fewest_images=4),
    )
}


def score_all(evidence: Evidence, *, may_see_source: bool) -> dict[str, float]:
    """Each validator's score by name; without `may_see_source`, of those alone that read no source data."""
    return {
        name: validator(evidence)
        for name, validator in VALIDATORS.items()
        if may_see_source or not validator.needs_source
    }


def _shuffled(count: int) -> Tensor:
    """The same order of the indices on every call; evenly spaced ones would alias with ordered classes."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))


def _subsample(rows: Tensor, most: int) -> Tensor:
    return rows if len(rows) <= most else rows[_shuffled(len(rows))[:most].to(rows.device)]
