"""Each method's loss or update rule, against hand-computed values or an independent implementation.

The reference runs draw the batches that the method draws (same seed), take gradients with `torch.autograd.grad` and
step by hand, so that neither the method's losses nor its optimizer are used twice.
"""

import copy
from math import exp, log

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.layers import BatchNormAct2d
from torch import nn

from dabench import models
from dabench.core import NotApplicable, Recipe
from dabench.methods.activation_shaping import ActivationShaping
from dabench.methods.adabn import AdaBN
from dabench.methods.adapternet import AdapterNet
from dabench.methods.adapternet_inner import AdapterNetInner
from dabench.methods.adapternet_unlabelled import AdapterNetUnlabelled
from dabench.methods.dan import DAN
from dabench.methods.dann import DANN
from dabench.methods.deep_coral import DeepCORAL
from dabench.methods.finetune_all import FinetuneAll
from dabench.methods.finetune_last1 import FinetuneLast1
from dabench.methods.finetune_last2 import FinetuneLast2
from dabench.methods.finetune_last3 import FinetuneLast3
from dabench.methods.importance_weighting import ImportanceWeighting, fit_log_ratio
from dabench.methods.jan import JAN
from dabench.methods.lp_ft import LPFT
from dabench.methods.nogrl import NoGRL
from dabench.methods.source_more import SourceMore
from dabench.methods.source_only import SourceOnly
from dabench.methods.target_mask import TargetMask
from dabench.methods.target_supervised import TargetSupervised
from dabench.methods.tent import Tent
from dabench.nn import DomainCritic, coral, gaussian_kernels, hooked, layers_of, mmd
from dabench.run.images import Pictures
from dabench.run.target_data import Granted, Listeners, TargetData

CLASSES, SHAPE, BATCH = 4, (3, 16, 16), 8
CPU = torch.device("cpu")


def pictures(seed, count=32):
    """Random images and labels; the darker, the greater the seed."""
    chance = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256 // (seed + 1), (count, *SHAPE), generator=chance, dtype=torch.uint8)
    return Pictures(images, torch.randint(0, CLASSES, (count,), generator=chance), CPU)


SOURCE, TARGET = pictures(0), pictures(1)


def data(method, steps, source=SOURCE, target=TARGET, validation=None, listeners=None):
    """Both domains with their labels, as the harness would hand them over; no augmentation."""
    recipe = Recipe(steps=steps, batch_size=BATCH)
    granted = Granted(source=source, target=target, validation=validation)
    sizes = {"num_classes": CLASSES, "seed": 0, "device": CPU}
    return TargetData(method.declaration, recipe, granted, **sizes, listeners=listeners)


@pytest.fixture
def model():
    return built("lenet_bn")


def built(backbone):
    """A fresh network in float32, in training mode, as a method gets it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = models.build(backbone, CLASSES, SHAPE)
    network.precision = torch.float32
    return network.train()


def adapt(method, model, steps, **options):
    """What the method makes of a copy of the model, from seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        np.random.seed(0)
        return method.adapt(copy.deepcopy(model), data(method, steps, **options))


def drawn(method, model, steps):
    """The batches that the method will see."""
    return list(data(method, steps).batches(model))


def both(batch):
    return torch.cat([batch.source_images, batch.target_images])


def step(parameters, gradients, lr):
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter -= lr * gradient


def annealed(lr, p):
    return lr / (1 + 10 * p) ** 0.75


def assert_same(found, expected, tolerance=1e-5):
    """Equal weights and batch-norm statistics."""
    expected = expected.state_dict()
    for name, value in found.state_dict().items():
        torch.testing.assert_close(value, expected[name], atol=tolerance, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


def changed(found, original):
    """The names of weights and statistics that are not the same bit for bit."""
    original = original.state_dict()
    return {name for name, value in found.state_dict().items() if not torch.equal(value, original[name])}


# ----------------------------------------------------------------------------------------- floor and ceiling


def test_source_only_changes_nothing(model):
    assert not changed(adapt(SourceOnly(), model, 2), model)


def test_target_supervised_takes_adamw_steps_over_one_cycle(model):
    method = TargetSupervised(lr=1e-3)
    adapted = adapt(method, model, 3)
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=4)
    for batch in drawn(method, model, 3):
        optimizer.zero_grad()
        F.nll_loss(model(batch.target_images).log_softmax(1), batch.target_labels).backward()
        optimizer.step()
        schedule.step()
    assert_same(adapted, model)


