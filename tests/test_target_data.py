"""What a method holds: the budget over all calls, epochs, views, named losses, and refusals of what is not granted."""

import pytest
import torch
from torch import nn

import dabench
from dabench import models
from dabench.core import AccessError, DabenchError, Declaration, Diverged, Needs, Recipe
from dabench.run.images import Pictures
from dabench.run.target_data import Granted, Listeners, TargetData, counted

CPU = torch.device("cpu")
SOURCE = Needs.SOURCE | Needs.TARGET_IMAGES


def pictures(count, labelled=True):
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    return Pictures(images, torch.arange(count) % 2 if labelled else None, CPU)


def granted(needs=SOURCE, steps=10, batch_size=4, recipe=None, listeners=None, **parts):
    recipe = recipe or Recipe(steps=steps, batch_size=batch_size)
    parts = Granted(**(parts or {"source": pictures(12), "target": pictures(10, labelled=False)}))
    sizes = {"num_classes": 2, "seed": 0, "device": CPU}
    return TargetData(Declaration("tried", needs, ""), recipe, parts, **sizes, listeners=listeners)


def test_one_call_gives_the_whole_budget_and_a_second_is_refused():
    data = granted()
    assert [batch.step for batch in data.batches(nn.Identity())] == list(range(10))
    with pytest.raises(DabenchError, match="share"):
        next(data.batches(nn.Identity()))
    assert data.steps_taken == 10


@pytest.mark.parametrize("steps", [1, 2, 7, 10])
def test_shares_split_the_budget_and_no_step_is_won_or_lost(steps):
    data = granted(steps=steps)
    first = [batch.progress for batch in data.batches(nn.Identity(), share=0.3)]
    second = [batch.progress for batch in data.batches(nn.Identity())]
    assert len(first) == round(0.3 * steps)
    assert first + second == [step / steps for step in range(steps)]


def test_interleaved_calls_take_no_more_than_was_granted():
    data = granted(steps=10)
    pairs = list(zip(data.batches(nn.Identity(), share=0.9), data.batches(nn.Identity(), share=0.9), strict=False))
    assert len(pairs) <= 5
    assert data.steps_taken <= 10


def test_leaving_early_is_on_record():
    data = granted()
    for batch in data.batches(nn.Identity()):
        if batch.step == 3:
            break
    assert data.steps_taken == 4


def test_a_checkpoint_comes_at_every_tenth_over_all_calls():
    seen = []
    data = granted(steps=20, listeners=Listeners(on_checkpoint=lambda model, progress, losses: seen.append(progress)))
    for share in (0.35, None):
        for _ in data.batches(nn.Identity(), share=share):
            pass
    assert seen == pytest.approx([tenth / 10 for tenth in range(1, 11)])


def test_epochs_count_the_targets_images():
    epochs = [(batch.epoch, batch.starts_epoch) for batch in granted(steps=6).batches(nn.Identity())]
    # Ten target images in batches of four: batches begin at image 0, 4, 8, 12, 16, 20.
    assert epochs == [(0, True), (0, False), (0, False), (1, True), (1, False), (2, True)]


def test_an_epoch_draws_every_image_once_and_raw_is_the_image_before_its_augmentation():
    recipe = Recipe(steps=5, batch_size=2, crop=1)
    batches = list(granted(recipe=recipe).batches(nn.Identity()))
    index = torch.cat([batch.target_index for batch in batches])
    assert sorted(index.tolist()) == list(range(10))
    raw = torch.cat([batch.target_raw for batch in batches])
    assert torch.equal((255 * raw[:, 0, 0, 0]).round().long(), index)


def test_one_more_view_is_another_view_by_the_same_recipe():
    recipe = Recipe(steps=1, batch_size=8, flip=True)
    images = torch.arange(32, dtype=torch.uint8).view(8, 1, 1, 4).expand(-1, 1, 4, 4).contiguous()
    data = granted(recipe=recipe, source=pictures(12), target=Pictures(images, None, CPU))
    (batch,) = data.batches(nn.Identity())
    again = data.augmented(batch.target_raw)
    assert not torch.equal(again, batch.target_images)
    for view in (again, batch.target_images):
        plain = (view == batch.target_raw).flatten(1).all(1)
        flipped = (view == batch.target_raw.flip(3)).flatten(1).all(1)
        assert (plain | flipped).all()


def test_the_mean_of_each_named_loss_reaches_the_checkpoint():
    seen = []
    data = granted(steps=10, listeners=Listeners(on_checkpoint=lambda model, progress, losses: seen.append(losses)))
    weight = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    for batch in data.batches(nn.Identity()):
        domain = weight * batch.step
        batch.minimise(1 + 2 * domain, optimizer, losses={"domain": domain})
    assert seen[3] == {"total": 7.0, "domain": 3.0}


def test_a_loss_that_is_not_finite_ends_the_run_with_a_remedy():
    weight = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.0)

    def train():
        for batch in granted(steps=40).batches(nn.Identity()):
            batch.minimise(weight * float("nan"), optimizer)

    with pytest.raises(Diverged, match="lower lr"):
        train()


@pytest.mark.parametrize(
    ("needs", "parts", "missing"),
    [
        (Needs.TARGET_IMAGES, {"target": pictures(4, labelled=False)}, "target_labels"),
        (Needs.TARGET_IMAGES, {"target": pictures(4, labelled=False)}, "source_images"),
        (Needs.TARGET_IMAGES | Needs.TARGET_LABELS, {"target": pictures(4)}, "unlabelled_images"),
        (Needs.SOURCE, {"source": pictures(4)}, "target_raw"),
    ],
)
def test_what_is_not_granted_is_refused_in_words(needs, parts, missing):
    (batch,) = granted(needs, steps=1, **parts).batches(nn.Identity())
    with pytest.raises(AccessError, match=missing):
        getattr(batch, missing)


def test_the_unlabelled_rest_comes_beside_the_few_labelled_images():
    needs = Needs.TARGET_IMAGES | Needs.TARGET_LABELS | Needs.UNLABELLED_REST
    data = granted(needs, steps=3, target=pictures(4), unlabelled=pictures(20, labelled=False))
    batches = list(data.batches(nn.Identity()))
    assert all(len(batch.target_labels) == len(batch.unlabelled_images) == 4 for batch in batches)
    assert [batch.epoch for batch in batches] == [0, 0, 0]  # of the unlabelled images, which are more


def test_optimizer_steps_and_forward_passes_are_counted_whoever_takes_them():
    model = models.build("lenet", 2, (1, 16, 16))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    images = torch.zeros(2, 1, 16, 16)
    with counted() as work:
        for _ in range(3):
            model(images).sum().backward()
            optimizer.step()
        model.features(images)
    assert (work.optimizer_steps, work.forward_passes) == (3, 4)


def test_the_types_of_a_methods_annotations_can_be_imported():
    assert dabench.TargetData is TargetData
    for name in ("Batch", "Classifier", "Method"):
        assert getattr(dabench, name).__name__ == name
