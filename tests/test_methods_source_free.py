"""The update rules of the methods that see no source data, against loops and library functions on the same batches.

The reference runs draw the batches that the method draws (same seed), take gradients with `torch.autograd.grad` and
step by hand, so that neither the method's losses nor its optimizer are used twice.
"""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.distance import cdist
from torch import nn
from torch.distributions import Categorical

from dabench import models
from dabench.core import Needs, Recipe
from dabench.methods.aad import AaD
from dabench.methods.adacontrast import AdaContrast, info_nce, vote
from dabench.methods.dine import DINE, level
from dabench.methods.nrc import NRC, neighbourhood
from dabench.methods.shot import SHOT
from dabench.methods.shot import pseudo_labels as pseudo_labels_of_shot
from dabench.methods.shot_im import SHOTIM
from dabench.nn import strong
from dabench.run.images import Pictures
from dabench.run.target_data import Granted, Listeners, TargetData

CLASSES, SHAPE, BATCH, IMAGES = 4, (3, 16, 16), 8, 32
CPU = torch.device("cpu")
CHANCE = torch.Generator().manual_seed(1)
TARGET = Pictures(torch.randint(0, 128, (IMAGES, *SHAPE), generator=CHANCE, dtype=torch.uint8), None, CPU)
ANSWERS = torch.randn(IMAGES, CLASSES, generator=CHANCE).softmax(1)
PLAIN = {"momentum": 0.0, "weight_decay": 0.0, "lr": 0.05}


def data(method, steps, **options):
    """The unlabelled target, and the source model's answers to who may see them."""
    answers = ANSWERS if method.declaration.needs & Needs.SOURCE_ANSWERS else None
    recipe, sizes = Recipe(steps=steps, batch_size=BATCH), {"num_classes": CLASSES, "seed": 0, "device": CPU}
    return TargetData(method.declaration, recipe, Granted(target=TARGET, answers=answers), **sizes, **options)


@pytest.fixture
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = models.build("lenet_bn", CLASSES, SHAPE)
    network.precision = torch.float32
    return network.train()


def adapt(method, model, steps, **options):
    """What the method makes of a copy of the model, from seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return method.adapt(copy.deepcopy(model), data(method, steps, **options))


def descend(model, loss, lr):
    """One step of plain gradient descent on all weights that the loss reaches."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad(loss, weights)
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            weight -= lr * gradient


def annealed(lr, p):
    return lr / (1 + 10 * p) ** 0.75


def in_eval_mode(model):
    """Features and predictions of every target image; the model stays in training mode."""
    model.eval()
    with torch.no_grad():
        features = model.features(TARGET.take(torch.arange(IMAGES)))
        predictions = model.head(features).softmax(1)
    model.train()
    return features, predictions


