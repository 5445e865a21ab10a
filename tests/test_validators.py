import math
import subprocess
import sys
import warnings
from dataclasses import fields, replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import sklearn
import torch
from scipy.spatial.distance import cdist
from scipy.special import softmax
from scipy.stats import entropy as scipy_entropy
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, adjusted_mutual_info_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from dabench.run import metrics, validators
from dabench.run.validators import NOT_GIVEN, VALIDATORS, Evidence, score_all

PROBABILITIES = torch.tensor([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]])
TOY_LOGITS = PROBABILITIES.log()
TOY_LABELS = torch.tensor([0, 1, 1])
TOY = Evidence(target_logits=TOY_LOGITS)
QUARTER_ENTROPY = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))


def two_domains(*, target: int = 300, source: int = 200, dim: int = 20, classes: int = 5) -> Evidence:
    """A linear classifier on Gaussian features that the target shifts by 0.2."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    weight = draw(dim, classes)
    source_features, train_features, target_features = draw(source, dim), draw(source, dim), draw(target, dim)
    source_logits = source_features @ weight
    return Evidence(
        target_features=target_features + 0.2,
        target_logits=(target_features + 0.2) @ weight,
        source_features=source_features,
        source_logits=source_logits,
        source_labels=(source_logits + 2 * draw(source, classes)).argmax(1),
        source_train_features=train_features,
    )


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return two_domains()


def test_metrics_of_three_images_are_those_computed_by_hand():
    assert metrics.accuracy(TOY_LOGITS, TOY_LABELS) == pytest.approx(2 / 3)
    assert metrics.per_class_accuracy(TOY_LOGITS, TOY_LABELS, 2) == pytest.approx([1, 0.5])
    assert metrics.nll(TOY_LOGITS, TOY_LABELS) == pytest.approx(-(2 * math.log(0.75) + math.log(0.5)) / 3)
    # Two right at confidence 0.75, one wrong at 0.5: (|2 - 1.5| + |0 - 0.5|) / 3.
    assert metrics.calibration_error(TOY_LOGITS, TOY_LABELS) == pytest.approx(1 / 3)


def test_validators_of_three_images_are_those_computed_by_hand():
    mean_entropy = (2 * QUARTER_ENTROPY + math.log(2)) / 3
    assert validators.entropy(TOY) == pytest.approx(-mean_entropy)
    assert validators.information_maximisation(TOY) == pytest.approx(math.log(2) - mean_entropy)
    # P^T P = [[0.875, 0.625], [0.625, 0.875]], with eigenvalues 1.5 and 0.25.
    assert validators.bnm(TOY) == pytest.approx((math.sqrt(1.5) + 0.5) / math.sqrt(6))
    assert validators.corr_c(TOY) == pytest.approx(1.75 / (2 * math.sqrt(0.875**2 + 0.625**2)))
    # The first two images see each other at cosine 0.6 and the third at 2 / sqrt(5), which sees both alike.
    near = 1 / (1 + math.exp((0.6 - 2 / math.sqrt(5)) / 0.05))
    first = -(near * math.log(near) + (1 - near) * math.log(1 - near))
    assert validators.snd(TOY) == pytest.approx((2 * first + math.log(2)) / 3, rel=1e-4)


def test_mano_is_the_fourth_power_mean_of_the_polynomial_where_the_network_is_unsure():
    # 1 + z + z^2 / 2 of (0, 2) and (1, -1) is (1, 5) and (2.5, 0.5); less the least, and normalised: 0 and 1.
    assert validators.mano(Evidence(target_logits=torch.tensor([[0.0, 2], [1, -1]]))) == pytest.approx(0.5**0.25)
    # (0, 1, 2) gives 1, 2.5 and 5, so 0, 1.5 / 5.5 and 4 / 5.5.
    mean = (0.0 + (1.5 / 5.5) ** 4 + (4 / 5.5) ** 4) / 3
    assert validators.mano(Evidence(target_logits=torch.tensor([[0.0, 1, 2]]))) == pytest.approx(mean**0.25)


def test_mano_takes_the_softmax_where_the_network_is_sure():
    sure = torch.tensor([[0.0, 20, 20], [30, 0, 0]])
    expected = (2 * 0.5**4 + 1) / 6
    assert validators.mano(Evidence(target_logits=sure)) == pytest.approx(expected**0.25, rel=1e-6)


def clusters(classes: list[int], number: int = 3) -> Evidence:
    """Images at three places of the plane, of which each has two, and the classes predicted for the six."""
    features = torch.tensor([[0.0, 0], [0, 1], [10, 0], [10, 1], [0, 30], [0, 31]])
    return Evidence(target_features=features, target_logits=torch.eye(number)[torch.tensor(classes)])


def test_predictions_that_agree_with_clusters_score_one_and_a_collapse_scores_nothing():
    assert validators.class_ami(clusters([0, 0, 1, 1, 2, 2])) == pytest.approx(1)
    assert validators.class_ami(clusters([2, 2, 0, 0, 1, 1])) == pytest.approx(1)
    assert validators.class_ami(clusters([0, 0, 0, 0, 0, 0])) == 0
    half = adjusted_mutual_info_score([0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 2, 2])
    assert validators.class_ami(clusters([0, 0, 0, 0, 1, 1])) == pytest.approx(half)


def test_clusters_are_those_of_scikit_learn_from_the_same_start(evidence):
    features, predicted = evidence.target_features.numpy(), evidence.target_logits.argmax(1).numpy()
    start = np.stack([features[predicted == label].mean(0) for label in range(5)])
    theirs = KMeans(5, init=start, n_init=1, max_iter=validators.CLUSTER_ROUNDS, tol=0).fit(features)
    assert validators.class_ami(evidence) == pytest.approx(
        adjusted_mutual_info_score(predicted, theirs.labels_), abs=0.05
    )


def test_domain_knn_counts_neighbours_of_the_own_domain():
    source, target = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[1.2], [9.0]])
    # 0's nearest is 1, 1's is 1.2, 5's is 1.2 (at 3.8; 9 is at 4): a third. 1.2's is 1, 9's is 5: none.
    found = validators.domain_knn(Evidence(target_logits=NOT_GIVEN, source_features=source, target_features=target))
    assert found == pytest.approx(-1 / 6)


def test_mmd_is_that_of_a_double_loop(evidence):
    source, target = (values.double().numpy() for values in (evidence.source_features, evidence.target_features))
    points = np.concatenate([source, target])
    squared = cdist(points, points, "sqeuclidean")
    width = squared.sum() / (len(points) * (len(points) - 1))
    kernel = sum(np.exp(-squared / (2 * width * 2.0**k)) for k in range(-3, 2))
    within, without = kernel[:200, :200].mean() + kernel[200:, 200:].mean(), kernel[:200, 200:].mean()
    assert validators.mmd(evidence) == pytest.approx(2 * without - within, rel=1e-4)


def test_distances_of_the_domains_grow_with_the_shift(evidence):
    for validator in (validators.mmd, validators.domain_knn):
        near, far = (replace(evidence, target_features=evidence.target_features + shift) for shift in (0, 3))
        assert validator(near) > validator(far)


def test_reverse_validation_is_a_ridge_regression_on_the_predictions(evidence):
    target, mean = evidence.target_features.double().numpy(), evidence.target_features.double().mean(0).numpy()
    length = np.sqrt(((target - mean) ** 2).sum(1).mean())
    ridge = Ridge(alpha=0.01).fit((target - mean) / length, np.eye(5)[evidence.target_logits.argmax(1)])
    answers = ridge.predict((evidence.source_features.double().numpy() - mean) / length)
    expected = accuracy_score(evidence.source_labels, answers.argmax(1))
    assert validators.reverse(evidence) == pytest.approx(expected)
    assert validators.reverse(replace(evidence, target_logits=-evidence.target_logits)) < expected


def test_a_class_without_images_has_no_accuracy():
    assert math.isnan(metrics.per_class_accuracy(TOY_LOGITS, torch.tensor([0, 0, 0]), 2)[1])


def test_metrics_agree_with_scikit_learn(evidence):
    logits, labels = evidence.source_logits, evidence.source_labels
    probabilities = softmax(logits.double().numpy(), axis=1)
    assert metrics.accuracy(logits, labels) == pytest.approx(accuracy_score(labels, logits.argmax(1)))
    assert metrics.nll(logits, labels) == pytest.approx(log_loss(labels, probabilities, labels=range(5)), rel=1e-6)


def test_calibration_error_agrees_with_bins_counted_one_by_one(evidence):
    logits, labels = evidence.source_logits, evidence.source_labels.numpy()
    probabilities = softmax(logits.double().numpy(), axis=1)
    confidences, right = probabilities.max(1), probabilities.argmax(1) == labels
    expected = 0.0
    for low, high in zip(np.arange(15) / 15, np.arange(1, 16) / 15, strict=True):
        inside = (confidences > low) & (confidences <= high)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidences[inside].mean())
    assert metrics.calibration_error(logits, torch.from_numpy(labels)) == pytest.approx(expected, abs=1e-6)


def test_certain_and_right_predictions_are_calibrated():
    logits = torch.eye(3) * 100
    assert metrics.calibration_error(logits, torch.arange(3)) == 0
    assert metrics.calibration_error(logits, torch.tensor([1, 2, 0])) == 1


def test_snd_in_chunks_agrees_with_the_whole_matrix(evidence):
    probabilities = softmax(evidence.target_logits.double().numpy(), axis=1)
    unit = probabilities / np.linalg.norm(probabilities, axis=1, keepdims=True)
    similarities = unit @ unit.T / 0.05
    np.fill_diagonal(similarities, -np.inf)
    expected = scipy_entropy(softmax(similarities, axis=1), axis=1).mean()
    for rows in (7, 300, 1024):
        density = validators.soft_neighbourhood_density(evidence.target_probabilities, rows=rows)
        assert density == pytest.approx(expected, rel=1e-5)


def test_snd_of_many_images_is_that_of_a_fixed_sample():
    many = torch.softmax(torch.randn(5_500, 3, generator=torch.Generator().manual_seed(0)) * 2, 1)
    sampled = validators.snd(Evidence(target_logits=many.log()))
    assert sampled == validators.snd(Evidence(target_logits=many.log()))
    whole = validators.soft_neighbourhood_density(many)
    assert sampled == pytest.approx(whole + math.log(5_000 / 5_500), rel=0.01)


def test_bnm_agrees_with_singular_values_for_few_and_many_images(evidence):
    for images in (2, 5, 300):
        few = replace(evidence, target_logits=evidence.target_logits[:images])
        values = np.linalg.svd(few.target_probabilities.double().numpy(), compute_uv=False)
        assert validators.bnm(few) == pytest.approx(values.sum() / math.sqrt(images * min(images, 5)), rel=1e-6)


def test_dev_of_a_constant_loss_is_that_loss(evidence):
    indifferent = replace(evidence, source_logits=torch.zeros(200, 5))
    mean_weight = indifferent.source_weights.mean().item()
    assert validators.dev(indifferent) == pytest.approx(-math.log(5))
    assert validators.iwcv(indifferent) == pytest.approx(-math.log(5) * mean_weight)
    assert mean_weight != pytest.approx(1, abs=1e-3)


def test_density_ratio_is_that_of_two_gaussians():
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(5_000, 1, generator=generator)
    target = torch.randn(2_500, 1, generator=generator) + 0.5
    at = torch.linspace(-1, 1, 5)[:, None]
    ratio = validators.density_ratio(source, target, at=at)
    assert ratio.numpy() == pytest.approx(torch.exp(0.5 * at[:, 0] - 0.125).numpy(), rel=0.1)


def test_importance_weights_bring_the_source_risk_to_the_target_risk():
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(4_000, 1, generator=generator)
    target = torch.randn(4_000, 1, generator=generator) + 0.7

    def logits(features: Tensor) -> Tensor:
        return torch.cat([features, -features], 1)

    def risk(features: Tensor) -> float:
        return metrics.nll(logits(features), torch.zeros(len(features), dtype=torch.long))

    weighed = Evidence(
        target_features=target,
        target_logits=logits(target),
        source_features=source,
        source_logits=logits(source),
        source_labels=torch.zeros(4_000, dtype=torch.long),
    )
    assert risk(source) > 1.5 * risk(target)
    assert validators.iwcv(weighed) == pytest.approx(-risk(target), rel=0.1)
    assert validators.dev(weighed) == pytest.approx(-risk(target), rel=0.1)


def test_every_validator_reads_only_what_it_declares(evidence):
    for validator in VALIDATORS.values():
        declared = {field: getattr(evidence, field) for field in validator.needs}
        # The ratio is fitted on the training features only where they are given.
        alone = Evidence(**{"target_logits": torch.full((300, 5), math.nan)} | declared)
        assert validator(alone) == validator(replace(evidence, source_train_features=NOT_GIVEN)), validator.name


def test_no_source_data_is_read_where_the_setting_grants_none(evidence):
    blind = Evidence(target_logits=evidence.target_logits, target_features=evidence.target_features)
    assert score_all(evidence, may_see_source=False) == score_all(blind, may_see_source=False)
    assert set(score_all(blind, may_see_source=False)) == {
        "entropy",
        "information_maximisation",
        "bnm",
        "corr_c",
        "snd",
        "mano",
        "class_ami",
    }
    assert set(score_all(evidence, may_see_source=True)) == set(VALIDATORS)


def test_validators_declare_fields_of_the_evidence_and_a_paper():
    known = {field.name for field in fields(Evidence)}
    for name, validator in VALIDATORS.items():
        assert name == validator.name
        assert set(validator.needs) <= known
        assert validator.paper


def test_all_scores_of_sound_evidence_are_finite_floats(evidence):
    for name, score in score_all(evidence, may_see_source=True).items():
        assert type(score) is float
        assert math.isfinite(score), name


def test_scores_repeat_and_leave_the_random_state_alone(evidence):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = score_all(replace(evidence), may_see_source=True)
    assert first == score_all(replace(evidence), may_see_source=True)
    assert torch.equal(torch_state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])


def test_scores_do_not_depend_on_the_order_of_the_target_images(evidence):
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    shuffled = replace(
        evidence,
        target_logits=evidence.target_logits[order],
        target_features=evidence.target_features[order],
    )
    expected = score_all(evidence, may_see_source=True)
    assert score_all(shuffled, may_see_source=True) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_outputs_that_are_not_finite_score_nan(evidence, poison):
    logits, features = evidence.target_logits.clone(), evidence.target_features.clone()
    logits[3, 1] = features[3, 1] = poison
    poisoned = score_all(replace(evidence, target_logits=logits, target_features=features), may_see_source=True)
    assert poisoned.pop("source_accuracy") == validators.source_accuracy(evidence)
    assert all(math.isnan(score) for score in poisoned.values())
    labels = torch.zeros(300, dtype=torch.long)
    for metric in (metrics.accuracy, metrics.nll, metrics.calibration_error):
        assert math.isnan(metric(logits, labels))
    assert all(math.isnan(value) for value in metrics.per_class_accuracy(logits, labels, 5))


def test_training_features_that_are_not_finite_spoil_the_weights_alone(evidence):
    poisoned = replace(evidence, source_train_features=torch.full((10, 20), math.nan))
    spoilt = {name for name, score in score_all(poisoned, may_see_source=True).items() if math.isnan(score)}
    assert spoilt == {"iwcv", "dev"}


def test_missing_evidence_scores_nan():
    all_scores = score_all(TOY, may_see_source=True)
    assert {name for name, score in all_scores.items() if math.isnan(score)} == {
        "source_accuracy",
        "iwcv",
        "dev",
        "class_ami",
        "domain_knn",
        "mmd",
        "reverse",
    }


@pytest.mark.parametrize("images", range(6))
def test_few_images_never_crash(evidence, images):
    few = Evidence(**{field.name: getattr(evidence, field.name)[:images] for field in fields(Evidence)})
    for with_train in (few, replace(few, source_train_features=NOT_GIVEN)):
        all_scores = score_all(with_train, may_see_source=True)
        assert math.isnan(all_scores["entropy"]) == (images == 0)
        assert math.isnan(all_scores["snd"]) == (images < 3)
        assert math.isnan(all_scores["dev"]) == (images < 4)


def test_constant_features_weigh_all_source_images_alike(evidence):
    collapsed = replace(
        evidence,
        source_features=torch.zeros(200, 20),
        target_features=torch.zeros(300, 20),
        source_train_features=NOT_GIVEN,
    )
    loss = metrics.nll(evidence.source_logits, evidence.source_labels)
    assert validators.iwcv(collapsed) == pytest.approx(-loss, rel=1e-3)
    assert validators.dev(collapsed) == pytest.approx(-loss, rel=1e-3)


@pytest.mark.parametrize("scale", [1e6, 1e30])
def test_separable_domains_and_huge_outputs_stay_finite(evidence, scale):
    extreme = replace(
        evidence,
        target_features=evidence.target_features + scale,
        target_logits=evidence.target_logits * scale,
    )
    for name, score in score_all(extreme, may_see_source=True).items():
        assert math.isfinite(score), name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_scored(evidence, dtype):
    converted = replace(
        evidence,
        target_logits=evidence.target_logits.to(dtype),
        target_features=evidence.target_features.to(dtype),
    )
    expected = score_all(evidence, may_see_source=True)
    assert score_all(converted, may_see_source=True) == pytest.approx(expected, rel=0.05)


def test_scores_of_outputs_with_gradients_build_no_graph(evidence):
    tracked = replace(
        evidence,
        target_logits=evidence.target_logits.clone().requires_grad_(),
        source_features=evidence.source_features.clone().requires_grad_(),
    )
    assert score_all(tracked, may_see_source=True) == score_all(evidence, may_see_source=True)


def test_diversity_unmasks_a_collapsed_classifier_that_entropy_prefers():
    diverse = Evidence(target_logits=torch.eye(4).repeat(10, 1) * 4)
    collapsed = Evidence(target_logits=torch.eye(4)[:1].repeat(40, 1) * 9)
    assert validators.entropy(collapsed) > validators.entropy(diverse)
    for validator in (validators.information_maximisation, validators.bnm, validators.corr_c):
        assert validator(diverse) > validator(collapsed)


def test_every_validator_prefers_a_trained_classifier_of_digits():
    digits = load_digits()
    images, labels = digits.data / 16, digits.target
    train, held_out, target = images[:800], images[800:1200], images[1200:] * 0.8 + 0.1

    def evidence_after(steps: int) -> Evidence:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = LogisticRegression(max_iter=steps).fit(train, labels[:800])

        def tensor(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values)

        return Evidence(
            target_features=tensor(target),
            target_logits=tensor(model.decision_function(target)),
            source_features=tensor(held_out),
            source_logits=tensor(model.decision_function(held_out)),
            source_labels=tensor(labels[800:1200]),
            source_train_features=tensor(train),
        )

    barely, trained = evidence_after(1), evidence_after(50)
    # The features of both are the images, so that what looks at features alone has nothing to prefer.
    for name in VALIDATORS.keys() - {"snd", "domain_knn", "mmd"}:
        assert VALIDATORS[name](trained) > VALIDATORS[name](barely), name


@pytest.mark.slow
def test_fifty_thousand_images_of_a_thousand_classes_fit_in_two_gigabytes():
    script = """
