"""Each unsupervised method's loss and update, against hand-computed values or an independent reference.

The reference runs draw the batches that the method draws (same seed), take gradients with `torch.autograd.grad` and
step by hand, so that neither the method's losses nor its optimizer are used twice.
"""

import copy
from itertools import permutations
from math import cos, exp, log, pi

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dabench import models
from dabench.core import Recipe
from dabench.methods import adamatch, fixmatch, mean_teacher
from dabench.methods.adamatch import AdaMatch
from dabench.methods.adda import ADDA
from dabench.methods.afn import AFN, dropout_keeping_norm, norm_growth
from dabench.methods.bnm import BNM
from dabench.methods.bsp import BSP
from dabench.methods.cdan import CDAN
from dabench.methods.cdan_e import CDANE
from dabench.methods.deep_jdot import DeepJDOT
from dabench.methods.fixmatch import FixMatch
from dabench.methods.mcc import MCC, class_confusion
from dabench.methods.mcd import MCD
from dabench.methods.mdd import MDD, margin_disparity
from dabench.methods.mean_teacher import MeanTeacher
from dabench.methods.pseudo_label import PseudoLabel
from dabench.nn import DomainCritic, JointFeatures
from dabench.run.images import Pictures
from dabench.run.target_data import Granted, TargetData

CLASSES, SHAPE, BATCH = 4, (3, 16, 16), 8
CPU = torch.device("cpu")


def pictures(seed, count=32):
    """Random images and labels; the darker, the greater the seed."""
    chance = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256 // (seed + 1), (count, *SHAPE), generator=chance, dtype=torch.uint8)
    return Pictures(images, torch.randint(0, CLASSES, (count,), generator=chance), CPU)


def data(method, steps):
    """Both domains without the target's labels, as the harness would hand them over; no augmentation."""
    target = Pictures(pictures(1).images, None, CPU)
    recipe = Recipe(steps=steps, batch_size=BATCH)
    sizes = {"num_classes": CLASSES, "seed": 0, "device": CPU}
    return TargetData(method.declaration, recipe, Granted(source=pictures(0), target=target), **sizes)


def from_seed_0(make):
    """What `make` gives where torch's random numbers start from seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


@pytest.fixture
def model():
    network = from_seed_0(lambda: models.build("lenet_bn", CLASSES, SHAPE))
    network.precision = torch.float32
    return network.train()


def adapt(method, model, steps):
    """What the method makes of a copy of the model, from seed 0."""
    return from_seed_0(lambda: method.adapt(copy.deepcopy(model), data(method, steps)))


def drawn(method, model, steps):
    """The batches that the method will see."""
    return list(data(method, steps).batches(model))


def both(batch):
    return torch.cat([batch.source_images, batch.target_images])


def descend(loss, weights, lr, retain=False):
    """One plain gradient step on the weights, in place; those that the loss does not reach stay."""
    gradients = torch.autograd.grad(loss, weights, allow_unused=True, retain_graph=retain)
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:
                weight -= lr * gradient


def annealed(lr, p):
    return lr / (1 + 10 * p) ** 0.75


def rising(p):
    """DANN's schedule of what reaches the features."""
    return 2 / (1 + exp(-10 * p)) - 1


# The gradient of a bias before a batch norm is a rounding error, of which Adam makes a whole step; the norm's mean
# takes it away again.
IDLE = ("backbone.0.bias", "backbone.1.running_mean", "backbone.4.bias", "backbone.5.running_mean")