def assert_same(found, expected):
    """Equal weights and batch-norm statistics."""
    expected = expected.state_dict()
    for name, value in found.state_dict().items():
        torch.testing.assert_close(value, expected[name], atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


def sure_and_varied(logits):
    predictions = logits.softmax(1)
    return Categorical(predictions).entropy().mean() - Categorical(predictions.mean(0)).entropy()


@pytest.mark.parametrize("kind", [SHOT, AaD, NRC, AdaContrast, DINE])
def test_a_pass_over_the_target_in_eval_mode_is_followed_by_training_mode(model, kind):
    modes, means = [], []

    def look(now, progress, losses):
        modes.extend(module.training for module in now.modules())
        means.append(now.backbone[1].running_mean.clone())

    adapt(kind(), model, 10, listeners=Listeners(on_checkpoint=look))
    assert all(modes)
    assert not any(torch.equal(one, other) for one, other in pairwise(means))


# --------------------------------------------------------------------------------------------------- SHOT


def pseudo_labels(model):
    """The nearest centroid by scipy's cosine distance, twice."""
    features, weights = (values.double().numpy() for values in in_eval_mode(model))
    points = np.hstack([features, np.ones((IMAGES, 1))])
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    labels = weights.argmax(1)
    for _ in range(2):
        present = np.unique(labels)
        centroids = (weights.T @ points)[present] / weights.sum(0)[present, None]
        labels = present[cdist(points, centroids, "cosine").argmin(1)]
        weights = np.eye(CLASSES)[labels]
    return torch.from_numpy(labels)


@pytest.mark.parametrize(("method", "beta"), [(SHOTIM(**PLAIN), 0), (SHOT(beta=0.7, **PLAIN), 0.7)])
def test_shot_moves_the_features_to_sure_and_varied_predictions_near_their_centroids(model, method, beta):
    adapted = adapt(method, model, 6)  # an epoch is four steps, so that pseudo-labels are taken twice
    model.head.requires_grad_(False)
    for step, batch in enumerate(data(method, 6).batches(model)):
        if step % 4 == 0:
            labels = pseudo_labels(model)
        logits = model(batch.target_images)
        loss = sure_and_varied(logits) + beta * F.nll_loss(logits.log_softmax(1), labels[batch.target_index])
        descend(model, loss, annealed(0.05, step / 6))
    assert_same(adapted, model)


def test_a_class_that_is_never_predicted_gets_no_pseudo_labels(model):
    with torch.no_grad():
        model.head.bias[2] = -50
    labels = pseudo_labels_of_shot(model, data(SHOT(), 1))
    assert labels.tolist() == pseudo_labels(model).tolist()
    assert 2 not in labels


@pytest.mark.parametrize("method", [SHOT(), SHOTIM()])
def test_shot_keeps_the_head_and_hands_it_back_trainable(model, method):
    adapted = adapt(method, model, 3)
    assert torch.equal(adapted.head.weight, model.head.weight)
    assert adapted.head.weight.requires_grad


# --------------------------------------------------------------------------------------------- AaD and NRC


def test_aad_attracts_neighbours_and_disperses_the_batch(model):
    method = AaD(neighbours=3, beta=0.75, **PLAIN)
    adapted = adapt(method, model, 3)
    features, predictions = in_eval_mode(model)
    for step, batch in enumerate(data(method, 3).batches(model)):
        found = model.features(batch.target_images)
        predicted = model.head(found).softmax(1)
        features[batch.target_index], predictions[batch.target_index] = found.detach(), predicted.detach()
        loss = 0
        for i, index in enumerate(batch.target_index):
            similarity = F.cosine_similarity(features[index], features)
            similarity[index] = -torch.inf
            for k in similarity.argsort(descending=True)[:3]:
                # The authors' divergence without a logarithm has the gradient of minus the dot product.
                loss = loss + F.kl_div(predicted[i], predictions[k], reduction="sum") / BATCH
            for j in set(range(BATCH)) - {i}:
                loss = loss + (1 + 10 * step / 3) ** -0.75 * predicted[i] @ predicted[j] / BATCH
        descend(model, loss, annealed(0.05, step / 3))
    assert_same(adapted, model)


ANGLES = torch.tensor([0.0, 0.1, 0.3, 1.0, 1.2, 1.5])
POINTS = torch.stack([ANGLES.cos(), ANGLES.sin()], 1)


def test_only_a_neighbour_that_has_the_image_among_its_own_counts_in_full():
    near, weight, around = neighbourhood(POINTS, torch.tensor([0, 2, 3]), 2, 1)
    assert near.tolist() == [[1, 2], [1, 0], [4, 5]]
    # 1's nearest is 0 and so is not 2; 0's is 1; 2's is 1; 4's is 3 and 5's is 4.
    assert around[..., 0].tolist() == [[0, 1], [0, 1], [3, 4]]
    torch.testing.assert_close(weight, torch.tensor([[1, 0.1], [0.1, 0.1], [1, 0.1]]))


def test_nrc_agrees_with_neighbours_by_their_weights_and_with_theirs_by_a_tenth(model):
    method = NRC(neighbours=3, neighbours_of_each=2, **PLAIN)
    adapted = adapt(method, model, 3)
    features, predictions = in_eval_mode(model)

    def nearest(index, count):
        similarity = F.cosine_similarity(features[index], features)
        similarity[index] = -torch.inf
        return similarity.argsort(descending=True)[:count].tolist()

    for step, batch in enumerate(data(method, 3).batches(model)):
        found = model.features(batch.target_images)
        predicted = model.head(found).softmax(1)
        features[batch.target_index], predictions[batch.target_index] = found.detach(), predicted.detach()
        loss = -Categorical(predicted.mean(0)).entropy()
        for i, index in enumerate(batch.target_index.tolist()):
            for k in nearest(index, 3):
                weight = 1.0 if index in nearest(k, 2) else 0.1
                loss = loss - weight * predicted[i] @ predictions[k] / BATCH
                for m in nearest(k, 2):
                    loss = loss - 0.1 * predicted[i] @ predictions[m] / BATCH
        descend(model, loss, annealed(0.05, step / 3))
    assert_same(adapted, model)


@pytest.mark.parametrize("method", [AaD(), NRC(), AdaContrast()])
def test_fewer_target_images_than_neighbours_are_enough(model, method):
    few = Pictures(TARGET.images[:4], None, CPU)
    sizes = {"num_classes": CLASSES, "seed": 0, "device": CPU}
    target_data = TargetData(method.declaration, Recipe(steps=2, batch_size=4), Granted(target=few), **sizes)
    adapted = method.adapt(copy.deepcopy(model), target_data)
    assert all(weight.isfinite().all() for weight in adapted.parameters())


# --------------------------------------------------------------------------------------------- AdaContrast


def test_the_vote_is_the_greatest_mean_prediction_of_the_nearest():
    predictions = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1]])
    # The nearest three of 0.19 are 1, 2 and 0: means of 0.57 and 0.43. The nearest two of 0.25 are 2 and 1.
    assert vote(at(0.19), POINTS, predictions, 3).tolist() == [0]
    assert vote(at(0.25), POINTS, predictions, 2).tolist() == [1]