import resource, torch
from dabench.run.metrics import calibration_error, nll
from dabench.run.validators import Evidence, score_all
logits = torch.randn(50_000, 1_000)
labels = logits[:5_000].argmax(1)
evidence = Evidence(
    target_logits=logits, target_features=torch.randn(50_000, 512),
    source_logits=logits[:5_000], source_labels=labels, source_features=torch.randn(5_000, 512),
)
score_all(evidence, may_see_source=True)
nll(logits, logits.argmax(1)), calibration_error(logits, logits.argmax(1))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(finished.stdout) < 2 * 1024**2  # KiB on Linux


def optional(name: str) -> ModuleType:
    """An independent implementation, where it is installed; its import's warnings and settings stay in it."""
    with warnings.catch_warnings(), sklearn.config_context():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"{name} is not installed", exc_type=ImportError)


def test_validators_agree_with_pytorch_adapt(evidence):
    theirs = optional("pytorch_adapt.validators")
    outputs = {"logits": evidence.target_logits, "preds": evidence.target_probabilities}
    n, classes = evidence.target_logits.shape
    assert validators.entropy(evidence) == pytest.approx(theirs.EntropyValidator()(target_train=outputs), rel=1e-5)
    assert validators.information_maximisation(evidence) == pytest.approx(
        theirs.IMValidator()(target_train=outputs), rel=1e-5
    )
    assert validators.bnm(evidence) * math.sqrt(classes / n) == pytest.approx(
        theirs.BNMValidator()(target_train=outputs), rel=1e-5
    )
    assert validators.snd(evidence) == pytest.approx(theirs.SNDValidator()(target_train=outputs), rel=1e-5)


