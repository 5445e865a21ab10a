"""A method's run, from the job it is given to its answers: all that happens in the process where a method's code runs.

No label of a test image is in a `Job`, and nothing here leads to one: what a checkpoint's answers are worth is known
to who sent the job alone.
"""

from __future__ import annotations

import copy
import io
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dabench.core import DabenchError, Needs, Recipe
from dabench.nn import Classifier
from dabench.registry import Variant
from dabench.run import devices
from dabench.run.images import Pictures, predict, resident
from dabench.run.sharing import Shared
from dabench.run.target_data import Granted, Listeners, TargetData, Work, counted

Tell = Callable[[str, Mapping[str, Any], Mapping[str, Tensor]], None]  # a word, its facts, its tensors

_AT_ONCE = 256  # images in a batch where the batch changes no answer


@dataclass(frozen=True)
class Packed:
    """A domain on its way to a method's process: the images, and the labels where they are granted."""

    images: Shared
    labels: np.ndarray | None = None

    def unpacked(self, device: torch.device) -> Pictures:
        """The domain's images where the device finds them, its labels on the device."""
        labels = None if self.labels is None else torch.from_numpy(self.labels).to(device)
        return Pictures(torch.from_numpy(self.images.array), labels, device)


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a method's process is given.

    `recipe` has the steps that are granted, `model` is the pickled classifier, `granted` and `answers` are what
    `Granted` will hold, `looked_at` the unlabelled images of every checkpoint, `test` the test images in the order of
    the stream.
    `parts` are the stream's lengths: no batch holds images of two, and where it `resets`, each finds a fresh model.
    """

    variant: Variant
    recipe: Recipe
    num_classes: int
    seed: int
    device: str
    threads: int
    stream_batch: int
    parts: tuple[int, ...]
    resets: bool
    model: bytes
    granted: Mapping[str, Packed]
    answers: np.ndarray | None
    looked_at: Mapping[str, Packed]
    test: Packed
    source_test: Packed


@dataclass(frozen=True)
class Adapted:
    """What a method made of its model, and what that cost."""

    model: nn.Module
    needs: Needs
    steps_taken: int
    seconds: float
    seconds_aside: float
    peak_memory: float
    work: Work = field(default_factory=Work)


def packed(model: Classifier) -> bytes:
    """The classifier as bytes that `unpacked` reads; raises DabenchError for a network that cannot be sent."""
    try:
        return pickle.dumps(model)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise DabenchError(f"the network cannot be sent to a process of its own: {error}; choose another") from error


def unpacked(model: bytes, device: torch.device) -> Classifier:
    """A copy of its own of the classifier, on the device."""
    return pickle.load(io.BytesIO(model)).to(device)  # type: ignore[no-any-return]


def run(job: Job, tell: Tell) -> None:
    """Adapts, tells each checkpoint, and then the answers of the model that came out; raises what the method raises."""
    answer(job, adapt(job, tell), tell)


def adapt(job: Job, tell: Tell) -> Adapted:
    """Lets the method adapt a copy of the model; each checkpoint's answers are told on the way."""
    device = torch.device(job.device)
    devices.prepare(job.threads)
    method = job.variant.load()
    name, needs = method.declaration.name, method.declaration.needs
    looked_at = {each: images.unpacked(device) for each, images in job.looked_at.items()}

    told: list[float] = []

    def step(number: int, loss: float) -> None:
        tell("step", {"step": number, "steps": job.recipe.steps, "loss": loss}, {})

    def checkpoint(model: nn.Module, progress: float, losses: Mapping[str, float]) -> None:
        with devices.seeded(0, device):
            answers: dict[str, Tensor] = {}
            for each, pictures in looked_at.items():
                answers[each], features = _answers(model, pictures, _AT_ONCE, job.num_classes, name)
                if each != "test":
                    answers[f"{each}_features"] = features
        told.append(progress)
        tell("checkpoint", {"progress": progress, "losses": dict(losses)}, answers)

    with devices.seeded(job.seed, device), counted() as work:
        granted = Granted(
            answers=None if job.answers is None else torch.from_numpy(job.answers).to(device),
            **{each: resident(images.unpacked(device)) for each, images in job.granted.items()},
        )
        target_data = TargetData(
            method.declaration,
            job.recipe,
            granted,
            num_classes=job.num_classes,
            seed=job.seed,
            device=device,
            listeners=Listeners(on_step=step, on_checkpoint=checkpoint),
        )
        model = unpacked(job.model, device).train()
        devices.reset_peak_memory(device)
        started = time.perf_counter()
        adapted = method.adapt(model, target_data)
        devices.synchronise(device)
        seconds = time.perf_counter() - started - target_data.seconds_aside
    if not isinstance(adapted, nn.Module):
        raise DabenchError(f"adapt() of '{name}' returned {type(adapted).__name__}; return the adapted torch module")
    if not needs & Needs.TEST_STREAM and not told:
        checkpoint(adapted, 1.0, {})
    taken, aside = target_data.steps_taken, target_data.seconds_aside
    return Adapted(adapted, needs, taken, seconds, aside, devices.peak_memory(device), work)


def answer(job: Job, adapted: Adapted, tell: Tell) -> None:
    """Tells the adapted model's answers on every test image, and what the run cost."""
    device, name, model = torch.device(job.device), job.variant.name, adapted.model
    stream = bool(adapted.needs & Needs.TEST_STREAM)
    size = job.stream_batch if stream else _AT_ONCE
    with devices.seeded(job.seed, device):
        test = resident(job.test.unpacked(device))
        with counted() as streamed:
            started = time.perf_counter()
            if stream:
                model, logits, features = _streamed(model, test, job)
            else:
                logits, features = _answers(model, test, size, job.num_classes, name)
            devices.synchronise(device)
            inference = time.perf_counter() - started
        source, _ = _answers(model, job.source_test.unpacked(device), size, job.num_classes, name)
    work = [adapted.work, streamed] if stream else [adapted.work]
    facts = {
        "steps_taken": adapted.steps_taken,
        "optimizer_steps": sum(each.optimizer_steps for each in work),
        "forward_passes": sum(each.forward_passes for each in work),
        "seconds": adapted.seconds,
        "seconds_scoring": adapted.seconds_aside,
        "ms_per_image": 1000 * inference / max(1, len(test)),
        "peak_memory": adapted.peak_memory,
        "trained_parameters": _trained_parameters(model, unpacked(job.model, device)),
    }
    tell("answers", facts, {"test": logits, "test_features": features, "source": source})


def _streamed(model: nn.Module, pictures: Pictures, job: Job) -> tuple[nn.Module, Tensor, Tensor]:
    """The model at the end of the stream, and what it answered on the way."""
    start, answers = model, []
    for images in pictures.images.split(list(job.parts)):
        if job.resets:
            model = copy.deepcopy(start)
        part = replace(pictures, images=images)
        answers.append(_answers(model, part, job.stream_batch, job.num_classes, job.variant.name))
    logits, features = zip(*answers, strict=True)
    return model, torch.cat(logits), torch.cat(features)


def _answers(model: nn.Module, pictures: Pictures, size: int, classes: int, name: str) -> tuple[Tensor, Tensor]:
    """Logits and features on the pictures; raises DabenchError where they are no logits of that many classes."""
    logits, features = predict(model, pictures, size)
    if tuple(logits.shape) != (len(pictures), classes):
        raise DabenchError(
            f"the model of '{name}' gives logits of shape {tuple(logits.shape)} for {len(pictures)} images of "
            f"{classes} classes; let it give one row for each image and one column for each class"
        )
    return logits, features


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