# ----------------------------------------------------------------------------------------------- fine-tuning

LAYERS = (("backbone.0.", "backbone.1."), ("backbone.4.", "backbone.5."), ("backbone.9.",), ("head.",))


@pytest.mark.parametrize(("kind", "count"), [(FinetuneLast1, 1), (FinetuneLast2, 2), (FinetuneLast3, 3)])
def test_finetune_last_changes_every_weight_of_the_last_layers_and_nothing_else(model, kind, count):
    moved = changed(adapt(kind(), model, 2), model)
    last = tuple(name for layer in LAYERS[-count:] for name in layer)
    assert moved == {name for name in model.state_dict() if name.startswith(last)}


@pytest.mark.parametrize("kind", [FinetuneLast1, FinetuneLast2, FinetuneLast3, FinetuneAll])
def test_fine_tuning_starts_with_an_adam_step_on_the_target_labels(model, kind):
    adapted = adapt(kind(lr=1e-3), model, 1)
    (batch,) = drawn(kind(), model, 1)
    if kind is not FinetuneAll:
        model.eval()
        for layer in LAYERS[-3:]:
            for place in layer[1:] if kind is FinetuneLast3 else ():
                model.get_submodule(place[:-1]).train()
    loss = F.cross_entropy(model(batch.target_images), batch.target_labels)
    head = model.head.weight
    (gradient,) = torch.autograd.grad(loss, head)
    # The first step of Adam has the size lr, whatever that of the gradient.
    torch.testing.assert_close(adapted.head.weight, head - 1e-3 * gradient / (gradient.abs() + 1e-8))


def test_finetune_all_moves_each_layer_at_its_own_rate(model):
    adapted = adapt(FinetuneAll(lr=1e-2, layer_decay=0.5), model, 1)
    for k, names in enumerate(reversed(LAYERS)):
        for (name, before), after in zip(model.named_parameters(), adapted.parameters(), strict=True):
            if name.startswith(names) and before.ndim > 1:
                assert (after - before).abs().max().item() == pytest.approx(1e-2 * 0.5**k, rel=1e-3)


def test_finetune_all_starts_the_last_layers_anew(model):
    adapted = adapt(FinetuneAll(reinitialise=2), model, 0)
    last = tuple(name for layer in LAYERS[-2:] for name in layer)
    assert changed(adapted, model) == {name for name in model.state_dict() if name.startswith(last)}


def test_lp_ft_leaves_the_backbone_untouched_until_the_probe_ends(model):
    moved = []
    adapted = adapt(
        LPFT(probe_share=0.5),
        model,
        10,
        listeners=Listeners(on_checkpoint=lambda now, p, loss: moved.append(changed(now, model))),
    )
    assert all(names == {"head.weight", "head.bias"} for names in moved[:5])
    assert all(names == set(model.state_dict()) for names in moved[5:])
    assert changed(adapted, model) == moved[-1]


def test_lp_ft_goes_on_at_the_lower_rate(model):
    seen = []
    adapt(
        LPFT(probe_lr=1e-2, lr=1e-4, probe_share=0.5),
        model,
        10,
        listeners=Listeners(on_checkpoint=lambda now, p, loss: seen.append(now.head.weight.detach().clone())),
    )
    assert (seen[0] - model.head.weight).abs().max().item() == pytest.approx(1e-2, rel=1e-3)
    assert (seen[5] - seen[4]).abs().max().item() == pytest.approx(1e-4, rel=1e-3)


# ------------------------------------------------------------------------------------------------ AdapterNet

