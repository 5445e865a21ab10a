"""One cell of the sweep: train or fetch the source model, let the method adapt it, measure what came out."""

from __future__ import annotations

import copy
import math
import random
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dabench import data, fingerprints, models, registry
from dabench.core import Declaration, Diverged, Domain, Domains, Needs, Task
from dabench.run import metrics, validators
from dabench.run.images import Pictures, predict
from dabench.run.plan import ALL, Cell, Place
from dabench.run.target_data import TargetData

# A checkpoint looks at one image for every hundred the budget trains on: ten of them take about a tenth of the run.
_TRAINED_PER_SCORED, _FEWEST_SCORED, _MOST_SCORED = 100, 200, 1000
_MOST_VALIDATED = 200  # labelled target images a class that choose the checkpoint of a method that sees labels
STREAM_BATCH = 200  # test images that a test-time method sees at once
_SOURCE_TRAINING = Declaration("source model", Needs.SOURCE, "")


@dataclass(frozen=True)
class Scene:
    """A task's domains on the device, ready to be handed out."""

    task: Task
    source_train: Pictures | None
    source_test: Pictures
    target_train: Pictures
    target_validation: Pictures | None
    target_test: Pictures
    source_print: str
    partial: str


@dataclass(frozen=True)
class SourceModel:
    """A trained source model and how it does before any adaptation."""

    model: nn.Module
    test_logits: Tensor
    source_accuracy: float
    seconds: float


@dataclass(frozen=True)
class Run:
    """A cell's adaptation: the model that came out, and what was noted on the way."""

    scene: Scene
    method: Any
    source: SourceModel
    trained_source: bool
    adapted: nn.Module
    tape: Checkpoints
    target_data: TargetData
    n_target: int
    seconds: float
    peak_memory: float


