"""The update rules of the parameter-efficient and semi-supervised methods, against steps taken by hand."""

import copy
from math import cos, pi

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Categorical

from dabench import models
from dabench.core import Needs, NotApplicable, Recipe
from dabench.methods.bitfit import BitFit
from dabench.methods.fixmatch_few import FixMatchFew
from dabench.methods.lora import LoRA, LowRank
from dabench.methods.mme import MME
from dabench.methods.norm_only import NormOnly
from dabench.methods.surgical import Surgical
from dabench.nn import strong
from dabench.run.images import Pictures
from dabench.run.target_data import Granted, Listeners, TargetData

CLASSES, SHAPE, BATCH = 4, (3, 16, 16), 8
CPU = torch.device("cpu")
EFFICIENT = [BitFit, NormOnly, Surgical, LoRA]
NORMS = nn.modules.batchnorm._BatchNorm | nn.LayerNorm | nn.GroupNorm


def pictures(seed, labelled=True, count=32):
    chance = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256 // (seed + 1), (count, *SHAPE), generator=chance, dtype=torch.uint8)
    return Pictures(images, torch.randint(0, CLASSES, (count,), generator=chance) if labelled else None, CPU)


def data(method, steps, listeners=None, validation=None):
    """Labelled target images and, for who may see them, the source and the unlabelled rest."""
    needs = method.declaration.needs
    domains = {"target": pictures(1)}
    if needs & Needs.SOURCE:
        domains["source"] = pictures(0)
    if needs & Needs.UNLABELLED_REST:
        domains["unlabelled"] = pictures(2, labelled=False)
    recipe, sizes = Recipe(steps=steps, batch_size=BATCH), {"num_classes": CLASSES, "seed": 0, "device": CPU}
    return TargetData(
        method.declaration, recipe, Granted(**domains, validation=validation), **sizes, listeners=listeners
    )


def built(backbone):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = models.build(backbone, CLASSES, SHAPE)
    network.precision = torch.float32
    return network.train()


@pytest.fixture
def model():
    return built("resnet8")


