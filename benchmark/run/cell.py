"""One cell of the sweep: fetch the source model, have a method's process adapt it, measure what it answers.

This is the evaluating process: it holds the labels, and no line of a method's code runs in it. `adapted` alone runs a
method here, for who asked for the model itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dabench import registry
from dabench.core import Diverged, Needs
from dabench.run import adaptation, devices, metrics, streams, task_data
from dabench.run.adaptation import Job, Packed
from dabench.run.images import Pictures, predict
from dabench.run.plan import Cell, Environment, Start
from dabench.run.recorder import Recorder
from dabench.run.sharing import Shared
from dabench.run.source_model import OnStep, SourceModel, network, source_model, source_steps
from dabench.run.task_data import TaskData, grant, labels_of

Word = tuple[str, Mapping[str, Any], Mapping[str, Tensor]]  # what a method's process tells, see `adaptation`
Ask = Callable[[Job], Iterator[Word]]  # gives a job to a method's process, and every word of it

# What a method's process says of its own run; everything else is measured here.
_TOLD = (
    *("steps_taken", "optimizer_steps", "forward_passes", "seconds", "seconds_scoring"),
    *("ms_per_image", "peak_memory", "trained_parameters"),
)


_UNSCORED = {"scored": False, "accuracy": None, "accuracy_before": None}  # where the target has no labels


@dataclass(frozen=True)
class Prepared:
    """A cell before its method runs: the data, the source model, and the job for the method's process."""

    data: TaskData
    source: SourceModel
    trained_source: bool
    needs: Needs
    job: Job
    recorder: Recorder


def prepare(cell: Cell, environment: Environment, on_step: OnStep) -> Prepared:
    """Loads the task, trains or fetches the source model, and packs what the method's declaration grants."""
    devices.prepare(environment.threads)
    described = registry.describe(cell.variant.file)
    needs = described.needs
    data = task_data.of_cell(
        cell.task, cell.protocol, cell.image_size, cell.stream, cell.backbone if cell.frozen else "", environment
    )
    source, trained_source = source_model(cell, data, environment, on_step)
    recipe = data.task.recipe
    steps = max(1, round(recipe.steps * cell.budget))
    if cell.start is Start.INITIAL_WEIGHTS:
        steps += source_steps(data.task, cell.budget)
    granted = grant(needs, data, cell)
    recorder = Recorder(data, needs, trained_images=steps * recipe.batch_size)
    model, answers = source.model, None
    if needs & Needs.SOURCE_ANSWERS:
        answers = predict(source.model, granted["target"])[0].softmax(1).cpu().numpy()
    if needs & Needs.SOURCE_ANSWERS or cell.start is Start.INITIAL_WEIGHTS:
        with devices.seeded(cell.seed, torch.device(environment.device)):
            model = network(cell, data, environment)
    job = Job(
        variant=cell.variant,
        recipe=replace(recipe, steps=steps),
        num_classes=data.task.num_classes,
        seed=cell.seed,
        device=environment.device,
        threads=environment.threads,
        stream_batch=streams.parse(cell.stream).batch_size,
        parts=data.parts,
        resets=data.resets,
        model=adaptation.packed(model),
        granted={name: _packed(pictures, data) for name, pictures in granted.items()},
        answers=answers,
        looked_at={name: _packed(pictures, data) for name, pictures in recorder.looked_at.items()},
        test=_packed(data.target_test, data, labelled=False),
        source_test=_packed(data.source_test, data, labelled=False),
    )
    return Prepared(data, source, trained_source, needs, job, recorder)


def _packed(pictures: Pictures, data: TaskData, *, labelled: bool = True) -> Packed:
    """The pictures on their way to another process; a whole domain's images are shared, a few are copied."""
    images = data.shared.get(pictures.images.data_ptr()) or Shared(pictures.images.cpu().numpy())
    labels = None if pictures.labels is None or not labelled else pictures.labels.cpu().numpy()
    return Packed(images, labels)