def assert_same(found, expected, tolerance=1e-5, but=()):
    """Equal weights and batch-norm statistics, `but` those of these names."""
    expected = expected.state_dict()
    for name, value in found.state_dict().items():
        if name in but:
            continue
        torch.testing.assert_close(value, expected[name], atol=tolerance, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


def entropy_of(p):
    return -sum(value * value.log() for value in p)


# -------------------------------------------------------------------- one loss beside the source cross-entropy


def confusion_loss(features, target, p):
    """MCC's, one pair of classes at a time, at temperature 2."""
    predictions = (target / 2).softmax(1)
    weights = torch.stack([1 + (-entropy_of(row)).exp() for row in predictions.detach()])
    weights = weights * len(weights) / weights.sum()
    total = 0.0
    for one in range(CLASSES):
        row = [(weights * predictions[:, one] * predictions[:, other]).sum() for other in range(CLASSES)]
        total = total + (sum(row) - row[one]) / sum(row)
    return total / CLASSES


def nuclear_loss(features, target, p):
    """BNM's: the trace of the root of P^T P is the sum of the roots of its eigenvalues."""
    predictions = target.softmax(1)
    return -torch.linalg.eigvalsh(predictions.T @ predictions).clamp_min(0).sqrt().sum() / len(target)


def sure_guess_loss(features, target, p):
    """Pseudo-labels over .3, at full weight from half of the run."""
    total = 0.0
    for row in target.log_softmax(1):
        best = row.detach().argmax()
        if row[best].exp() > 0.3:
            total = total - row[best]
    return min(1, 2 * p) * total / len(target)


@pytest.mark.parametrize(
    ("method", "loss"),
    [
        (MCC(lr=0.05, momentum=0.0, weight_decay=0.0, weight=2.0, temperature=2.0), confusion_loss),
        (BNM(lr=0.05, momentum=0.0, weight_decay=0.0, weight=2.0), nuclear_loss),
        (PseudoLabel(lr=0.05, momentum=0.0, weight_decay=0.0, weight=2.0, threshold=0.3), sure_guess_loss),
    ],
    ids=lambda value: getattr(type(value), "__name__", ""),
)
def test_a_loss_of_the_target_predictions_is_minimised_beside_the_source_cross_entropy(model, method, loss):
    adapted = adapt(method, model, 3)
    weights = list(model.parameters())
    for number, batch in enumerate(drawn(method, model, 3)):
        features = model.features(both(batch))
        source, target = model.head(features).chunk(2)
        total = F.cross_entropy(source, batch.source_labels) + 2.0 * loss(features, target, number / 3)
        descend(total, weights, annealed(0.05, number / 3))
    assert_same(adapted, model)


def test_class_confusion_is_none_for_sure_predictions_and_greatest_for_even_ones():
    assert class_confusion(100 * torch.eye(CLASSES).repeat(3, 1)).item() == pytest.approx(0, abs=1e-6)
    assert class_confusion(torch.zeros(12, CLASSES)).item() == pytest.approx((CLASSES - 1) / CLASSES)


# ------------------------------------------------------------------------------------------------ adversarial


def test_mdd_by_hand():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0], [1.0, 0.0]])  # classes 0, 1 | 1, 0
    second = torch.tensor([[0.0, log(3)], [0.0, log(4)], [0.0, log(9)], [log(3), 0.0]])
    source = -(log(1 / 4) + log(4 / 5)) / 2
    target = -(log(1 - 9 / 10 + 1e-6) + log(1 - 3 / 4 + 1e-6)) / 2
    assert margin_disparity(logits, second, 4.0).item() == pytest.approx(4 * source + target, rel=1e-5)


def test_mdd_stays_finite_where_the_second_head_is_certain():
    certain = torch.tensor([[200.0, 0.0], [200.0, 0.0]], requires_grad=True)
    margin_disparity(certain.detach(), certain, 4.0).backward()
    assert certain.grad.isfinite().all()


def test_mdd_turns_the_disparity_against_the_features_by_a_tenth_at_most(model):
    method = MDD(lr=0.05, momentum=0.0, weight_decay=0.0, hidden=16, dropout=0.0)
    adapted = adapt(method, model, 3)
    second = from_seed_0(lambda: nn.Sequential(nn.Linear(model.feature_dim, 16), nn.ReLU(), nn.Linear(16, CLASSES)))
    adversarial_step = lambda features, logits: margin_disparity(logits, second(features), 4.0)  # noqa: E731
    follow_by_hand(model, drawn(method, model, 3), second, adversarial_step, strength=0.1)
    assert_same(adapted, model)