IMAGES = torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize(("depth", "width"), [(1, 1), (5, 1), (3, 4), (9, 2)])
@pytest.mark.parametrize("kind", [AdapterNet, AdapterNetUnlabelled])
def test_adapternet_starts_at_the_identity(model, kind, depth, width, kernel):
    adapted = adapt(kind(depth=depth, width=width, kernel=kernel), model, 0)
    assert (adapted.adapter(IMAGES) - IMAGES).abs().max() == 0


@pytest.mark.parametrize("kind", [AdapterNet, AdapterNetUnlabelled])
def test_the_hidden_channels_of_a_wider_adapter_learn(model, kind):
    adapted = adapt(kind(depth=2, width=4), model, 3)
    into_the_image = adapted.adapter[-1].weight[:, 3:]  # 0 at the start
    assert (into_the_image.abs().amax(dim=(0, 2, 3)) > 0).float().mean() > 0.5


def test_adapternet_at_random_does_not_start_at_the_identity(model):
    adapted = adapt(AdapterNet(init="random"), model, 0)
    assert (adapted.adapter(IMAGES) - IMAGES).abs().max() > 0.1


@pytest.mark.parametrize("kind", [AdapterNet, AdapterNetUnlabelled])
def test_adapternet_changes_its_adapter_and_nothing_of_the_classifier(model, kind):
    adapted = adapt(kind(), model, 3)
    assert not changed(adapted.model, model)
    assert (adapted.adapter(IMAGES) - IMAGES).abs().max() > 0


def test_adapternet_starts_with_an_adam_step_on_the_target_labels(model):
    adapted = adapt(AdapterNet(depth=1, lr=1e-3), model, 1)
    (batch,) = drawn(AdapterNet(), model, 1)
    weight = torch.eye(3).requires_grad_()
    images = torch.einsum("ij,bjhw->bihw", weight, batch.target_images)
    loss = F.cross_entropy(model.eval()(images), batch.target_labels)
    (gradient,) = torch.autograd.grad(loss, weight)
    # The first step of Adam has the size lr, whatever that of the gradient.
    stepped = weight - 1e-3 * gradient / (gradient.abs() + 1e-8)
    torch.testing.assert_close(adapted.adapter[0].weight.flatten(1), stepped, atol=1e-4, rtol=0)


def test_adapternet_unlabelled_wants_sure_and_varied_predictions(model):
    adapted = adapt(AdapterNetUnlabelled(depth=1, lr=1e-3, weight=0.7), model, 1)
    (batch,) = drawn(AdapterNetUnlabelled(), model, 1)
    weight = torch.eye(3).requires_grad_()
    images = torch.einsum("ij,bjhw->bihw", weight, batch.target_images)
    predicted = model.eval()(images).softmax(1)
    sure = torch.distributions.Categorical(predicted).entropy().mean()
    varied = torch.distributions.Categorical(predicted.mean(0)).entropy()
    (gradient,) = torch.autograd.grad(sure - 0.7 * varied, weight)
    # The first step of Adam has the size lr, whatever that of the gradient.
    stepped = weight - 1e-3 * gradient / (gradient.abs() + 1e-8)
    torch.testing.assert_close(adapted.adapter[0].weight.flatten(1), stepped, atol=1e-4, rtol=0)


@pytest.mark.parametrize("backbone", ["lenet_bn", "lenet", "resnet8", "efficientnet_lite0"])
def test_inner_adapters_start_at_the_identity(backbone):
    model = built(backbone)
    adapted = adapt(AdapterNetInner(every=2), model, 0)
    with torch.no_grad():
        assert (adapted.eval()(IMAGES) - model.eval()(IMAGES)).abs().max() == 0


def test_inner_adapters_follow_every_nth_convolution(model):
    count = {every: len(changed_structure(built("resnet8"), every)) for every in (1, 2, 3, 1000)}
    # resnet8 has a stem, three blocks of two convolutions and two projections: nine.
    assert count == {1: 9, 2: 4, 3: 3, 1000: 1}


def changed_structure(model, every):
    """The convolutions that are new in the adapted model."""
    adapted = adapt(AdapterNetInner(every=every), model, 0)
    return layers_of(adapted, "conv")[len(layers_of(model, "conv")) :]


