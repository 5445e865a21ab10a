"""Test-time methods: each update against numbers computed here, and the traps of their public implementations."""

import copy
from collections import Counter
from math import ceil, exp, log

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dabench import models, registry
from dabench.core import ALL, Needs
from dabench.methods.bn1 import BN1
from dabench.methods.bn_alpha import BNAlpha
from dabench.methods.cotta import CoTTA
from dabench.methods.deyo import DeYO, patches_shuffled
from dabench.methods.eata import EATA
from dabench.methods.eta import ETA
from dabench.methods.lame import LAME, affinity, agreed
from dabench.methods.memo import MEMO
from dabench.methods.rdumb import RDumb
from dabench.methods.roid import ROID, smoothed_prior
from dabench.methods.rotta import Memory, RobustNorm, RoTTA
from dabench.methods.sar import SAR
from dabench.methods.t3a import T3A
from dabench.methods.tent import Tent
from dabench.nn import Classifier, strong

CLASSES, SHAPE = 4, (3, 16, 16)


class Granted:
    """What a test-time method is given before the stream."""

    num_classes = CLASSES

    def __init__(self, source=()):
        self.source = source

    def source_batches(self, batch_size):
        return iter([(images, None) for images in self.source])


def images(seed, count=16):
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed)) * (0.4 + 0.1 * seed)


def built(backbone="resnet8"):
    """A network whose running statistics are settled and whose answers are sure."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = models.build(backbone, CLASSES, SHAPE)
        network.precision = torch.float32
        for _ in range(20):
            network.train()(torch.rand(32, *SHAPE))
    with torch.no_grad():
        network.head.weight *= 25
    return network.train()


def with_layer_norm():
    """A network whose norms are a group norm and a layer norm."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.GroupNorm(2, 8), nn.ReLU(), nn.Flatten(), nn.LayerNorm(8 * 49))
    return Classifier(backbone, nn.Linear(8 * 49, CLASSES), 8 * 49, CLASSES, (0.5,) * 3, (0.5,) * 3)


@pytest.fixture
def model():
    return built()


def adapted(method, model, source=()):
    return method.adapt(copy.deepcopy(model), Granted(source)).eval()


def affine(model, share=1.0):
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    return [weight for norm in norms[: ceil(share * len(norms))] for weight in (norm.weight, norm.bias)]


def entropies(logits):
    return torch.distributions.Categorical(logits=logits).entropy()