def follow_by_hand(model, batches, critic, adversarial, strength=1.0, penalty=lambda features: 0.0):
    """The critic descends the adversarial loss, the features ascend it by a rising share; the head has its own loss."""
    for number, batch in enumerate(batches):
        p = number / len(batches)
        features = model.features(both(batch))
        logits = model.head(features)
        own = F.cross_entropy(logits[:BATCH], batch.source_labels) + penalty(features)
        against = adversarial(features, logits.detach())
        lr, share = annealed(0.05, p), strength * rising(p)
        gradients = torch.autograd.grad(against, list(model.backbone.parameters()), retain_graph=True)
        descend(against, list(critic.parameters()), lr, retain=True)
        descend(own, list(model.parameters()), lr)
        with torch.no_grad():
            for weight, gradient in zip(model.backbone.parameters(), gradients, strict=True):
                weight += lr * share * gradient


def conditional_loss(critic, features, logits, weighted):
    """The critic's loss on the outer products, one image at a time."""
    losses, weights = [], []
    for number, (feature, prediction) in enumerate(zip(features, logits.softmax(1), strict=True)):
        judged = critic(torch.outer(prediction, feature).reshape(1, -1))[0]
        losses.append(-F.logsigmoid(judged if number < BATCH else -judged))
        weights.append(1 + (-entropy_of(prediction)).exp() if weighted else torch.ones(()))
    total = 0.0
    for half in (slice(0, BATCH), slice(BATCH, None)):
        total = total + sum(w * loss for w, loss in zip(weights[half], losses[half], strict=True)) / sum(weights[half])
    return total / 2


@pytest.mark.parametrize(("kind", "weighted"), [(CDAN, False), (CDANE, True)])
def test_cdan_judges_features_times_predictions_and_cdan_e_the_sure_ones_more(model, kind, weighted):
    method = kind(lr=0.05, momentum=0.0, weight_decay=0.0, hidden=16)
    adapted = adapt(method, model, 3)
    critic = from_seed_0(lambda: DomainCritic(model.feature_dim * CLASSES, 16))
    batches = drawn(method, model, 3)
    follow_by_hand(model, batches, critic, lambda f, z: conditional_loss(critic, f, z, weighted))
    assert_same(adapted, model)


def test_joint_features_are_all_products_while_these_are_few():
    features, predictions = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.25, 0.75]])
    assert JointFeatures(3, 2)(features, predictions).tolist() == [[0.25, 0.5, 0.75, 0.75, 1.5, 2.25]]
    assert JointFeatures(2048, 2).width == 4096


def test_random_joint_features_keep_inner_products_in_expectation():
    joint = from_seed_0(lambda: JointFeatures(2049, 2))
    assert joint.width == 1024
    features = torch.zeros(2, 2049)
    features[0, :2], features[1, :2] = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0])
    predictions = torch.tensor([[0.2, 0.8], [0.5, 0.5]])
    mapped = joint(features, predictions)
    expected = (features[0] @ features[1]) * (predictions[0] @ predictions[1])
    # The standard error over the 1,024 products is .17.
    assert (mapped[0] @ mapped[1]).item() == pytest.approx(expected.item(), abs=0.6)