def measure(cell: Cell, environment: Environment, on_step: OnStep, ask: Ask) -> dict[str, Any]:
    """Computes one cell by a method's process; returns the measured columns of its row.

    Raises Diverged where the adapted model's logits are not finite.
    """
    prepared = prepare(cell, environment, on_step)
    for word, facts, tensors in ask(prepared.job):
        if word == "step":
            on_step("adapting", facts["step"], facts["steps"], facts["loss"])
        elif word == "checkpoint":
            prepared.recorder.note(facts["progress"], facts["losses"], tensors)
        else:
            return _measured(cell, prepared, facts, tensors)
    raise AssertionError("a method's process ended without a last word")


def _measured(
    cell: Cell, prepared: Prepared, facts: Mapping[str, Any], answers: Mapping[str, Tensor]
) -> dict[str, Any]:
    data, source, recorder = prepared.data, prepared.source, prepared.recorder
    logits, before = answers["test"], source.test_logits.cpu()
    if not logits.isfinite().all():
        raise Diverged(f"'{cell.variant.name}' gives logits that are not finite; lower lr")
    stream = bool(prepared.needs & Needs.TEST_STREAM)
    if stream:
        # The stream passes once: what it answered is all there is to score.
        given = {"test": logits[recorder.tested], "target": logits, "target_features": answers["test_features"]}
        recorder.note(1.0, {}, given)
    source_labels = labels_of(data.source_test)
    classes = data.task.num_classes
    granted = prepared.job.granted
    return {
        **{name: facts[name] for name in _TOLD},
        **(_scores(data, logits, before, recorder, stream=stream) if data.task.scored else _UNSCORED),
        "source_before": source.source_accuracy,
        "source_after": data.accuracy(answers["source"], source_labels),
        "predictions": _compact(logits.argmax(1), classes),
        "predictions_before": _compact(before.argmax(1), classes),
        "checkpoint_progress": recorder.progress,
        "checkpoint_images": len(recorder.tested),
        "checkpoint_loss": recorder.loss,
        "checkpoint_losses": recorder.losses,
        "checkpoint_scores": recorder.scores,
        "steps": prepared.job.recipe.steps,
        "seconds_source": source.seconds if prepared.trained_source else math.nan,
        "n_source": len(data.source_train) if data.source_train else 0,
        "n_target": sum(len(granted[name].images.array) for name in ("target", "unlabelled") if name in granted),
        "n_test": len(data.target_test),
        "partial": data.partial,
        "precision": "bf16" if source.model.precision == torch.bfloat16 else "fp32",
    }


def _scores(data: TaskData, logits: Tensor, before: Tensor, recorder: Recorder, *, stream: bool) -> dict[str, Any]:
    """What the labels of the test images say of the adapted model's logits and of the source model's."""
    labels, classes = labels_of(data.target_test), data.task.num_classes
    return {
        "accuracy": data.accuracy(logits, labels),
        "per_class": metrics.per_class_accuracy(logits, labels, classes),
        "curve": metrics.accuracy_over_time(logits, labels, data.parts) if stream else None,
        "nll": metrics.nll(logits, labels),
        "ece": metrics.calibration_error(logits, labels),
        "accuracy_before": data.accuracy(before, labels),
        "nll_before": metrics.nll(before, labels),
        "ece_before": metrics.calibration_error(before, labels),
        "truth": _compact(labels, classes),
        "checkpoint_accuracy": recorder.accuracy_given(logits),
    }


def _compact(classes: Tensor, count: int) -> bytes:
    kind = np.uint8 if count <= 256 else np.uint16
    return classes.cpu().numpy().astype(kind).tobytes()


@dataclass(frozen=True)
class Run:
    """A cell's data, and the model that its method made in this very process."""

    data: TaskData
    adapted: nn.Module


def adapt(cell: Cell, environment: Environment, on_step: OnStep) -> Run:
    """Runs the cell's method here, with no process between, for who wants its model; raises what the method raises."""
    prepared = prepare(cell, environment, on_step)
    adapted = adaptation.adapt(prepared.job, lambda word, facts, tensors: None)
    return Run(prepared.data, adapted.model)