def same(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def adam_steps(weights, losses, lr=1e-3):
    """Takes an Adam step for each loss, which is given as a function; None takes none."""
    optimizer = torch.optim.Adam(weights, lr=lr)
    for loss_of in losses:
        loss = loss_of()
        if loss is not None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


# ---------------------------------------------------------------------------------- every method of the registry


def stream_methods():
    return [one for one in registry.methods("all") if one.load().declaration.needs & Needs.TEST_STREAM]


@pytest.mark.parametrize("variant", stream_methods(), ids=lambda variant: variant.label)
def test_every_batch_size_is_answered_with_finite_logits_down_to_a_last_batch_of_one(model, variant):
    stream = adapted(variant.load(), model, source=[images(0)])
    for size in (1, 5, 1):
        logits = stream(images(1, size))
        assert logits.shape == (size, CLASSES)
        assert logits.isfinite().all()


@pytest.mark.parametrize("variant", stream_methods(), ids=lambda variant: variant.label)
def test_a_copy_made_before_the_stream_is_as_good_as_a_new_start(model, variant):
    used = adapted(variant.load(), model, source=[images(0)])
    start = copy.deepcopy(used)
    used(images(1))
    torch.manual_seed(0)
    expected = adapted(variant.load(), model, source=[images(0)])(images(2))
    torch.manual_seed(0)
    torch.testing.assert_close(start(images(2)), expected)


@pytest.mark.parametrize(
    "method", [Tent(), ETA(margin=1), SAR(margin=1), DeYO(margin=1, drop=-1), ROID(), RoTTA(memory=8)]
)
def test_layer_and_group_norms_are_adapted_too(method):
    stream = adapted(method, with_layer_norm())
    before = {name: weight.clone() for name, weight in stream.named_parameters()}
    stream(images(1))
    moved = {name for name, weight in stream.named_parameters() if not torch.equal(weight, before[name])}
    student = "student" if isinstance(method, RoTTA) else "model"
    assert {f"{student}.backbone.1.weight", f"{student}.backbone.4.weight"} <= moved
    assert all(".backbone.1." in name or ".backbone.4." in name for name in moved)


# ------------------------------------------------------------------------------------------------- bn1, bn_alpha


def test_bn1_answers_from_the_statistics_of_the_batch_and_keeps_nothing(model):
    stream = adapted(BN1(), model)
    stream(images(2))
    torch.testing.assert_close(stream(images(1)), model.train()(images(1)))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_bn_alpha_mixes_the_statistics_of_source_and_batch(model, alpha):
    stream = adapted(BNAlpha(alpha=alpha), model)
    seen = {}
    norm = stream.backbone[1]
    norm.register_forward_hook(lambda norm, inputs, output: seen.update(taken=inputs[0], given=output))
    stream(images(2)), stream(images(1))
    source, maps = model.backbone[1], seen["taken"]
    mean = (1 - alpha) * source.running_mean + alpha * maps.mean((0, 2, 3))
    variance = (1 - alpha) * source.running_var + alpha * maps.var((0, 2, 3))
    by_hand = (maps - mean.view(1, -1, 1, 1)) / (variance + norm.eps).sqrt().view(1, -1, 1, 1)
    torch.testing.assert_close(seen["given"], by_hand)


# ---------------------------------------------------------------------------------------------- eta, eata, rdumb


def eta_losses(network, batches, margin=0.4, distance=0.4):
    """ETA's loss on each batch, as the paper writes it."""
    state = {"mean": None}

    def loss_on(batch):
        logits = network(batch)
        uncertainty, p = entropies(logits), logits.softmax(1).detach()
        chosen = [
            row
            for row in range(len(batch))
            if uncertainty[row] < margin * log(CLASSES)
            and (state["mean"] is None or abs(F.cosine_similarity(p[row], state["mean"], 0)) < distance)
        ]
        if not chosen:
            return None
        mean = p[chosen].mean(0)
        state["mean"] = mean if state["mean"] is None else 0.9 * state["mean"] + 0.1 * mean
        return sum(exp(margin * log(CLASSES) - uncertainty[row].item()) * uncertainty[row] for row in chosen) / len(
            chosen
        )

    return [lambda batch=batch: loss_on(batch) for batch in batches]


def test_eta_learns_from_sure_and_new_images(model):
    stream, batches = adapted(ETA(distance=0.7), model), [images(1), images(2), images(3)]
    for batch in batches:
        stream(batch)
    adam_steps(affine(model), eta_losses(model.train(), batches, distance=0.7))
    same(affine(stream.model), affine(model))


def test_eata_s_importance_is_the_mean_squared_gradient_on_source_images(model):
    source = [images(4), images(5)]
    stream = adapted(EATA(), model, source)
    squares = []
    for batch in source:
        logits = model.train()(batch)
        squares.append(
            [g.square() for g in torch.autograd.grad(F.cross_entropy(logits, logits.argmax(1)), affine(model))]
        )
    same(stream.importance, [(one + other) / 2 for one, other in zip(*squares, strict=True)])


def test_eata_pulls_important_weights_back(model):
    fisher, batches = 5.0, [images(1), images(2)]
    stream = adapted(EATA(distance=1.0, fisher=fisher), model, [images(4)])
    start = [weight.detach().clone() for weight in affine(model)]
    for batch in batches:
        stream(batch)

    def anchored(loss_of):
        drift = zip(stream.importance, affine(model), start, strict=True)
        return lambda: loss_of() + fisher * sum((f * (now - then).square()).sum() for f, now, then in drift)

    adam_steps(affine(model), map(anchored, eta_losses(model.train(), batches, distance=1.0)))
    same(affine(stream.model), affine(model))


@pytest.mark.parametrize(
    "method", [ETA(margin=0.0), EATA(margin=0.0), RDumb(margin=0.0), SAR(margin=0.0), DeYO(margin=0.0)]
)
def test_a_batch_without_a_sure_image_changes_no_weight(model, method):
    stream = adapted(method, model, [images(4)])
    assert stream(images(1)).isfinite().all()
    same(affine(stream.model), affine(model))


def test_rdumb_is_eta_until_it_forgets_everything(model):
    method, batches = RDumb(period=2, distance=1.0), [images(1), images(2)]
    stream, eta = adapted(method, model), adapted(ETA(distance=1.0), model)
    first = [stream(batch) for batch in batches]
    same(first, [eta(batch) for batch in batches])
    same(affine(stream.model), affine(model))
    same([stream(batch) for batch in batches], first)


# ----------------------------------------------------------------------------------------------------------- sar


def test_sar_steps_along_the_gradient_found_above_its_weights(model):
    method = SAR(lr=0.1, momentum=0.0, rho=0.5, margin=0.5, collapsed=0.0)
    stream = adapted(method, model)
    stream(images(1))
    weights, network, limit = affine(model, 0.75), model.train(), 0.5 * log(CLASSES)
    before = [weight.detach().clone() for weight in weights]
    uncertainty = entropies(network(images(1)))
    sure = uncertainty < limit
    slopes = torch.autograd.grad(uncertainty[sure].mean(), weights)
    length = sum(slope.square().sum() for slope in slopes).sqrt()
    for weight, slope in zip(weights, slopes, strict=True):
        weight.data += 0.5 * slope / length
    above = entropies(network(images(1)))[sure]
    assert sure.any()
    assert not sure.all()
    slopes = torch.autograd.grad(above[above < limit].mean(), weights)
    for weight, start, slope in zip(weights, before, slopes, strict=True):
        weight.data = start - 0.1 * slope
    same(affine(stream.model), affine(model))
    assert not torch.equal(weights[0], before[0])


def test_sar_and_deyo_leave_the_last_quarter_of_the_norms(model):
    for method in (SAR(margin=1.0, lr=0.1, collapsed=0.0), DeYO(margin=1.0, drop=-1.0)):
        stream = adapted(method, model)
        stream(images(1))
        moved = [not torch.equal(*pair) for pair in zip(affine(stream.model), affine(model), strict=True)]
        assert moved == [True] * 14 + [False] * 4  # 9 norms, of which 7 move


def test_sar_starts_anew_once_it_has_collapsed(model):
    stream = adapted(SAR(margin=1.0, lr=0.1, collapsed=10.0), model)
    stream(images(1))
    same(affine(stream.model), affine(model))
    assert stream.average is None


# ---------------------------------------------------------------------------------------------------------- lame


def test_lame_joins_each_image_to_its_nearest():
    features = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [0.1, 3.0]])
    assert affinity(features, 1).tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]


