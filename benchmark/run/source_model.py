"""The source model of a cell: trained once for each source, network and seed, kept in the cache folder."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dabench import fingerprints, models
from dabench.core import Declaration, Needs, Task
from dabench.files import locked, named_errors
from dabench.nn import Classifier
from dabench.run import frozen
from dabench.run.devices import seeded
from dabench.run.images import predict, resident
from dabench.run.plan import Cell, Environment
from dabench.run.target_data import Granted, Listeners, TargetData
from dabench.run.task_data import TaskData, labels_of

OnStep = Callable[[str, int, int, float], None]  # hears of progress: the stage, a step, of how many, the loss

_KEPT = 5
_DECLARATION = Declaration("source model", Needs.SOURCE, "")
_models: dict[tuple[str, str, Environment], SourceModel] = {}


@dataclass(frozen=True)
class SourceModel:
    """A trained source model and how it does before any adaptation."""

    model: Classifier
    test_logits: Tensor
    source_accuracy: float
    seconds: float


def source_model(cell: Cell, data: TaskData, environment: Environment, on_step: OnStep) -> tuple[SourceModel, bool]:
    """The source model of the cell and whether this call trained it; weights are kept in the cache folder."""
    key = source_key(cell, data, environment)
    memory = (key, f"{cell.task} {cell.protocol} {cell.stream}", environment)
    if memory in _models:
        return _models[memory], False
    with seeded(cell.seed, torch.device(environment.device)):
        model = network(cell, data, environment)
        seconds = math.nan
        if not data.task.pretrained:
            weights = environment.cache / "source" / f"{key}.safetensors"
            with named_errors(weights, "--cache"), locked(weights):
                if weights.exists():
                    models.load_weights(model, weights)
                else:
                    started = time.perf_counter()
                    train_source(model, data, cell, on_step)
                    seconds = time.perf_counter() - started
                    models.save(model, weights)
        test_logits, _ = predict(model, data.target_test)
        source_logits, _ = predict(model, data.source_test)
    accuracy = data.accuracy(source_logits.cpu(), labels_of(data.source_test))
    if len(_models) >= _KEPT:
        _models.pop(next(iter(_models)))
    _models[memory] = SourceModel(model, test_logits, accuracy, seconds)
    return _models[memory], not math.isnan(seconds)


def network(cell: Cell, data: TaskData, environment: Environment) -> Classifier:
    """The cell's network before any training on the task: published weights where there are some."""
    task, device = data.task, torch.device(environment.device)
    if cell.frozen:
        return frozen.network(data.source_test.images.shape[1], task.num_classes, device)
    return models.build(
        cell.backbone,
        task.num_classes,
        task.image_shape,
        pretrained=task.pretrained or cell.backbone not in models.OWN_NETS,
        logit_indices=task.logit_indices,
        device=device,
    )


def source_key(cell: Cell, data: TaskData, environment: Environment) -> str:
    """What a source model depends on, see `fingerprints`; tasks that share a source share its model."""
    recipe = data.task.recipe
    facts = (recipe.source_steps, recipe.source_lr, recipe.batch_size, recipe.flip, recipe.crop)
    shape = (data.task.image_shape, data.task.num_classes)
    trained_by = (cell.budget, cell.seed, environment.threads, torch.device(environment.device).type)
    code = fingerprints.core_code()
    return fingerprints.digest(data.source_fingerprint, cell.backbone, repr((facts, shape, trained_by)), code)


def train_source(model: Classifier, data: TaskData, cell: Cell, on_step: OnStep) -> None:
    """Trains the model in place on the labelled source images: AdamW, one cycle, the task's recipe."""
    recipe = data.task.recipe
    steps = source_steps(data.task, cell.budget)
    assert data.source_train is not None
    source_data = TargetData(
        _DECLARATION,
        replace(recipe, steps=steps),
        Granted(source=resident(data.source_train)),
        num_classes=data.task.num_classes,
        seed=cell.seed,
        device=data.source_train.device,
        listeners=Listeners(on_step=lambda step, loss: on_step("source model", step, steps, loss)),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.source_lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.source_lr, total_steps=steps + 1)
    model.train()
    for batch in source_data.batches(model):
        batch.minimise(cross_entropy(model(batch.source_images), batch.source_labels), optimizer)
        schedule.step()


def source_steps(task: Task, budget: float) -> int:
    """The steps that train a source model."""
    return max(1, round(task.recipe.source_steps * budget))