def test_inner_adapters_leave_the_classifier_as_it_was():
    model = built("resnet8")
    adapted = adapt(AdapterNetInner(every=1), model, 3)
    assert (adapted.eval()(IMAGES) - model.eval()(IMAGES)).abs().max() > 0
    # A layer that got an adapter is now the first of two.
    kept = {name.replace(".0.weight", ".weight"): value for name, value in adapted.named_parameters()}
    for convolution in layers_of(model, "conv"):
        assert any(torch.equal(convolution.weight, value) for value in kept.values())
    for before, after in zip(layers_of(model, "batchnorm"), layers_of(adapted, "batchnorm"), strict=True):
        assert not changed(after, before)
    assert not changed(adapted.head, model.head)


# ----------------------------------------------------------------------------------------------- adversarial


def domain_cross_entropy(critic, source, target):
    """Source is 1, target is 0."""
    truth = torch.cat([torch.ones(len(source)), torch.zeros(len(target))])
    return F.binary_cross_entropy_with_logits(critic(torch.cat([source, target])), truth)


def critic_of(model, hidden):
    """The critic that a method draws first from seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return DomainCritic(model.feature_dim, hidden)


def test_dann_reverses_the_domain_gradient_for_the_features_alone(model):
    method = DANN(lr=0.05, momentum=0.0, hidden=16)
    adapted = adapt(method, model, 3)
    critic = critic_of(model, 16)
    backbone, head, judge = (list(part.parameters()) for part in (model.backbone, model.head, critic))
    for number, batch in enumerate(drawn(method, model, 3)):
        p = number / 3
        strength, lr = 2 / (1 + exp(-10 * p)) - 1, annealed(0.05, p)
        source, target = model.features(both(batch)).chunk(2)
        prediction = F.cross_entropy(model.head(source), batch.source_labels)
        domain = domain_cross_entropy(critic, source, target)
        gradients = torch.autograd.grad(prediction, [*backbone, *head], retain_graph=True)
        reversed_, own = (torch.autograd.grad(domain, part, retain_graph=True) for part in (backbone, judge))
        step(backbone, [g - strength * d for g, d in zip(gradients, reversed_, strict=False)], lr)
        step(head, gradients[len(backbone) :], lr)
        step(judge, own, lr)
    assert_same(adapted, model)


def test_nogrl_trains_the_critic_by_its_loss_and_the_features_by_prediction_and_confusion(model):
    method = NoGRL(lr=0.05, momentum=0.0, hidden=16, gamma=2.0, dropout=0.0, l2=0.01)
    adapted = adapt(method, model, 3)
    critic = critic_of(model, 16)
    backbone, head, judge = (list(part.parameters()) for part in (model.backbone, model.head, critic))
    for batch, alpha in zip(drawn(method, model, 3), (0.5, 1 / (1 + exp(-2 / 3)), 1 / (1 + exp(-4 / 3))), strict=True):
        source, target = model.features(both(batch)).chunk(2)
        prediction = F.cross_entropy(model.head(source), batch.source_labels)
        domain = domain_cross_entropy(critic, source, target)
        confusion = domain_cross_entropy(critic, target, source)
        for_features = torch.autograd.grad(alpha * prediction + (1 - alpha) * confusion, backbone, retain_graph=True)
        for_head = torch.autograd.grad(alpha * prediction, head, retain_graph=True)
        for_critic = torch.autograd.grad((1 - alpha) * domain, judge)
        step(backbone, for_features, 0.05)
        # The gradient of l2 |w|^2 is 2 l2 w.
        step(head, [g + 0.02 * w for g, w in zip(for_head, head, strict=True)], 0.05)
        step(judge, [g + 0.02 * w for g, w in zip(for_critic, judge, strict=True)], 0.05)
    assert_same(adapted, model)


# ----------------------------------------------------------------------------------------------- discrepancy


def numpy_coral(source, target):
    difference = np.cov(source, rowvar=False) - np.cov(target, rowvar=False)
    return (difference**2).sum() / (4 * source.shape[1] ** 2)


def looped_kernel(points):
    """DAN's kernel between all pairs, one pair at a time; the bandwidth is a number without gradient."""
    pairs = [[((a - b) ** 2).sum() for b in points] for a in points]
    apart = [pairs[i][j].item() for i in range(len(points)) for j in range(len(points)) if i != j]
    variances = [sum(apart) / len(apart) * 2.0**k for k in (-3, -2, -1, 0, 1)]
    return [[sum((-pair / (2 * variance)).exp() for variance in variances) for pair in row] for row in pairs]