def adapt(method, model, steps, **options):
    """What the method makes of a copy of the model, from seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return method.adapt(copy.deepcopy(model), data(method, steps, **options))


def changed(found, original):
    """The names of weights and statistics that are not the same bit for bit."""
    original = original.state_dict()
    return {name for name, value in found.state_dict().items() if not torch.equal(value, original[name])}


def names_in(model, kind):
    """The names of all weights and statistics of the modules of a kind."""
    found = [name for name, module in model.named_modules() if isinstance(module, kind)]
    return {f"{name}.{own}" for name in found for own in model.get_submodule(name).state_dict()}


def assert_same(found, expected):
    expected = expected.state_dict()
    for name, value in found.state_dict().items():
        torch.testing.assert_close(value, expected[name], atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


# ------------------------------------------------------------------------------------ parameter-efficient


def test_bitfit_moves_every_bias_and_nothing_else(model):
    moved = changed(adapt(BitFit(), model, 3), model)
    assert moved == {name for name in model.state_dict() if name.endswith("bias")}


def test_norm_only_moves_the_norms_and_their_statistics_and_nothing_else(model):
    assert changed(adapt(NormOnly(), model, 3), model) == names_in(model, NORMS)


def test_norm_only_learns_the_layer_norms_of_a_transformer():
    model = built("test_vit")
    norms = names_in(model, nn.LayerNorm)
    assert norms
    assert changed(adapt(NormOnly(), model, 3), model) == norms


def test_a_backbone_without_norms_is_refused():
    with pytest.raises(NotApplicable, match="lenet_bn"):
        adapt(NormOnly(), built("lenet"), 1)


def test_surgery_moves_one_block_and_the_blocks_together_are_all_layers(model):
    moved = [changed(adapt(Surgical(block=block), model, 3), model) for block in (1, 2, 3, 4)]
    assert set.union(*moved) == set(model.state_dict())
    assert sum(map(len, moved)) == len(model.state_dict())  # none twice
    assert "backbone.0.weight" in moved[0]
    assert "head.weight" in moved[3]


@pytest.mark.parametrize(
    ("kind", "name"),
    [(BitFit, "head.bias"), (NormOnly, "backbone.1.bias"), (Surgical, "backbone.0.weight"), (LoRA, "head.up.weight")],
)
def test_the_first_step_is_adams_on_the_target_labels(model, kind, name):
    adapted = adapt(kind(lr=1e-3), model, 1)
    (batch,) = data(kind(), 1).batches(model)
    first_block = [module for layer in model.layers()[:2] for module in layer]  # of resnet8's ten layers
    for module in model.modules():
        module.training = {NormOnly: isinstance(module, NORMS), Surgical: module in first_block}.get(kind, False)
    if kind is LoRA:
        model.head = LowRank(model.head, 4, 1.0)
        model.head.down.weight.data.copy_(adapted.head.down.weight)  # its first gradient is 0, for B is
    loss = F.cross_entropy(model(batch.target_images), batch.target_labels)
    weight = dict(model.named_parameters())[name]
    (gradient,) = torch.autograd.grad(loss, weight)
    # The first step of Adam has the size lr, whatever that of the gradient.
    stepped = weight - 1e-3 * gradient / (gradient.abs() + 1e-8)
    torch.testing.assert_close(dict(adapted.named_parameters())[name], stepped, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("backbone", ["lenet", "resnet8", "test_vit"])
def test_lora_starts_at_the_source_model(backbone):
    model = built(backbone).eval()
    adapted = adapt(LoRA(), model, 0).eval()
    images = pictures(3).take(torch.arange(8))
    assert torch.equal(adapted(images), model(images))


@pytest.mark.parametrize("strides", [1, 2])
def test_lora_adds_a_product_of_narrow_maps(strides):
    linear, convolution = nn.Linear(6, 5), nn.Conv2d(6, 5, 1, stride=strides)
    values = torch.randn(2, 6, 4, 4, generator=torch.Generator().manual_seed(0))
    for layer, given in ((LowRank(linear, 2, 0.5), values.mean((2, 3))), (LowRank(convolution, 2, 0.5), values)):
        nn.init.normal_(layer.up.weight)
        whole = copy.deepcopy(layer.linear)
        product = layer.up.weight.flatten(1) @ layer.down.weight.flatten(1)
        whole.weight.data += 0.5 * product.view_as(whole.weight)
        torch.testing.assert_close(layer(given), whole(given))


def test_lora_learns_its_products_and_nothing_of_the_model(model):
    adapted = adapt(LoRA(rank=2), model, 3)
    # resnet8's linear maps are its head and the two projections of its shortcuts.
    assert len([module for module in adapted.modules() if isinstance(module, LowRank)]) == 3
    kept = {name.replace(".linear.", "."): value for name, value in adapted.state_dict().items()}
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())
    learned = sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
    assert learned == 2 * (16 + 32) + 2 * (32 + 64) + 2 * (64 + CLASSES)


@pytest.mark.parametrize("kind", [*EFFICIENT, MME, FixMatchFew])
def test_the_best_checkpoint_on_the_validation_images_is_what_comes_out(model, kind):
    seen = []
    validation = pictures(1)

    def look(now, progress, losses):
        now.eval()
        logits = now(validation.take(torch.arange(32)))
        seen.append((logits.argmax(1) == validation.labels).float().mean().item())
        now.train()

    method = kind(lr=0.05)
    adapted = adapt(method, model, 20, listeners=Listeners(on_checkpoint=look), validation=validation).eval()
    accuracy = (adapted(validation.take(torch.arange(32))).argmax(1) == validation.labels).float().mean().item()
    assert accuracy >= max(seen)


# --------------------------------------------------------------------------------------- semi-supervised


def test_mme_maximises_the_entropy_by_the_head_and_minimises_it_by_the_features(model):
    method = MME(lr=0.05, momentum=0.0, weight_decay=0.0, weight=0.3, temperature=0.1)
    adapted = adapt(method, model, 2)
    weight = F.normalize(model.head.weight.detach()).requires_grad_()
    body = list(model.backbone.parameters())

    def logits(images):
        features = model.features(images)
        return features / features.norm(dim=1, keepdim=True) @ weight.T / 0.1

    def step(loss, head_sign, p):
        gradients = torch.autograd.grad(loss, [*body, weight])
        rate = 0.05 / (1 + 10 * p) ** 0.75
        with torch.no_grad():
            for parameter, gradient in zip(body, gradients[:-1], strict=True):
                parameter -= rate / 10 * gradient
            weight.sub_(head_sign * rate * gradients[-1])

    for count, batch in enumerate(data(method, 2).batches(model)):
        both = torch.cat([batch.source_images, batch.target_images])
        labels = torch.cat([batch.source_labels, batch.target_labels])
        step(F.nll_loss(logits(both).log_softmax(1), labels), 1, count / 2)
        uncertainty = Categorical(logits=logits(batch.unlabelled_images)).entropy().mean()
        step(0.3 * uncertainty, -1, count / 2)
    torch.testing.assert_close(adapted.head.weight, weight, atol=1e-5, rtol=1e-4)
    assert_same(adapted.backbone, model.backbone)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 1.0])
def test_fixmatch_learns_in_a_strong_view_what_the_weak_one_is_sure_of(model, threshold):
    method = FixMatchFew(lr=0.05, momentum=0.0, weight_decay=0.0, weight=0.7, threshold=threshold)
    adapted = adapt(method, model, 2)
    torch.manual_seed(0)
    sure = []
    for step, batch in enumerate(data(method, 2).batches(model)):
        images = torch.cat([batch.target_images, batch.unlabelled_images, strong(batch.unlabelled_raw)])
        logits = model(images)
        loss = F.nll_loss(logits[:BATCH].log_softmax(1), batch.target_labels)
        for weak, seen_otherwise in zip(logits[BATCH : 2 * BATCH].softmax(1), logits[2 * BATCH :], strict=True):
            sure.append(weak.max().item() > threshold)
            if sure[-1]:
                loss = loss + 0.7 * F.cross_entropy(seen_otherwise[None], weak.argmax()[None]) / BATCH
        weights = list(model.parameters())
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= 0.05 * cos(7 * pi * step / 32) * gradient
    assert {0.0: all(sure), 0.3: 0 < sum(sure) < len(sure), 1.0: not any(sure)}[threshold]
    assert_same(adapted, model)