def test_lame_s_answers_are_a_fixed_point_and_agree_with_their_neighbours():
    log_p = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2]]).log()
    kernel = torch.ones(3, 3) - torch.eye(3)
    answers = agreed(log_p, kernel)
    torch.testing.assert_close(answers, (log_p + kernel @ answers.exp()).log_softmax(1), atol=1e-3, rtol=0)
    assert answers.argmax(1).tolist() == [0, 0, 0]


def test_lame_answers_a_lone_image_as_the_source_model_does(model):
    source = model.eval()(images(1, 1)).log_softmax(1)
    torch.testing.assert_close(adapted(LAME(), model)(images(1, 1)), source)


# ----------------------------------------------------------------------------------------------------------- t3a


def t3a_by_hand(model, batches, most):
    """The answers to the last batch, class by class and support by support."""
    rows = model.head.weight.detach()
    supports = [(entropies(model.head(row)).item(), k, row) for k, row in enumerate(rows)]
    for batch in batches:
        features = model.eval().features(batch).detach()
        for z in features:
            supports.append((entropies(model.head(z)).item(), model.head(z).argmax().item(), z))
    columns = []
    for k in range(CLASSES):
        mine = sorted((one for one in supports if one[1] == k), key=lambda one: one[0])[:most]
        columns.append(F.normalize(sum(z / z.norm() for _, _, z in mine), dim=0))
    return features @ torch.stack(columns).T


@pytest.mark.parametrize("most", [1, 5, ALL])
def test_t3a_answers_by_the_surest_supports_of_each_class_and_all_loses_none(model, most):
    stream, batches = adapted(T3A(supports=most), model), [images(1), images(2)]
    answers = [stream(batch) for batch in batches][-1]
    torch.testing.assert_close(answers, t3a_by_hand(model, batches, None if most == ALL else most))
    if most == ALL:
        assert len(stream.supports) == CLASSES + 32
    else:
        assert max(Counter(stream.classes.tolist()).values()) <= most


# --------------------------------------------------------------------------------------------------------- cotta


def test_cotta_s_teacher_answers_and_follows_a_student_that_follows_it(model):
    stream = adapted(CoTTA(confident=0.0, restore=0.0, momentum=0.9), model)
    network = model.train()
    expected = network(images(1)).detach()
    torch.testing.assert_close(stream(images(1)), expected)
    start = [weight.detach().clone() for weight in network.parameters()]
    adam_steps(list(network.parameters()), [lambda: F.cross_entropy(network(images(1)), expected.softmax(1))])
    teacher = [0.9 * old + 0.1 * new for old, new in zip(start, network.parameters(), strict=True)]
    for found, by_hand in zip(stream.teacher.parameters(), teacher, strict=True):
        torch.testing.assert_close(found, by_hand, atol=2e-4, rtol=0)  # Adam makes much of gradients near zero