def looped_mmd(kernel):
    """E k(s, s') + E k(t, t') - 2 E k(s, t), one pair at a time."""
    half = len(kernel) // 2
    total = 0.0
    for i in range(len(kernel)):
        for j in range(len(kernel)):
            total = total + kernel[i][j] * (1 if (i < half) == (j < half) else -1)
    return total / half**2


def points(seed, count, dim):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_coral_is_the_squared_distance_of_covariances_over_four_d_squared():
    source, target = points(0, 40, 5), 2 * points(1, 30, 5) + 3
    assert coral(source, target).item() == pytest.approx(numpy_coral(source.numpy(), target.numpy()))


def test_coral_does_not_see_the_mean():
    assert coral(points(0, 40, 5), points(0, 40, 5) + 7).item() == pytest.approx(0, abs=1e-12)


def test_the_kernels_are_the_sum_of_five_gaussians_of_their_own_width():
    sample = points(0, 12, 3)
    expected = torch.tensor([[value.item() for value in row] for row in looped_kernel(sample)], dtype=torch.float64)
    torch.testing.assert_close(gaussian_kernels(sample), expected)


def test_mmd_is_the_double_loop_and_grows_with_the_distance_of_the_domains():
    source = points(0, 10, 3)
    values = []
    for shift in (0.0, 1.0, 3.0):
        kernel = gaussian_kernels(torch.cat([source, points(1, 10, 3) + shift]))
        assert mmd(kernel).item() == pytest.approx(looped_mmd(kernel).item())
        values.append(mmd(kernel).item())
    assert 0 <= values[0] < values[1] < values[2]
    assert mmd(gaussian_kernels(torch.cat([source, source]))).item() == pytest.approx(0, abs=1e-12)


def coral_loss(features, logits, p):
    parts = [part - part.mean(0) for part in logits.chunk(2)]
    source, target = (part.T @ part / (BATCH - 1) for part in parts)
    return ((source - target) ** 2).sum() / (4 * CLASSES**2)


def dan_loss(features, logits, p):
    return looped_mmd(looped_kernel(features)) + looped_mmd(looped_kernel(logits))


def jan_loss(features, logits, p):
    kernel, predicted = looped_kernel(features), logits.softmax(1)
    for row, one in zip(kernel, predicted, strict=True):
        for column, other in enumerate(predicted):
            row[column] = row[column] * (-((one - other) ** 2).sum() / 1.68).exp()
    return (2 / (1 + exp(-10 * p)) - 1) * looped_mmd(kernel)


@pytest.mark.parametrize(("kind", "discrepancy"), [(DeepCORAL, coral_loss), (DAN, dan_loss), (JAN, jan_loss)])
def test_a_discrepancy_is_minimised_beside_the_source_cross_entropy(model, kind, discrepancy):
    method = kind(lr=0.05, momentum=0.0, weight=2.0)
    adapted = adapt(method, model, 2)
    weights = list(model.parameters())
    for number, batch in enumerate(drawn(method, model, 2)):
        p = number / 2
        features = model.features(both(batch))
        logits = model.head(features)
        prediction = F.cross_entropy(logits[:BATCH], batch.source_labels)
        loss = prediction + 2.0 * discrepancy(features, logits, p)
        step(weights, torch.autograd.grad(loss, weights), annealed(0.05, p))
    assert_same(adapted, model)


# ---------------------------------------------------------------------------------------- activation shaping


