"""Label-free scores of a checkpoint: they read no target label, so a practitioner may choose by them.

Tensors on one device in, Python floats out; nan where nothing can be computed: outputs that are not finite, too few
images, evidence that is missing. The global random state is left alone.

**A higher score means a better checkpoint**, so losses, risks and distances are negated. Left out on purpose: MixVal
(Hu et al., NeurIPS 2023), which needs another forward pass, on mixed images, at each checkpoint. Reverse validation is
had without a second training of the network: a linear classifier on its features is what is trained in reverse.
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
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional as F

from dabench.nn import gaussian_kernels
from dabench.run.metrics import accuracy, cross_entropies, usable

SND_TEMPERATURE = 0.05
SND_IMAGES = 5_000
RATIO_IMAGES = 5_000
RATIO_COMPONENTS = 64
PAIRED_IMAGES = 1_000  # of each domain, where time grows with the square of their number
CLUSTER_ROUNDS = 20
MANO_POWER, MANO_THRESHOLD = 4, 5.0

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
        return float(torch.special.entr(self.target_probabilities).sum(1).double().mean())

    @cached_property
    def class_gram(self) -> Tensor:
        """How much probability mass each two classes share: P^T P in float64 (classes, classes)."""
        parts = (rows.double().T @ rows.double() for rows in self.target_probabilities.split(8192))
        return sum(parts, torch.zeros((), dtype=torch.float64))

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
    return float(torch.special.entr(mean_prediction).sum()) - evidence.mean_entropy


def bnm(evidence: Evidence) -> float:
    """The nuclear norm of the target predictions over its largest possible value, in (0, 1].

    Singular values are the roots of the eigenvalues of P^T P; the bound is sqrt(n * min(n, classes))
    (Cui et al., CVPR 2020; normalised as in Deng et al., ICML 2023).
    """
    images, classes = evidence.target_probabilities.shape
    nuclear_norm = torch.linalg.eigvalsh(evidence.class_gram).clamp_min(0).sqrt().sum()
    return float(nuclear_norm) / math.sqrt(images * min(images, classes))


def corr_c(evidence: Evidence) -> float:
    """The cosine between the class correlation matrix P^T P / n and the identity, in (0, 1].

    1 means certain predictions that cover all classes evenly. The paper already has it that higher is better
    (Tu et al., "Assessing model out-of-distribution generalization with softmax prediction probability
    baselines and a correlation method", 2023; SoftmaxCorr in TMLR 2024).
    """
    gram = evidence.class_gram
    return float(gram.trace() / gram.norm()) / math.sqrt(len(gram))


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


def mano(evidence: Evidence) -> float:
    """The mean fourth power, its fourth root, of the normalised target logits, in (0, 1] (Xie et al., NeurIPS 2024).

    Normalised by softmax where the network is sure of itself, else by softmax's Taylor polynomial of degree two, whose
    least value in each row becomes 0: an overconfident softmax says little where predictions are uncertain.
    """
    logits = evidence.target_logits.double()
    if -torch.log_softmax(logits, 1).mean() > MANO_THRESHOLD:
        normalised = torch.softmax(logits, 1)
    else:
        polynomial = 1 + logits + logits.square() / 2
        polynomial = polynomial - polynomial.amin(1, keepdim=True)
        normalised = F.normalize(polynomial, p=1, dim=1)
    return float(normalised.pow(MANO_POWER).mean() ** (1 / MANO_POWER))


def class_ami(evidence: Evidence) -> float:
    """The adjusted mutual information of predicted classes and clusters of the target features (Musgrave et al., 2022).

    k-means of as many clusters as classes, over at most 1,000 images; it starts from the mean features of the predicted
    classes, and for a class that is never predicted from the image that is farthest from all starts so far.
    """
    features = _standardised(_subsample(evidence.target_features, PAIRED_IMAGES))[0].float()
    predicted = _subsample(evidence.target_logits, PAIRED_IMAGES).argmax(1)
    present = predicted.unique()
    centres = torch.stack([features[predicted == label].mean(0) for label in present])
    distances = torch.cdist(features, centres).amin(1)
    for _ in range(min(evidence.target_logits.shape[1], len(features)) - len(present)):
        farthest = features[distances.argmax(), None]
        centres = torch.cat([centres, farthest])
        distances = distances.minimum((features - farthest).norm(dim=1))
    for _ in range(CLUSTER_ROUNDS):
        clusters = torch.cdist(features, centres).argmin(1)
        members = F.one_hot(clusters, len(centres)).to(features)
        means = (members.T @ features) / members.sum(0).clamp_min(1)[:, None]
        centres = torch.where(members.any(0)[:, None], means, centres)
    return float(adjusted_mutual_info_score(predicted.cpu().numpy(), clusters.cpu().numpy()))


def domain_knn(evidence: Evidence) -> float:
    """Minus the share of images whose nearest neighbour is of their own domain, the mean over the two domains.

    By Euclidean distance of features, over at most 1,000 images a domain (Musgrave et al., 2022).
    """
    source, target = _both(evidence)
    distances = torch.cdist(torch.cat([source, target]), torch.cat([source, target])).fill_diagonal_(torch.inf)
    from_source = distances.argmin(1) < len(source)
    own = from_source[: len(source)].double().mean() + (~from_source[len(source) :]).double().mean()
    return -own.item() / 2


def mmd(evidence: Evidence) -> float:
    """Minus the squared maximum mean discrepancy of the features, by five Gaussian kernels (Long et al., ICML 2015).

    Over at most 1,000 images a domain.
    """
    source, target = _both(evidence)
    kernel, count = gaussian_kernels(torch.cat([source, target])), len(source)
    within = kernel[:count, :count].mean() + kernel[count:, count:].mean()
    return (2 * kernel[:count, count:].mean() - within).item()


def reverse(evidence: Evidence) -> float:
    """The accuracy on source images of a linear classifier that learned the predictions on the target.

    Reverse or circular validation (Zhong et al., ECML PKDD 2010), in which a ridge regression on features, over at most
    1,000 target images, stands for the second training of the network.
    """
    target, scale = _standardised(_subsample(evidence.target_features, PAIRED_IMAGES))
    source = scale(evidence.source_features)
    predicted = _subsample(evidence.target_logits, PAIRED_IMAGES).argmax(1)
    answers = F.one_hot(predicted, evidence.target_logits.shape[1]).to(target)
    inner = target @ target.T
    penalty = (0.01 * inner.diagonal().mean()).clamp_min(1e-6)
    solved = torch.linalg.solve(inner + penalty * torch.eye(len(inner)).to(inner), answers - answers.mean(0))
    return accuracy(source @ (target.T @ solved) + answers.mean(0), evidence.source_labels)


def _both(evidence: Evidence) -> tuple[Tensor, Tensor]:
    """Source and target features, float32, at most 1,000 of each, on one scale around their common mean."""
    source = _subsample(evidence.source_features, PAIRED_IMAGES)
    target = _subsample(evidence.target_features, PAIRED_IMAGES)
    both = _standardised(torch.cat([source, target]))[0].float()
    return both[: len(source)], both[len(source) :]


def _standardised(features: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Float64 features around 0 with a mean squared length of 1, and what brings others to the same scale."""
    mean = features.double().mean(0)
    length = (features.double() - mean).square().sum(1).mean().sqrt().clamp_min(1e-30)

    def scale(others: Tensor) -> Tensor:
        return (others.double() - mean) / length

    return scale(features), scale


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
_BOTH_FEATURES = ("source_features", "target_features")
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
        Validator(name="mano", function=mano, needs=_PREDICTIONS, paper="Xie et al., NeurIPS 2024"),
        Validator(
            name="class_ami",
            function=class_ami,
            needs=("target_logits", "target_features"),
            paper="Musgrave et al., 2022",
            fewest_images=2,
        ),
        Validator(name="domain_knn", function=domain_knn, needs=_BOTH_FEATURES, paper="Musgrave et al., 2022"),
        Validator(name="mmd", function=mmd, needs=_BOTH_FEATURES, paper="Long et al., ICML 2015", fewest_images=2),
        Validator(
            name="reverse",
            function=reverse,
            needs=("target_logits", "target_features", "source_features", "source_labels"),
            paper="Zhong et al., ECML PKDD 2010",
            fewest_images=2,
        ),
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