@pytest.mark.parametrize(("confident", "passes"), [(0.0, 1), (1.0, 7)])
def test_cotta_looks_at_views_where_the_source_model_is_unsure(model, confident, passes):
    stream = adapted(CoTTA(confident=confident, views=7), model)
    before = Classifier.forward_passes
    stream.answer(images(1))
    assert Classifier.forward_passes - before == passes + 1  # one is the source model's


def test_cotta_restores_the_source_by_chance(model):
    stream = adapted(CoTTA(restore=0.3, views=1), model)
    for weight in stream.student.parameters():
        weight.data += 1.0
    torch.manual_seed(0)
    stream.restore()
    back = torch.cat(
        [
            (one == other).flatten()
            for one, other in zip(stream.student.parameters(), stream.source.parameters(), strict=True)
        ]
    )
    assert back.float().mean().item() == pytest.approx(0.3, abs=0.02)


# --------------------------------------------------------------------------------------------------------- rotta


def test_rotta_s_memory_gives_no_class_more_than_its_share_and_keeps_the_sure():
    memory = Memory(capacity=4, num_classes=2)
    for number in range(6):
        memory.add(torch.tensor(number), 0, uncertainty=0.6 - 0.1 * number)
    assert [item.image.item() for item in memory.items] == [4, 5]
    memory.add(torch.tensor(6), 1, 0.0)
    assert Counter(item.label for item in memory.items) == {0: 2, 1: 1}


def test_rotta_s_memory_takes_no_image_that_is_worth_less_than_all_it_holds():
    memory = Memory(capacity=2, num_classes=2)
    memory.add(torch.tensor(0), 0, uncertainty=0.0)
    memory.add(torch.tensor(1), 0, uncertainty=0.69)
    images, ages = memory.held()
    assert images.tolist() == [0]
    assert ages.tolist() == [1.0]  # two images came, the capacity is two


def test_rotta_s_norm_moves_a_little_towards_what_it_is_told_to_remember():
    source = nn.BatchNorm2d(3).eval()
    source.running_mean.fill_(1.0)
    norm, values = RobustNorm(copy.deepcopy(source), 0.25), 2 * torch.rand(4, 3, 5, 5)
    torch.testing.assert_close(norm(values), source(values))
    norm.remembers = True
    mean = 0.75 + 0.25 * values.mean((0, 2, 3))
    variance = 0.75 + 0.25 * values.var((0, 2, 3), correction=0)
    by_hand = (values - mean.view(1, 3, 1, 1)) / (variance + 1e-5).sqrt().view(1, 3, 1, 1)
    torch.testing.assert_close(norm(values), by_hand)
    norm.remembers = False
    torch.testing.assert_close(norm(values), by_hand)


def test_rotta_learns_whenever_as_many_images_came_as_its_memory_holds(model):
    stream = adapted(RoTTA(memory=10, nu=0.5), model)
    start = [weight.clone() for weight in stream.slow]
    stream(images(1, 9))
    same(stream.slow, start)
    source = model.eval()(images(2, 1))
    torch.testing.assert_close(stream(images(2, 1)), source)  # answered before it is learned from
    assert not torch.equal(stream.slow[0], start[0])
    same(stream.slow, [(old + new) / 2 for old, new in zip(start, stream.affine, strict=True)])


# ---------------------------------------------------------------------------------------------------------- memo


def test_memo_takes_one_step_on_the_entropy_of_the_mean_prediction(model):
    stream = adapted(MEMO(lr=0.1, views=8, alpha=0.0), model)
    torch.manual_seed(0)
    answer = stream(images(1, 1))
    torch.manual_seed(0)
    views = strong(images(1, 1).expand(8, -1, -1, -1))
    model.eval()
    loss = torch.distributions.Categorical(probs=model(views).softmax(1).mean(0)).entropy()
    torch.optim.SGD(model.parameters(), lr=0.1).zero_grad()
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    torch.testing.assert_close(answer, model(images(1, 1)), atol=1e-4, rtol=1e-4)


def test_memo_forgets_each_image_before_the_next(model):
    stream = adapted(MEMO(lr=0.1, views=4), model)
    stream(images(2, 3))
    same(stream.parameters(), model.parameters())