def test_bsp_adds_the_largest_squared_singular_value_of_each_domain(model):
    method = BSP(lr=0.05, momentum=0.0, weight_decay=0.0, hidden=16, weight=0.01)
    adapted = adapt(method, model, 3)
    critic = from_seed_0(lambda: DomainCritic(model.feature_dim, 16))
    truth = torch.tensor([1.0] * BATCH + [0.0] * BATCH)

    def spectral(features):
        return 0.01 * sum(torch.linalg.eigvalsh(half @ half.T)[-1] for half in features.chunk(2))

    batches = drawn(method, model, 3)
    judge = lambda features, logits: F.binary_cross_entropy_with_logits(critic(features), truth)  # noqa: E731
    follow_by_hand(model, batches, critic, judge, penalty=spectral)
    assert_same(adapted, model)


def test_adda_teaches_a_target_encoder_to_pass_for_the_sources(model):
    method = ADDA(lr=1e-3, hidden=16)
    adapted = adapt(method, model, 3)
    critic = from_seed_0(lambda: DomainCritic(model.feature_dim, 16))
    source_model = copy.deepcopy(model).eval()
    judge, encoder = (
        torch.optim.Adam(part.parameters(), 1e-3, betas=(0.5, 0.999)) for part in (critic, model.backbone)
    )
    truth = torch.tensor([1.0] * BATCH + [0.0] * BATCH)
    for batch in drawn(method, model, 3):
        source, target = source_model.features(batch.source_images).detach(), model.features(batch.target_images)
        judge.zero_grad()
        F.binary_cross_entropy_with_logits(critic(torch.cat([source, target.detach()])), truth).backward()
        judge.step()
        encoder.zero_grad()
        F.binary_cross_entropy_with_logits(critic(target), torch.ones(BATCH)).backward()
        encoder.step()
    assert_same(adapted, model, tolerance=2e-4, but=IDLE)
    assert torch.equal(adapted.head.weight, source_model.head.weight)
    assert all(weight.requires_grad for weight in adapted.parameters())


def test_mcd_trains_all_then_the_heads_apart_then_the_features_together(model):
    method = MCD(lr=0.05, momentum=0.0, k=2)
    adapted = adapt(method, model, 2)
    second = copy.deepcopy(model.head)
    from_seed_0(second.reset_parameters)
    features, heads = list(model.backbone.parameters()), [*model.head.parameters(), *second.parameters()]

    def losses(batch):
        source, target = model.features(both(batch)).chunk(2)
        prediction = sum(F.cross_entropy(head(source), batch.source_labels) for head in (model.head, second))
        one, other = (head(target).softmax(1) for head in (model.head, second))
        return prediction, (one - other).abs().sum() / (BATCH * CLASSES)

    for batch in drawn(method, model, 2):
        descend(losses(batch)[0], [*features, *heads], 0.05)
        prediction, apart = losses(batch)
        descend(prediction - apart, heads, 0.05)
        for _ in range(2):
            descend(losses(batch)[1], features, 0.05)
    assert_same(adapted, model)


# ------------------------------------------------------------------------------------------ norms and transport


def test_afn_asks_for_norms_one_step_longer_than_they_are():
    features = torch.tensor([[3.0, 4.0], [0.0, 2.0]], requires_grad=True)
    growth = norm_growth(features, 1.0)
    assert growth.item() == pytest.approx(1.0)
    growth.backward()
    # d/df of (|f| - c)^2 / 2 images is (|f| - c) f / |f|, and |f| - c is -1.
    torch.testing.assert_close(features.grad, torch.tensor([[-0.6, -0.8], [0.0, -1.0]]))


def test_afn_keeps_the_norm_through_its_dropout():
    features = torch.ones(64, 1000)
    kept = from_seed_0(lambda: dropout_keeping_norm(features, 0.5))
    assert kept.square().sum(1).mean().item() == pytest.approx(1000, rel=0.02)
    assert kept.unique().tolist() == pytest.approx([0.0, 2**0.5])