def adapt(cell: Cell, place: Place, on_step: Callable[[str, int, int, float], None]) -> Run:
    """Trains or fetches the source model and lets the method adapt a fresh copy of it.

    `on_step(stage, step, steps, loss)` hears of progress. Raises whatever the method raises.
    """
    torch.set_num_threads(place.threads)
    # The linear algebra of scikit-learn has threads of its own, which wait for torch's ten times as long as they work.
    threadpool_limits(1, user_api="blas")
    device = torch.device(place.device)
    scene = _scene(cell.task, cell.protocol, cell.image_size, place)
    method = cell.variant.load()
    needs = method.declaration.needs
    with seeded(cell.seed, device):
        source, trained_source = _source_model(cell, scene, place, on_step)
    steps = max(1, round(scene.task.recipe.steps * cell.budget))
    tape = Checkpoints(scene, needs, images=steps * scene.task.recipe.batch_size // _TRAINED_PER_SCORED)
    granted = grant(needs, scene, cell)
    answers, model = None, copy.deepcopy(source.model).train()
    if needs & Needs.SOURCE_ANSWERS:
        answers = predict(source.model, granted["target"])[0].softmax(1)
        with seeded(cell.seed, device):
            model = _network(cell, scene, device).train()
    with seeded(cell.seed, device):
        target_data = TargetData(
            method.declaration,
            scene.task.recipe,
            steps=steps,
            num_classes=scene.task.num_classes,
            seed=cell.seed,
            device=device,
            on_step=lambda step, loss: on_step("adapting", step, steps, loss),
            on_checkpoint=tape.record,
            answers=answers,
            **granted,
        )
        _reset_peak_memory(device)
        started = time.perf_counter()
        adapted = method.adapt(model, target_data)
        _wait(device)
        seconds = time.perf_counter() - started - target_data.seconds_aside
    return Run(
        scene=scene,
        method=method,
        source=source,
        trained_source=trained_source,
        adapted=adapted,
        tape=tape,
        target_data=target_data,
        n_target=len(granted["target"]) if "target" in granted else 0,
        seconds=seconds,
        peak_memory=_peak_memory(device),
    )


def measure(cell: Cell, place: Place, on_step: Callable[[str, int, int, float], None]) -> dict[str, Any]:
    """Computes one cell; returns the measured columns of its row.

    Raises Diverged where the adapted model's logits are not finite.
    """
    run = adapt(cell, place, on_step)
    scene, source, tape, device = run.scene, run.source, run.tape, torch.device(place.device)
    batch_size = STREAM_BATCH if run.method.declaration.needs & Needs.TEST_STREAM else 256
    with seeded(cell.seed, device):
        started = time.perf_counter()
        logits, features = predict(run.adapted, scene.target_test, batch_size)
        _wait(device)
        inference = time.perf_counter() - started
        if not tape.progress and run.method.declaration.needs & Needs.TEST_STREAM:
            # The stream passes once: what it answered is all there is to score.
            answered = validators.Evidence(target_logits=logits, target_features=features)
            tape.note(1.0, math.nan, logits[tape.tested], answered)
        elif not tape.progress:
            tape.record(run.adapted, 1.0, {})
        source_logits, _ = predict(run.adapted, scene.source_test, batch_size)
    if not logits.isfinite().all():
        raise Diverged(f"'{run.method.declaration.name}' gives logits that are not finite; lower lr")
    labels, before = scene.target_test.labels, source.test_logits
    return {
        "accuracy": metrics.accuracy(logits, labels),
        "per_class": metrics.per_class_accuracy(logits, labels, scene.task.num_classes),
        "nll": metrics.nll(logits, labels),
        "ece": metrics.calibration_error(logits, labels),
        "accuracy_before": metrics.accuracy(before, labels),
        "nll_before": metrics.nll(before, labels),
        "ece_before": metrics.calibration_error(before, labels),
        "source_before": source.source_accuracy,
        "source_after": metrics.accuracy(source_logits, scene.source_test.labels),
        "predictions": _compact(logits.argmax(1), scene),
        "predictions_before": _compact(before.argmax(1), scene),
        "truth": _compact(labels, scene),
        "checkpoint_progress": tape.progress,
        "checkpoint_accuracy": tape.accuracy_given(logits),
        "checkpoint_images": len(tape.tested),
        "checkpoint_loss": tape.loss,
        "checkpoint_scores": tape.scores,
        "steps": run.target_data.steps,
        "seconds": run.seconds,
        "seconds_scoring": run.target_data.seconds_aside,
        "seconds_source": source.seconds if run.trained_source else math.nan,
        "ms_per_image": 1000 * inference / len(scene.target_test),
        "peak_memory": run.peak_memory,
        "trained_parameters": _trained_parameters(run.adapted, source.model),
        "n_source": len(scene.source_train) if scene.source_train else 0,
        "n_target": run.n_target,
        "n_test": len(scene.target_test),
        "partial": scene.partial,
        "precision": "bf16" if source.model.precision == torch.bfloat16 else "fp32",
    }


# ------------------------------------------------------------------------------------------------ the data


@lru_cache(maxsize=2)
def _scene(words: str, protocol: str, image_size: int, place: Place) -> Scene:
    task = registry.sized(registry.task(words), image_size)
    domains = task.read(place.data, place.cache, task.protocol(protocol))
    return scene_of(task, domains, torch.device(place.device))


def scene_of(task: Task, domains: Domains, device: torch.device) -> Scene:
    """Puts the task's domains on the device, the test images in the order of the stream."""

    def pictures(domain: Domain | None) -> Pictures | None:
        return None if domain is None else Pictures.of(domain, device, labelled=True)

    return Scene(
        task,
        pictures(domains.source_train),
        pictures(domains.source_test),
        pictures(domains.target_train),
        pictures(domains.target_validation),
        pictures(domains.target_test[_stream_order(len(domains.target_test))]),
        data.domain_print(domains.source_train) if domains.source_train else "",
        domains.partial,
    )


def _stream_order(count: int) -> np.ndarray:
    """The order of the test stream, the same for everyone: folders come sorted by class, a stream does not."""
    return np.random.default_rng(0).permutation(count)


def grant(needs: Needs, scene: Scene, cell: Cell) -> dict[str, Pictures]:
    """Exactly what the needs declare; the test images are never among it."""
    granted: dict[str, Pictures] = {}
    if needs & Needs.SOURCE:
        granted["source"] = scene.source_train
    if needs & Needs.TARGET_IMAGES:
        target = scene.target_train
        if cell.target_images != ALL:
            order = np.random.default_rng(cell.seed).permutation(len(target))
            target = _subset(target, np.sort(order[: cell.target_images]))
        granted["target"] = replace(target, labels=None)
        if needs & Needs.ALL_TARGET_LABELS:
            granted["target"] = target
        if needs & Needs.TARGET_LABELS:
            train, held_out = label_budget(target.labels.cpu().numpy(), cell.labels, cell.seed)
            if cell.labels == ALL and scene.target_validation is not None:
                granted |= {"target": target, "validation": scene.target_validation}
            else:
                granted["target"] = _subset(target, train)
                if len(held_out):
                    granted["validation"] = _subset(target, held_out)
            if needs & Needs.UNLABELLED_REST:
                # Where every image is labelled there is no rest: all of them stand in, without their labels.
                rest = np.setdiff1d(np.arange(len(target)), np.concatenate([train, held_out]))
                granted["unlabelled"] = replace(_subset(target, rest) if len(rest) else target, labels=None)
    return granted


def label_budget(labels: np.ndarray, per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the labelled images to train on and to validate on: of each class every fifth, up to 200.

    `per_class` images of each class together (ALL for every one), nested: a seed's budget of 3 is part of its
    budget of 10. Budgets below five images a class leave none to validate on.
    """
    chance = np.random.default_rng(seed)
    train, validation = [], []
    for label in np.unique(labels):
        drawn = chance.permutation(np.flatnonzero(labels == label))[: None if per_class == ALL else per_class]
        place = np.arange(len(drawn))
        validates = (place % 5 == 4) & (place < 5 * _MOST_VALIDATED)
        train.append(drawn[~validates])
        validation.append(drawn[validates])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(validation))


def _subset(pictures: Pictures, index: np.ndarray) -> Pictures:
    chosen = torch.from_numpy(index)
    labels = None if pictures.labels is None else pictures.labels[chosen.to(pictures.labels.device)]
    return replace(pictures, images=pictures.images[chosen.to(pictures.images.device)], labels=labels)


# ---------------------------------------------------------------------------------------- the source model


_SOURCE_MODELS_KEPT = 5
_source_models: dict[tuple[str, str, Place], SourceModel] = {}


def _source_model(
    cell: Cell, scene: Scene, place: Place, on_step: Callable[[str, int, int, float], None]
) -> tuple[SourceModel, bool]:
    """The source model of the cell and whether this call trained it; weights are kept in the cache folder."""
    key = source_key(cell, scene, place)
    memory = (key, cell.task + cell.protocol, place)
    if memory in _source_models:
        return _source_models[memory], False
    task, device = scene.task, torch.device(place.device)
    model = _network(cell, scene, device)
    seconds = math.nan
    if not task.pretrained:
        weights = place.cache / "source" / f"{key}.safetensors"
        weights.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(weights.with_suffix(".lock")):
            if weights.exists():
                models.load_weights(model, weights)
            else:
                started = time.perf_counter()
                train_source(model, scene, cell, on_step)
                seconds = time.perf_counter() - started
                models.save(model, weights)
    test_logits, _ = predict(model, scene.target_test)
    source_logits, _ = predict(model, scene.source_test)
    accuracy = metrics.accuracy(source_logits, scene.source_test.labels)
    if len(_source_models) >= _SOURCE_MODELS_KEPT:
        _source_models.pop(next(iter(_source_models)))
    _source_models[memory] = SourceModel(model, test_logits, accuracy, seconds)
    return _source_models[memory], not math.isnan(seconds)


def _network(cell: Cell, scene: Scene, device: torch.device) -> nn.Module:
    """The cell's network before any training on the task: published weights where there are some."""
    task = scene.task
    return models.build(
        cell.backbone,
        task.num_classes,
        task.image_shape,
        pretrained=task.pretrained or cell.backbone not in models.OWN_NETS,
        logit_indices=task.logit_indices,
        device=device,
    )


def source_key(cell: Cell, scene: Scene, place: Place) -> str:
    """What a source model depends on, see `fingerprints`; tasks that share a source share its model."""
    recipe = scene.task.recipe
    facts = (recipe.source_steps, recipe.source_lr, recipe.batch_size, recipe.flip, recipe.crop)
    shape = (scene.task.image_shape, scene.task.num_classes)
    trained_by = (cell.budget, cell.seed, place.threads, torch.device(place.device).type)
    code = fingerprints.core_code()
    return fingerprints.digest(scene.source_print, cell.backbone, repr((facts, shape, trained_by)), code)


def train_source(model: nn.Module, scene: Scene, cell: Cell, on_step: Callable[[str, int, int, float], None]) -> None:
    """Trains the model in place on the labelled source images: AdamW, one cycle, the task's recipe."""
    recipe = scene.task.recipe
    steps = max(1, round(recipe.source_steps * cell.budget))
    source_data = TargetData(
        _SOURCE_TRAINING,
        recipe,
        steps=steps,
        num_classes=scene.task.num_classes,
        seed=cell.seed,
        device=scene.source_train.device,
        source=scene.source_train,
        on_step=lambda step, loss: on_step("source model", step, steps, loss),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.source_lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.source_lr, total_steps=steps + 1)
    model.train()
    for batch in source_data.batches(model):
        batch.minimise(cross_entropy(model(batch.source_images), batch.source_labels), optimizer)
        schedule.step()


# ----------------------------------------------------------------------------------------- what is measured


class Checkpoints:
    """Records accuracy and the label-free scores of a model at each tenth of its budget.

    Each looks at about `images` of the target's test images, as many to adapt to and half as many of the source's
    test images, the same at every checkpoint and spread evenly over their order.
    """

    def __init__(self, scene: Scene, needs: Needs, images: int) -> None:
        count = min(max(images, _FEWEST_SCORED), _MOST_SCORED)
        self.sees_source = bool(needs & Needs.SOURCE)
        self.labels = scene.target_test.labels
        self.tested = _spread(scene.target_test, count)
        self.test = _subset(scene.target_test, self.tested)
        self.target = _subset(scene.target_train, _spread(scene.target_train, count))
        self.source = _subset(scene.source_test, _spread(scene.source_test, count // 2))
        self.progress: list[float] = []
        self.accuracy: list[float] = []
        self.loss: list[float] = []
        self.scores: dict[str, list[float]] = {}

    def record(self, model: nn.Module, progress: float, losses: Mapping[str, float]) -> None:
        """Looks at the model, in eval mode, with the random state kept."""
        with seeded(0, self.test.device):
            logits, _ = predict(model, self.test)
            target_logits, target_features = predict(model, self.target)
            evidence = validators.Evidence(target_logits=target_logits, target_features=target_features)
            if self.sees_source:
                source_logits, source_features = predict(model, self.source)
                evidence = replace(
                    evidence,
                    source_logits=source_logits,
                    source_features=source_features,
                    source_labels=self.source.labels,
                )
            self.note(progress, losses.get("total", math.nan), logits, evidence)

    def note(self, progress: float, loss: float, test_logits: Tensor, evidence: validators.Evidence) -> None:
        """Keeps what a model answers on the images `tested`; raises Diverged where it is not finite."""
        if not test_logits.isfinite().all():
            raise Diverged(f"the logits are not finite after {progress:.0%} of the budget; lower lr")
        self.progress.append(progress)
        self.loss.append(loss)
        self.accuracy.append(metrics.accuracy(test_logits, self.test.labels))
        for name, value in validators.score_all(evidence, may_see_source=self.sees_source).items():
            self.scores.setdefault(name, []).append(value)

    def accuracy_given(self, logits: Tensor) -> list[float]:
        """Each checkpoint's accuracy on all test images, estimated with the returned model's logits on them.

        A control variate: a checkpoint differs from the returned model by what it differs on the images `tested`.
        """
        on_tested = metrics.accuracy(logits[self.tested], self.test.labels)
        moved = metrics.accuracy(logits, self.labels) - on_tested
        return [min(max(accuracy + moved, 0.0), 1.0) for accuracy in self.accuracy]


def _spread(pictures: Pictures, count: int) -> np.ndarray:
    """Indices of at most `count` of the pictures, spread evenly over their order."""
    return np.linspace(0, len(pictures) - 1, min(count, len(pictures))).astype(np.int64)


def _trained_parameters(adapted: nn.Module, source: nn.Module) -> int:
    """Parameters of the adapted model that are not, bit for bit, parameters of the source model."""
    originals: dict[tuple[int, ...], list[Tensor]] = {}
    for parameter in source.parameters():
        originals.setdefault(tuple(parameter.shape), []).append(parameter)
    return sum(
        parameter.numel()
        for parameter in adapted.parameters()
        if not any(torch.equal(parameter, original) for original in originals.get(tuple(parameter.shape), []))
    )


def _compact(classes: Tensor, scene: Scene) -> bytes:
    kind = np.uint8 if scene.task.num_classes <= 256 else np.uint16
    return classes.cpu().numpy().astype(kind).tobytes()


def _reset_peak_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak_memory(device: torch.device) -> float:
    """MiB: of the device since the reset; of the whole process on a CPU, which cannot be reset."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Every global random state seeded inside, and as it was afterwards."""
    kept = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(kept[0])
            np.random.set_state(kept[1])