class Witness:
    """Notes what a layer gives and what the layer behind it gets."""

    def __init__(self, layer, behind):
        self.given, self.got = [], []
        layer.register_forward_hook(lambda module, inputs, output: self.given.append(output.detach().clone()))
        behind.register_forward_pre_hook(lambda module, inputs: self.got.append(inputs[0].detach().clone()))


def adapt_in_place(method, model, steps):
    torch.manual_seed(0)
    return method.adapt(model, data(method, steps))


def test_shaping_gives_the_binary_map_with_a_share_put_out(model):
    witness = Witness(model.backbone[0], model.backbone[1])
    adapt_in_place(ActivationShaping(after="conv", every=1, mask_rate=0.3), model, 4)
    for given, got in zip(witness.given, witness.got, strict=True):
        assert set(got.unique().tolist()) == {0.0, 1.0}
        assert not got[given <= 0].any()
        assert 1 - got[given > 0].mean().item() == pytest.approx(0.3, abs=0.02)
    assert len(witness.got) == 4
    assert not torch.equal(witness.got[0] > 0, witness.got[1] > 0)


@pytest.mark.parametrize("kind", [ActivationShaping, TargetMask])
@pytest.mark.parametrize("binary", [True, False])
def test_nothing_is_put_out_when_the_model_answers(model, kind, binary):
    witness = Witness(model.backbone[0], model.backbone[1])
    adapted = adapt_in_place(kind(every=1, binary_answers=binary), model, 1)
    adapted.eval()(IMAGES)
    given, got = witness.given[-1], witness.got[-1]
    assert torch.equal(got, (given > 0).float() if binary else given)


def test_every_other_convolution_is_shaped(model):
    first, second = Witness(model.backbone[0], model.backbone[1]), Witness(model.backbone[4], model.backbone[5])
    adapt_in_place(ActivationShaping(every=2), model, 1)
    assert torch.equal(first.given[0], first.got[0])
    assert not torch.equal(second.given[0], second.got[0])


def test_a_network_of_fewer_layers_has_its_last_one_shaped(model):
    last = Witness(model.backbone[4], model.backbone[5])
    adapt_in_place(ActivationShaping(every=3), model, 1)
    assert not torch.equal(last.given[0], last.got[0])


def test_a_network_without_such_a_layer_is_refused():
    for method in (ActivationShaping(after="batchnorm"), TargetMask(after="batchnorm")):
        with pytest.raises(NotApplicable, match="no batchnorm layer"):
            adapt(method, built("lenet"), 1)


def test_a_batch_norm_with_its_activation_in_it_counts_as_both():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), BatchNormAct2d(4))
    assert layers_of(network, "batchnorm") == [network[1]]
    assert layers_of(network, "activation") == [network[1].act]