def test_dev_agrees_with_pytorch_adapt_given_the_same_weights(evidence):
    theirs = optional("pytorch_adapt.validators.deep_embedded_validator")
    weights, losses = evidence.source_weights[:, None], evidence.source_losses[:, None]
    assert validators.dev(evidence) == pytest.approx(-theirs.get_dev_risk(weights, losses, None), rel=1e-9)


class LinearSoftmax:
    """A classifier in the shape skada asks for: probabilities and features of the rows."""

    module_ = SimpleNamespace(layer_name="features")

    def __init__(self, weight: np.ndarray):
        self.weight = weight

    def predict_features(self, rows: np.ndarray) -> np.ndarray:
        return rows

    def predict_proba(self, rows: np.ndarray, sample_domain=None, allow_source=False) -> np.ndarray:
        return softmax(rows @ self.weight, axis=1)


def test_validators_agree_with_skada(evidence):
    theirs = optional("skada.metrics")
    rows = torch.cat([evidence.source_features, evidence.target_features]).double().numpy()
    labels = torch.cat([evidence.source_labels, torch.full((300,), -1)]).numpy()
    domains = np.repeat([1, -2], [200, 300])
    weight = np.linalg.lstsq(rows[:200], evidence.source_logits.double().numpy(), rcond=None)[0]
    classifier = LinearSoftmax(weight)

    def score(scorer) -> float:
        return scorer(classifier, rows, labels, sample_domain=domains)

    # skada's own loss comes as a row (n,), which its weights (n, 1) broadcast to a matrix (skada 0.6.0).
    def column_of_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        return -np.log(np.take_along_axis(probabilities, labels[:, None], axis=1))

    domain_classifier = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-8, max_iter=1_000))
    with sklearn.config_context(enable_metadata_routing=True):
        entropy = score(theirs.PredictionEntropyScorer())
        density = score(theirs.SoftNeighborhoodDensity())
        dev = score(theirs.DeepEmbeddedValidation(domain_classifier, column_of_losses, random_state=0))

    # skada averages over images and classes; we average over images.
    assert validators.entropy(evidence) == pytest.approx(5 * entropy, rel=1e-5)
    assert validators.snd(evidence) == pytest.approx(density, rel=1e-5)
    fitted, held_out = train_test_split(np.arange(200), test_size=0.33, random_state=np.random.RandomState(0))
    split = replace(
        evidence,
        source_features=evidence.source_features[held_out],
        source_logits=evidence.source_logits[held_out],
        source_labels=evidence.source_labels[held_out],
        source_train_features=evidence.source_features[fitted],
    )
    assert validators.dev(split) == pytest.approx(dev, rel=1e-3)
