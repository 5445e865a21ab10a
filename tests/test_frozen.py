"""Frozen features: computed once, adapted through the same contract, and refused to what works below them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dabench import models, registry
from dabench.core import Domain, Domains, NotApplicable, Protocol, Reach, Recipe, Stream, Task
from dabench.run import frozen, plan
from dabench.run.devices import seeded
from dabench.run.images import Pictures, predict
from dabench.run.plan import Cell, Environment, Request
from dabench.run.source_model import train_source
from dabench.run.target_data import Granted, TargetData
from dabench.run.task_data import grant, task_data

CPU = torch.device("cpu")
CLASSES, WIDTH, STEPS = 3, 12, 12
TASK = Task(
    name="blobs",
    family="blobs",
    source="here",
    target="there",
    class_names=("a", "b", "c"),
    image_shape=(3, 32, 32),
    backbone="tf_efficientnet_lite0",
    recipe=Recipe(steps=STEPS, source_steps=60, source_lr=1e-2, batch_size=16, flip=True, crop=2),
    protocols=(Protocol("holdout", adapts_on="most", scores_on="the rest"),),
    load=lambda task, root, cache, protocol: blobs(),
)
METHODS = registry.methods("all")
REACH = {variant.name: registry.describe(variant.file).reach for variant in METHODS}


def blobs():
    """Three clouds of features, moved a little in the target."""
    chance = np.random.default_rng(0)
    centres = 3 * chance.standard_normal((CLASSES, WIDTH))

    def cloud(count, shift):
        labels = chance.integers(0, CLASSES, count)
        features = centres[labels] + shift + chance.standard_normal((count, WIDTH))
        return Domain(features.astype(np.float32), labels)

    return Domains(cloud(120, 0.0), cloud(60, 0.0), cloud(120, 1.0), cloud(60, 1.0))


def cell_of(variant, needs=None):
    return Cell("blobs", variant, "holdout", TASK.backbone, 32, 1.0, -1, -1, 0, frozen=True)


@pytest.fixture(scope="module")
def ready():
    """The task's features on the device and a source model on them, which knows the source."""
    data = task_data(TASK, blobs(), CPU, Stream())
    with seeded(0, CPU):
        model = frozen.network(WIDTH, CLASSES, CPU)
        train_source(model, data, cell_of(METHODS[0]), lambda *progress: None)
    logits, features = predict(model, data.source_test)
    assert features.shape == (60, 256)
    assert (logits.argmax(1) == data.source_test.labels).float().mean() > 0.9
    return data, model


@pytest.mark.parametrize("variant", [variant for variant in METHODS if REACH[variant.name] is Reach.FEATURES], ids=str)
def test_a_method_that_works_on_features_adapts_frozen_ones(variant, ready):
    import copy

    data, model = ready
    method = variant.load()
    needs = method.declaration.needs
    granted = grant(needs, data, cell_of(variant))
    answers = torch.full((len(data.target_train), CLASSES), 1 / CLASSES)
    with seeded(0, CPU):
        target_data = TargetData(
            method.declaration,
            TASK.recipe,
            Granted(answers=answers, **granted),
            num_classes=CLASSES,
            seed=0,
            device=CPU,
        )
        try:
            adapted = method.adapt(copy.deepcopy(model).train(), target_data)
        except NotApplicable as reason:
            pytest.skip(f"{variant.name} is refused on this task: {reason}")
        logits, _ = predict(adapted, data.target_test, 20)
    assert logits.shape == (60, CLASSES)
    assert logits.isfinite().all()


def test_methods_on_pixels_and_inside_the_backbone_say_so():
    assert REACH["adapternet"] is Reach.PIXELS
    assert {REACH[name] for name in ("adabn", "tent", "activation_shaping")} == {Reach.BACKBONE}
    assert {REACH[name] for name in ("dann", "shot", "mcc", "source_only", "target_supervised")} == {Reach.FEATURES}
    for variant in METHODS:
        assert variant.load().declaration.reach is REACH[variant.name]


def planned(tmp_path, methods, **asked):
    """The states and reasons of one task's cells."""
    request = Request(tasks=registry.tasks("fonts-optdigits"), methods=registry.methods(methods), seeds=(0,), **asked)
    return plan.plan(request, tmp_path, tmp_path, tmp_path / "results")


def test_a_plan_refuses_what_frozen_features_leave_nothing_to_do(tmp_path):
    cells = planned(tmp_path, "dann,tent,adapternet", frozen=True, backbone="tf_efficientnet_lite0")
    assert [cell.state for cell in cells] == [plan.State.RUN, plan.State.REFUSED, plan.State.REFUSED]
    assert "the backbone's layers" in cells[1].reason
    assert "pixels" in cells[2].reason
    (own,) = planned(tmp_path, "dann", frozen=True)
    assert "no published weights" in own.reason


def test_a_network_whole_is_refused(tmp_path):
    request = Request(
        tasks=registry.tasks("imagenette-power"), methods=registry.methods("shot"), seeds=(0,), frozen=True
    )
    (cell,) = plan.plan(request, tmp_path, tmp_path, tmp_path / "results")
    assert "pretrained network itself" in cell.reason


def test_frozen_cells_have_keys_of_their_own(tmp_path):
    backbone = "tf_efficientnet_lite0"
    one, other = (planned(tmp_path, "dann", frozen=frozen_, backbone=backbone)[0] for frozen_ in (True, False))
    assert one.key != other.key
    assert (one.identity["frozen"], other.identity["frozen"]) == (True, False)


def test_the_networks_without_published_weights_are_dabenchs_own():
    assert set(plan._UNPUBLISHED) == set(models.OWN_NETS)


def test_features_are_the_backbones_and_are_computed_once(tmp_path, monkeypatch):
    chance = np.random.default_rng(0)
    images = Domain(chance.integers(0, 256, (6, 3, 32, 32), dtype=np.uint8), np.arange(6) % 3)
    # A transductive task's two target domains are one.
    domains = Domains(images[:3], images[3:4], images[4:], images[4:])
    environment = Environment("cpu", 1, tmp_path, tmp_path)
    features = frozen.features_of(TASK, domains, TASK.backbone, environment)
    model = models.build(TASK.backbone, CLASSES, TASK.image_shape, pretrained=True)
    model.head = torch.nn.Identity()
    expected, _ = predict(model, Pictures.of(domains.source_train, CPU, labelled=False))
    assert torch.allclose(torch.from_numpy(features.source_train.images), expected, atol=1e-4)
    assert features.target_test.labels.tolist() == [1, 2]
    assert features.target_validation is None
    monkeypatch.setattr(models, "build", None)
    again = frozen.features_of(TASK, replace(domains), TASK.backbone, environment)
    assert (again.source_train.images == features.source_train.images).all()
    with pytest.raises(TypeError):
        frozen.features_of(TASK, domains, "resnet18", environment)