def test_hooks_are_gone_after_an_error(model):
    with pytest.raises(ZeroDivisionError), hooked([model.head], lambda layer, inputs, output: output / (1 // 0)):
        model(IMAGES)
    assert model(IMAGES).isfinite().all()


def test_shaping_takes_sgd_steps_on_the_source(model):
    method = ActivationShaping(lr=0.05, momentum=0.0, mask_rate=0.0)
    adapted = adapt(method, model, 2)
    weights = list(model.parameters())
    for batch in drawn(method, model, 2):
        normalised = (batch.source_images - 0.5) / 0.5
        binary = (model.backbone[:5](normalised) > 0).float()  # of two convolutions the last stands for every third
        logits = model.head(model.backbone[5:](binary))
        gradients = torch.autograd.grad(F.cross_entropy(logits, batch.source_labels), weights, allow_unused=True)
        step(weights, [torch.zeros(()) if g is None else g for g in gradients], 0.05)
    assert_same(adapted, model)
    assert not changed(adapted.backbone[0], built("lenet_bn").backbone[0])  # nothing gets past the binary map


def test_source_more_is_shaping_without_the_maps(model, monkeypatch):
    monkeypatch.setattr(ActivationShaping, "shape", lambda self, layer, inputs, output: output)
    shaped = adapt(ActivationShaping(lr=0.05, binary_answers=False), model, 3)
    assert_same(adapt(SourceMore(lr=0.05), model, 3), shaped, tolerance=0)
    assert changed(shaped, model)


def test_target_mask_keeps_what_is_active_in_both_domains(model):
    witness = Witness(model.backbone[0], model.backbone[1])
    adapt_in_place(TargetMask(every=1), model, 3)
    for number in range(3):
        target, source = witness.given[2 * number : 2 * number + 2]
        assert torch.equal(witness.got[2 * number], (target > 0).float())
        assert torch.equal(witness.got[2 * number + 1], ((source > 0) & (target > 0)).float())


def test_target_mask_takes_sgd_steps_on_the_source(model):
    method = TargetMask(lr=0.05, momentum=0.0)
    adapted = adapt(method, model, 2)
    weights = list(model.parameters())
    for batch in drawn(method, model, 2):
        with torch.no_grad():
            target = model.backbone[:5]((batch.target_images - 0.5) / 0.5) > 0
            model.backbone[5:](target.float())  # the batch norms see the target too
        source = model.backbone[:5]((batch.source_images - 0.5) / 0.5) > 0
        logits = model.head(model.backbone[5:]((source & target).float()))
        gradients = torch.autograd.grad(F.cross_entropy(logits, batch.source_labels), weights, allow_unused=True)
        step(weights, [torch.zeros(()) if g is None else g for g in gradients], 0.05)
    assert_same(adapted, model)


# ----------------------------------------------------------------------------------- statistics, test streams


def test_adabn_takes_the_mean_and_variance_of_what_comes_before_each_norm(model):
    target = pictures(1, 512)  # two batches of 256
    adapted = adapt(AdaBN(), model, 1, target=target)
    batches = [target.images[:256] / 255, target.images[256:] / 255]
    first = [model.backbone[0]((images - 0.5) / 0.5).detach() for images in batches]
    norm = adapted.backbone[1]
    everything = torch.cat(first)
    torch.testing.assert_close(norm.running_mean, everything.mean((0, 2, 3)))
    # Over images, the average of the batches' variances lacks that of their means alone.
    torch.testing.assert_close(norm.running_var, sum(maps.var((0, 2, 3)) for maps in first) / 2)
    torch.testing.assert_close(norm.running_var, everything.var((0, 2, 3)), rtol=0.01, atol=0)
    rest = nn.Sequential(nn.BatchNorm2d(20, track_running_stats=False), *model.backbone[2:5])
    second = torch.stack([rest(maps).mean((0, 2, 3)) for maps in first]).mean(0)
    torch.testing.assert_close(adapted.backbone[5].running_mean, second.detach(), rtol=1e-4, atol=1e-5)
    assert not {name for name in changed(adapted, model) if "running" not in name and "tracked" not in name}


@pytest.mark.parametrize("backbone", ["lenet_bn", "dtn"])  # dtn normalises its 256 features too: maps of one value
def test_adabn_weighs_each_image_alike_also_in_a_batch_of_few(backbone):
    model = built(backbone)
    target = pictures(1, 257)
    target.images[-1] = 255  # unlike all the others
    adapted = adapt(AdaBN(), model, 1, target=target)
    maps = model.backbone[0]((target.images / 255 - 0.5) / 0.5).detach()
    off = (adapted.backbone[1].running_mean - maps.mean((0, 2, 3))).abs() / maps.std((0, 2, 3))
    assert off.max() < 0.1


def test_one_image_has_no_statistics_and_the_methods_say_so(model):
    with pytest.raises(NotApplicable, match="two target images"):
        adapt(AdaBN(), model, 1, target=pictures(1, 1))
    single = TargetData(
        DeepCORAL.declaration,
        Recipe(steps=1, batch_size=1),
        Granted(source=SOURCE, target=TARGET),
        num_classes=CLASSES,
        seed=0,
        device=CPU,
    )
    with pytest.raises(NotApplicable, match="batch_size of 2"):
        DeepCORAL().adapt(copy.deepcopy(model), single)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_importance_weights_of_few_target_images_are_numbers_or_a_refusal(count):
    source, target = torch.randn(100, 4), torch.randn(count, 4) + 0.5
    for seed in range(10):
        np.random.seed(seed)
        if count < 2:
            with pytest.raises(NotApplicable, match="two images of each domain"):
                fit_log_ratio(source, target, 0.01)
        else:
            assert fit_log_ratio(source, target, 0.01)(source).isfinite().all()


def test_tent_moves_the_affine_parameters_alone(model):
    adapted = adapt(Tent(), model, 1)
    adapted.eval()(IMAGES)
    before = dict(model.named_parameters())
    moved = {name for name, value in adapted.model.named_parameters() if not torch.equal(value, before[name])}
    assert moved == {f"backbone.{place}.{kind}" for place in (1, 5) for kind in ("weight", "bias")}


def test_tent_answers_before_its_update_from_the_statistics_of_the_batch(model):
    adapted = adapt(Tent(), model, 1).eval()
    model.requires_grad_(False)
    expected = model.train()(IMAGES)
    torch.testing.assert_close(adapted(IMAGES), expected)
    assert not torch.allclose(adapted(IMAGES), expected)  # the second answer is from after the first update


def test_tent_takes_an_adam_step_on_the_entropy(model):
    adapted = adapt(Tent(lr=1e-3), model, 1).eval()
    adapted(IMAGES)
    gamma = model.backbone[1].weight
    loss = torch.distributions.Categorical(logits=model.train()(IMAGES)).entropy().mean()
    (gradient,) = torch.autograd.grad(loss, gamma)
    torch.testing.assert_close(adapted.model.backbone[1].weight, gamma - 1e-3 * gradient / (gradient.abs() + 1e-8))


@pytest.mark.parametrize("episodic", [True, False])
def test_episodic_tent_forgets_and_continual_tent_does_not(model, episodic):
    adapted = adapt(Tent(episodic=episodic), model, 1).eval()
    first = adapted(IMAGES)
    assert torch.equal(adapted(IMAGES), first) == episodic


# -------------------------------------------------------------------------------------- importance weighting


def test_the_ratio_of_two_gaussians_is_recovered():
    source, target = points(0, 6000, 2).float(), points(1, 3000, 2).float() + torch.tensor([1.0, 0.0])
    np.random.seed(0)
    log_ratio = fit_log_ratio(source, target, 1.0)
    # log N(x; 1, 1) - log N(x; 0, 1) = x - 1/2
    torch.testing.assert_close(log_ratio(source), source[:, 0] - 0.5, atol=0.25, rtol=0)


def test_few_images_are_left_where_the_domains_hardly_overlap(model):
    alike = adapt(ImportanceWeighting(c=1e-4), model, 1, target=pictures(0, 64)).effective_sample_size
    apart = adapt(ImportanceWeighting(c=1e3), model, 1).effective_sample_size
    assert apart < 0.9 * len(SOURCE) < alike <= len(SOURCE)


def test_each_source_image_counts_by_its_weight(model):
    method = ImportanceWeighting(lr=0.05, momentum=0.0, clip=1.5, c=0.1)
    adapted = adapt(method, model, 2)
    frozen = copy.deepcopy(model).eval().requires_grad_(False)
    features = [frozen.features(domain.images / 255) for domain in (SOURCE, TARGET)]
    np.random.seed(0)
    log_ratio = fit_log_ratio(*features, 0.1)

    def ratio(of):
        d = 1 / (1 + np.exp(log_ratio(of).double().numpy() - log(len(SOURCE) / len(TARGET))))
        return (1 - d) / d * len(SOURCE) / len(TARGET)

    weights = list(model.parameters())
    for number, batch in enumerate(drawn(method, model, 2)):
        ratios = ratio(frozen.features(batch.source_images)) / ratio(features[0]).mean()
        losses = F.cross_entropy(model(batch.source_images), batch.source_labels, reduction="none")
        loss = (torch.from_numpy(ratios.clip(max=1.5)).float() * losses).mean()
        step(weights, torch.autograd.grad(loss, weights), annealed(0.05, number / 2))
    assert_same(adapted, model)