def test_afn_takes_sgd_steps_at_a_constant_rate(model):
    method = AFN(lr=0.05, momentum=0.0, weight_decay=0.0, weight=0.2, entropy=0.3, dropout=0.0)
    adapted = adapt(method, model, 3)
    for batch in drawn(method, model, 3):
        features = model.features(both(batch))
        source, target = model.head(features).chunk(2)
        growth = sum(((half.norm(dim=1) - half.norm(dim=1).detach() - 1) ** 2).mean() for half in features.chunk(2))
        sure = sum(entropy_of(row) for row in target.softmax(1)) / BATCH
        loss = F.cross_entropy(source, batch.source_labels) + 0.2 * growth + 0.3 * sure
        descend(loss, list(model.parameters()), 0.05)
    assert_same(adapted, model)


def test_deep_jdot_pays_for_features_and_labels_apart():
    features = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 2.0], [1.0, 1.0]])
    target = torch.tensor([[log(3), 0.0], [0.0, 0.0]])
    cost = DeepJDOT(alpha=0.5, label=2.0).cost(features, target, torch.tensor([0, 1]))
    expected = [
        [0.5 * 4 - 2 * log(3 / 4), 0.5 * 2 - 2 * log(1 / 2)],
        [0.5 * 2 - 2 * log(1 / 4), 0.5 * 0 - 2 * log(1 / 2)],
    ]
    torch.testing.assert_close(cost, torch.tensor(expected))


def test_deep_jdot_takes_an_adam_step_on_the_cheapest_of_all_matchings(model):
    method = DeepJDOT(lr=1e-3, alpha=0.1, label=0.5)
    adapted = adapt(method, model, 1)
    (batch,) = drawn(method, model, 1)
    before = copy.deepcopy(model)
    features = model.features(both(batch))
    source, target = model.head(features).chunk(2)
    cost = method.cost(features, target, batch.source_labels)
    every = torch.tensor(list(permutations(range(BATCH))))
    cheapest = cost[torch.arange(BATCH), every].sum(1).min()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    (F.cross_entropy(source, batch.source_labels) + cheapest / BATCH).backward()
    optimizer.step()
    assert_same(adapted, model, tolerance=2e-5, but=IDLE)
    assert not torch.equal(adapted.head.weight, before.head.weight)


# --------------------------------------------------------------------------------------------- views and teachers


def darker(images):
    """A strong view without chance."""
    return images * 0.5


def test_fixmatch_teaches_the_strong_view_what_the_weak_one_is_sure_of(model, monkeypatch):
    monkeypatch.setattr(fixmatch, "strong", darker)
    method = FixMatch(lr=0.05, momentum=0.0, weight_decay=0.0, weight=2.0, threshold=0.3)
    adapted = adapt(method, model, 3)
    taught = 0
    for number, batch in enumerate(drawn(method, model, 3)):
        weak = model(batch.target_images).detach().softmax(1)
        prediction = F.cross_entropy(model(batch.source_images), batch.source_labels)
        strong = model(darker(batch.target_raw)).log_softmax(1)
        sure = [(row, answer.argmax()) for row, answer in zip(strong, weak, strict=True) if answer.max() > 0.3]
        taught += len(sure)
        consistency = -sum(row[guess] for row, guess in sure) / BATCH
        descend(prediction + 2 * consistency, list(model.parameters()), annealed(0.05, number / 3))
    assert 0 < taught < 3 * BATCH
    assert_same(adapted, model)


def test_adamatch_moves_predictions_to_the_sources_distribution():
    predictions = torch.tensor([[0.6, 0.4], [0.9, 0.1]])
    aligned = adamatch.align(predictions, torch.tensor([0.5, 0.5]), torch.tensor([0.75, 0.25]))
    torch.testing.assert_close(aligned, torch.tensor([[1 / 3, 2 / 3], [3 / 4, 1 / 4]]), atol=1e-5, rtol=0)


def test_adamatch_divides_by_no_zero_where_a_class_is_never_predicted():
    aligned = adamatch.align(torch.tensor([[1.0, 0.0]]), torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0]))
    assert aligned.tolist() == [[1.0, 0.0]]