def at(angle):
    """A feature of length five at that angle, for lengths do not count."""
    return 5 * torch.tensor([[np.cos(angle), np.sin(angle)]], dtype=torch.float32)


def test_keys_of_the_same_class_are_no_negatives():
    query, positive, keys = POINTS[:1], POINTS[1:2], POINTS[2:5]
    different = torch.tensor([[True, False, True]])
    found = info_nce(query, positive, keys, different, 0.5)
    similarities = torch.tensor([[0.1, 0.3, 1.2]]).cos() / 0.5
    torch.testing.assert_close(found, F.cross_entropy(similarities, torch.tensor([0])))


def test_adacontrast_learns_the_vote_and_tells_images_apart(model):
    method = AdaContrast(lr=0.01, momentum=0.5, neighbours=3, queue=12)
    adapted = adapt(method, model, 3)
    reference, teacher = model, copy.deepcopy(model)
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, nesterov=True)
    bank, predictions = in_eval_mode(reference)
    keys, key_labels = [], []
    torch.manual_seed(0)
    for step, batch in enumerate(data(method, 3).batches(reference)):
        with torch.no_grad():
            weak = reference.features(batch.target_images)
            similarity = F.cosine_similarity(weak[:, None], bank[None], dim=2)
            labels = predictions[similarity.argsort(descending=True)[:, :3]].mean(1).argmax(1)
            for mine, theirs in zip(teacher.parameters(), reference.parameters(), strict=True):
                mine.mul_(0.5).add_(theirs, alpha=0.5)
            for mine, theirs in zip(teacher.buffers(), reference.buffers(), strict=True):
                mine.copy_(theirs)
            positives = F.normalize(teacher.features(strong(batch.target_raw)))
        features = reference.features(strong(batch.target_raw))
        logits = reference.head(features)
        loss = F.cross_entropy(logits, labels) - Categorical(logits.softmax(1).mean(0)).entropy()
        for i, query in enumerate(F.normalize(features)):
            negatives = [key for key, label in zip(keys, key_labels, strict=True) if label != labels[i]]
            similarities = torch.stack([query @ key for key in [positives[i], *negatives]]) / 0.07
            loss = loss + F.cross_entropy(similarities[None], torch.tensor([0])) / BATCH
        optimizer.param_groups[0]["lr"] = 0.01 * (1 + np.cos(np.pi * step / 3)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        keys, key_labels = [*positives, *keys][:12], [*labels, *key_labels][:12]
        with torch.no_grad():
            slow = teacher.features(batch.target_images)
            bank[batch.target_index], predictions[batch.target_index] = slow, teacher.head(slow).softmax(1)
    assert_same(adapted, reference)


# ---------------------------------------------------------------------------------------------------- DINE


def test_the_answers_below_the_greatest_are_levelled():
    answers = torch.tensor([[0.1, 0.6, 0.0, 0.3]])
    torch.testing.assert_close(level(answers, 1), torch.tensor([[0.4 / 3, 0.6, 0.4 / 3, 0.4 / 3]]))
    torch.testing.assert_close(level(answers, 2), torch.tensor([[0.05, 0.6, 0.05, 0.3]]))
    torch.testing.assert_close(level(answers, 9), answers)


def test_dine_distils_with_mixtures_and_then_tunes_finely(model):
    method = DINE(mix=0.5, ema=0.6, distil_share=0.5, **PLAIN)
    adapted = adapt(method, model, 6)
    taught = level(ANSWERS, 1)
    torch.manual_seed(0)
    for step, batch in enumerate(data(method, 6).batches(model)):
        if step in (1, 2):
            taught = 0.6 * taught + 0.4 * in_eval_mode(model)[1]
        logits = model(batch.target_images)
        loss = sure_and_varied(logits)
        if step < 3:
            expected = taught[batch.target_index]
            loss = loss + (expected * (expected.log() - logits.log_softmax(1))).sum(1).mean()
            share = torch.distributions.Beta(0.3, 0.3).sample()
            other = torch.randperm(BATCH)
            images, answers = batch.target_images, logits.softmax(1).detach()
            mixed = share * answers + (1 - share) * answers[other]
            answered = model(share * images + (1 - share) * images[other]).log_softmax(1)
            loss = loss + 0.5 * (mixed * (mixed.log() - answered)).sum(1).mean()
        descend(model, loss, annealed(0.05, step % 3 / 3))
    assert_same(adapted, model)


def test_dine_may_spend_the_whole_budget_on_distilling(model):
    adapted = adapt(DINE(distil_share=1.0), model, 3)
    assert not torch.equal(adapted.head.weight, model.head.weight)
    assert isinstance(adapted, nn.Module)