# ---------------------------------------------------------------------------------------------------------- roid


def test_roid_s_prior_multiplies_probabilities_not_logits(model):
    p = model.train()(images(1)).softmax(1).detach()
    by_hand = p * smoothed_prior(p)
    answer = adapted(ROID(), model)(images(1)).softmax(1)
    torch.testing.assert_close(answer, by_hand / by_hand.sum(1, keepdim=True))


def test_roid_s_prior_is_flat_for_few_images_and_sums_to_one():
    p = torch.tensor([[0.7, 0.2, 0.1]])
    # smooth = max(1/1, 1/3) / .7
    torch.testing.assert_close(smoothed_prior(p), (p[0] + 1 / 0.7) / (1 + 3 / 0.7))
    assert smoothed_prior(p).sum().item() == pytest.approx(1.0)


def test_roid_learns_from_varied_images_and_returns_part_of_the_way(model, monkeypatch):
    monkeypatch.setattr("dabench.methods.roid.strong", lambda seen: seen)
    stream = adapted(ROID(pull=0.25), model)
    stream(images(1))
    network = model.train()
    start = [weight.detach().clone() for weight in affine(model)]

    def loss():
        logits = network(images(1))
        p = logits.softmax(1).detach()
        d = 1 - F.cosine_similarity(p, torch.full((1, CLASSES), 1 / CLASSES))
        c = -entropies(logits.detach())
        d, c = ((x - x.min()) / (x.max() - x.min()) for x in (d, c))
        kept = (d >= d.mean()).nonzero()[:, 0]
        views, total = network(images(1)[kept]), 0.0
        for row, view in zip(kept, views, strict=True):
            q, own = logits[row].softmax(0), logits[row].softmax(0).clamp(max=0.99)
            ratio = -(own * (own / (1 - own) + 1e-5).log()).sum()
            both = -(q * view.log_softmax(0)).sum() / 2 - (view.softmax(0) * logits[row].log_softmax(0)).sum() / 2
            total = total + (d[row] * c[row] / 0.333).exp() * (ratio + both)
        return total / 16

    adam_steps(affine(model), [loss])
    same(affine(stream.model), [0.75 * new + 0.25 * old for new, old in zip(affine(model), start, strict=True)])


# ---------------------------------------------------------------------------------------------------------- deyo


@pytest.mark.parametrize(("side", "patch"), [(32, 8), (28, 7), (30, 7)])
def test_deyo_shuffles_patches_each_image_by_itself_and_keeps_every_pixel(side, patch):
    numbered = torch.arange(2 * 3 * side * side, dtype=torch.float).view(2, 3, side, side)
    torch.manual_seed(0)
    shuffled = patches_shuffled(numbered)
    assert torch.equal(shuffled.flatten(1).sort().values, numbered.flatten(1).sort().values)
    places = []
    for image, mixed in zip(numbered, shuffled, strict=True):
        blocks = {tuple(image[0, r : r + patch, c : c + patch].flatten().tolist()): (r, c) for r, c in corners(patch)}
        places.append(
            [blocks[tuple(mixed[0, r : r + patch, c : c + patch].flatten().tolist())] for r, c in corners(patch)]
        )
    assert places[0] != places[1]
    assert places[0] != corners(patch)


def corners(patch):
    return [(patch * row, patch * column) for row in range(4) for column in range(4)]


def test_deyo_learns_from_sure_images_that_lose_their_class_with_their_shape(model, monkeypatch):
    monkeypatch.setattr("dabench.methods.deyo.patches_shuffled", lambda seen: seen.flip(3) * 0.5)
    stream = adapted(DeYO(drop=0.05), model)
    stream(images(1))
    network = model.train()

    def loss():
        logits = network(images(1))
        sure = (entropies(logits) < 0.5 * log(CLASSES)).nonzero()[:, 0]
        after, total = network(images(1)[sure].flip(3) * 0.5).softmax(1), []
        for row, destroyed in zip(sure, after, strict=True):
            k = logits[row].argmax()
            drop = (logits[row].softmax(0)[k] - destroyed[k]).item()
            if drop > 0.05:
                h = entropies(logits[row])
                total.append((exp(0.4 * log(CLASSES) - h.item()) + exp(drop)) * h)
        assert 0 < len(total) < len(sure) < 16
        return sum(total) / len(total)

    adam_steps(affine(model, 0.75), [loss])
    same(affine(stream.model), affine(model))