def test_adamatch_interpolates_the_sources_logits_and_masks_by_the_sources_confidence(model, monkeypatch):
    monkeypatch.setattr(adamatch, "strong", darker)
    method = AdaMatch(lr=0.05, momentum=0.0, weight_decay=0.0, weight=2.0, threshold=1.0, memory=2)
    adapted = adapt(method, model, 4)
    chance = torch.Generator().manual_seed(0)
    source_means, target_means, taught = [], [], 0
    for number, batch in enumerate(drawn(method, model, 4)):
        sources = torch.cat([batch.source_images, darker(batch.source_raw)])
        targets = torch.cat([batch.target_images, darker(batch.target_raw)])
        alone = same_weights(model)(sources)
        together, target = model(torch.cat([sources, targets])).chunk(2)
        weak, strong = target.chunk(2)
        mixed = together + torch.rand(together.shape, generator=chance) * (alone - together)
        prediction = sum(F.cross_entropy(half, batch.source_labels) for half in mixed.chunk(2)) / 2
        sure, answers = mixed[:BATCH].detach().softmax(1), weak.detach().softmax(1)
        source_means.append(sure.mean(0))
        target_means.append(answers.mean(0))
        ratio = sum(source_means[-2:]) / sum(target_means[-2:])
        consistency = torch.zeros(())
        for row, answer in zip(strong.log_softmax(1), answers, strict=True):
            aligned = answer * ratio / (answer * ratio).sum()
            if aligned.max() >= sure.max(1).values.mean():
                consistency = consistency - row[aligned.argmax()] / BATCH
                taught += 1
        warm = 2 * (0.5 - 0.5 * cos(pi * min(1, 2 * number / 4)))
        descend(prediction + warm * consistency, list(model.parameters()), annealed(0.05, number / 4))
    assert 0 < taught < 4 * BATCH
    assert_same(adapted, model, tolerance=1e-4)


def same_weights(model):
    """The model with batch norms whose statistics are not its own, so that what passes leaves none behind."""
    twin = copy.deepcopy(model)
    for module, original in zip(twin.modules(), model.modules(), strict=True):
        for name, weight in original.named_parameters(recurse=False):
            setattr(module, name, weight)
    return twin


def test_mean_teacher_follows_its_teacher_where_that_is_sure(model, monkeypatch):
    monkeypatch.setattr(mean_teacher, "strong", darker)
    method = MeanTeacher(lr=1e-3, momentum=0.9, threshold=0.3, weight=2.0)
    adapted = adapt(method, model, 3)
    teacher, optimizer = copy.deepcopy(model), torch.optim.Adam(model.parameters(), 1e-3)
    taught = 0
    for batch in drawn(method, model, 3):
        prediction = F.cross_entropy(model(batch.source_images), batch.source_labels)
        answers = teacher(batch.target_images).detach().softmax(1)
        mine = model(darker(batch.target_raw)).softmax(1)
        sure = answers.max(1).values > 0.3
        taught += sure.sum().item()
        consistency = ((mine - answers) ** 2)[sure].sum() / BATCH
        optimizer.zero_grad()
        (prediction + 2 * consistency).backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(teacher.parameters(), model.parameters(), strict=True):
                slow.copy_(0.9 * slow + 0.1 * fast)
        for slow, fast in zip(teacher.buffers(), model.buffers(), strict=True):
            slow.copy_(fast)
    assert 0 < taught < 3 * BATCH
    assert_same(adapted, teacher, tolerance=2e-5, but=IDLE)


@pytest.mark.parametrize("kind", [MCC, BNM, PseudoLabel, MDD, CDAN, CDANE, BSP, FixMatch, AdaMatch, AFN])
def test_the_rate_has_a_momentum_of_zero_too(model, kind):
    assert adapt(kind(momentum=0.0), model, 1)(pictures(1).images / 255).isfinite().all()
