"""What a method holds in its hands: `TargetData`, which has only what was granted, and the loop it runs.

The harness owns the loop: it gathers minibatches on the device, counts the budget over all calls, stops a run that is
no longer finite and takes a checkpoint every tenth of the budget.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from dabench.core import AccessError, DabenchError, Declaration, Diverged, Needs, Recipe
from dabench.nn import Classifier
from dabench.run.images import Draws, Pictures, augment, predict

CHECKPOINTS = 10
_LOSS_CHECK = 20  # steps between looks at the loss: each look waits for the device

_GRANTS = {
    "source_images": Needs.SOURCE,
    "source_raw": Needs.SOURCE,
    "source_index": Needs.SOURCE,
    "source_labels": Needs.SOURCE,
    "source_batches": Needs.SOURCE,
    "target_images": Needs.TARGET_IMAGES,
    "target_raw": Needs.TARGET_IMAGES,
    "target_index": Needs.TARGET_IMAGES,
    "num_target": Needs.TARGET_IMAGES,
    "target_labels": Needs.TARGET_LABELS,
    "best_checkpoint": Needs.TARGET_LABELS,
    "unlabelled_images": Needs.UNLABELLED_REST,
    "unlabelled_raw": Needs.UNLABELLED_REST,
    "unlabelled_index": Needs.UNLABELLED_REST,
    "source_answers": Needs.SOURCE_ANSWERS,
}


class Method(Protocol):
    """What a file in methods/ declares: a frozen dataclass of hyper-parameters that adapts a model."""

    declaration: ClassVar[Declaration]

    def adapt(self, model: Classifier, target_data: TargetData) -> nn.Module:
        """The adapted model, in any mode; `model` is this call's own copy and may be changed."""
        ...


class Batch:
    """One step's minibatch; what the setting does not grant is not in it.

    `*_images` are float32 in [0, 1] on the device, augmented as the task's recipe says, `*_raw` the same images
    before that, `*_index` which of the domain's images these are. `progress` in [0, 1) is the share of the whole
    budget already spent; `epoch` counts the passes over the target's images (the source's, where no target is
    granted), and `starts_epoch` says that this batch is the first of one.
    """

    step: int
    progress: float
    epoch: int
    starts_epoch: bool
    source_images: Tensor
    source_raw: Tensor
    source_labels: Tensor
    source_index: Tensor
    target_images: Tensor
    target_raw: Tensor
    target_labels: Tensor
    target_index: Tensor
    unlabelled_images: Tensor
    unlabelled_raw: Tensor
    unlabelled_index: Tensor

    def __init__(self, data: TargetData, granted: Mapping[str, Any]) -> None:
        self._data = data
        vars(self).update(granted)

    def __getattr__(self, name: str) -> Tensor:
        raise self._data.refusal(name)

    def minimise(self, loss: Tensor, *optimizers: Optimizer, losses: Mapping[str, Tensor] | None = None) -> None:
        """One descent step on `loss`: clears the gradients, goes backward, steps every optimizer.

        `losses` are parts of it by name, such as classification and domain; the row keeps the mean of each.
        """
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        self._data.record({"total": loss, **(losses or {})})


@dataclass(frozen=True, kw_only=True)
class Granted:
    """All of a task that a method may see; None is what its needs do not grant.

    `answers` are the source model's probabilities for the target images, (target images, classes).
    """

    source: Pictures | None = None
    target: Pictures | None = None
    validation: Pictures | None = None
    unlabelled: Pictures | None = None
    answers: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Listeners:
    """Who hears of a run: of the steps at which the loss was looked at, and of each tenth of the budget.

    A checkpoint comes with the share of the budget spent and the mean of each named loss since the one before.
    """

    on_step: Callable[[int, float], None] = lambda step, loss: None
    on_checkpoint: Callable[[nn.Module, float, Mapping[str, float]], None] = lambda model, progress, losses: None


class TargetData:
    """What one method may see of one task, and the loop over it: the steps of `recipe`, no more."""

    def __init__(
        self,
        declaration: Declaration,
        recipe: Recipe,
        granted: Granted,
        *,
        num_classes: int,
        seed: int,
        device: torch.device,
        listeners: Listeners | None = None,
    ) -> None:
        self.steps = recipe.steps
        self.steps_taken = 0
        self.num_classes = num_classes
        self.device = device
        self.seconds_aside = 0.0
        self._declaration = declaration
        self._recipe = recipe
        self._granted = granted
        self._listeners = listeners or Listeners()
        if granted.target is not None:
            self.num_target = len(granted.target)
        if granted.answers is not None:
            self.source_answers = granted.answers
        domains = {
            "source": (granted.source, 0),
            "target": (granted.target, 1),
            "unlabelled": (granted.unlabelled, 7919),
        }
        self._draws = {
            name: Draws(pictures, recipe, 2 * seed + stream, device)
            for name, (pictures, stream) in domains.items()
            if pictures is not None
        }
        self._chance = torch.Generator(device).manual_seed(2 * seed + 104729)
        self._marks = {round(self.steps * tenth / CHECKPOINTS) for tenth in range(1, CHECKPOINTS + 1)}
        self._losses = MeanLosses(device)
        self._epoch = -1
        self._whole_budget_asked = False
        self._best: tuple[float, dict[str, Tensor]] | None = None

    def __getattr__(self, name: str) -> Any:
        raise self.refusal(name)

    def refusal(self, name: str) -> Exception:
        """The error for an attribute that is not there: not granted, or not known."""
        if name not in _GRANTS:
            return AttributeError(f"target_data and its batches have no '{name}'")
        declared = self._declaration
        return AccessError(
            f"method '{declared.name}' asked for {name}, which its setting '{declared.setting}' does not grant; "
            f"add {_GRANTS[name]} to its needs, or do without"
        )

    # -------------------------------------------------------------------------------------------- one pass

    def target_images(self, batch_size: int = 256) -> Iterator[Tensor]:
        """Every target training image once, in order, as float32 (batch, channels, height, width)."""
        if self._granted.target is None:
            raise self.refusal("target_images")
        return self._granted.target.in_order(batch_size)

    def source_batches(self, batch_size: int = 256) -> Iterator[tuple[Tensor, Tensor]]:
        """Every source training image with its labels once, in order."""
        source = self._granted.source
        if source is None or source.labels is None:
            raise self.refusal("source_batches")
        return zip(source.in_order(batch_size), source.labels.split(batch_size), strict=True)

    def augmented(self, raw: Tensor) -> Tensor:
        """One more view of a batch's `*_raw` images, by the task's own augmentation."""
        return augment(raw, self._recipe, self._chance)

    # -------------------------------------------------------------------------------------------- the loop

    def batches(self, model: nn.Module, batch_size: int | None = None, share: float | None = None) -> Iterator[Batch]:
        """Paired minibatches, `share` of the granted steps or all that are left; `model` is the one under adaptation.

        The steps of all calls together are never more than granted. Raises Diverged when a loss given to
        `Batch.minimise` is no longer finite, DabenchError where an earlier call was given the whole budget.
        """
        if self._whole_budget_asked:
            raise DabenchError(
                f"method '{self._declaration.name}' asked for more batches after its {self.steps} steps were given "
                "away; split the budget between its stages: batches(model, share=0.3)"
            )
        self._whole_budget_asked = share is None
        size = batch_size or self._recipe.batch_size
        if not self.steps_taken:
            self._keep_if_best(model)
        left = self.steps - self.steps_taken
        for _ in range(left if share is None else min(left, round(share * self.steps))):
            if self.steps_taken >= self.steps:  # another call's batches went between these
                return
            batch = self._batch(size)
            self.steps_taken += 1
            yield batch
            if self.steps_taken in self._marks:
                self._marks.remove(self.steps_taken)
                self._checkpoint(model)

    def _batch(self, size: int) -> Batch:
        fields: dict[str, Any] = {"step": self.steps_taken, "progress": self.steps_taken / self.steps}
        counted = self._draws.get("unlabelled") or self._draws.get("target") or self._draws.get("source")
        if counted is not None:
            fields["epoch"] = counted.epoch_of_next()
            fields["starts_epoch"] = fields["epoch"] > self._epoch
            self._epoch = fields["epoch"]
        for name, draws in self._draws.items():
            fields |= draws.next(name, size)
        return Batch(self, fields)

    def record(self, losses: Mapping[str, Tensor]) -> None:
        """Counts a step's losses; raises Diverged at the next look after their total stopped being finite."""
        self._losses.add(losses)
        if self._losses.counts["total"] % _LOSS_CHECK == 0:
            self._listeners.on_step(self.steps_taken, self._mean_losses().get("total", math.nan))

    def _mean_losses(self) -> dict[str, float]:
        means = self._losses.means()
        if not math.isfinite(means.get("total", 0.0)):
            raise Diverged(
                f"the loss of '{self._declaration.name}' became {means['total']} by step {self.steps_taken}; lower lr"
            )
        return means

    def _checkpoint(self, model: nn.Module) -> None:
        started = time.perf_counter()
        self._listeners.on_checkpoint(model, self.steps_taken / self.steps, self._mean_losses())
        self.seconds_aside += time.perf_counter() - started
        self._losses = MeanLosses(self.device)
        self._keep_if_best(model)

    # -------------------------------------------------------------------------------------- early stopping

    def _keep_if_best(self, model: nn.Module) -> None:
        validation = self._granted.validation
        if validation is None or validation.labels is None:
            return
        logits, _ = predict(model, validation)
        accuracy = (logits.argmax(1) == validation.labels).float().mean().item()
        if self._best is None or accuracy > self._best[0]:
            self._best = accuracy, {name: value.clone() for name, value in model.state_dict().items()}

    def best_checkpoint(self, model: nn.Module) -> nn.Module:
        """`model` with the weights of its best checkpoint on the labelled target validation images.

        The start counts as a checkpoint. Without validation images (a small label budget) the model stays as it is.
        """
        if not self._declaration.needs & (Needs.TARGET_LABELS | Needs.ALL_TARGET_LABELS):
            raise self.refusal("best_checkpoint")
        if self._best is not None:
            model.load_state_dict(self._best[1])
        return model


class MeanLosses:
    """Sums of named losses on the device, which are looked at seldom: each look waits for it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.sums: dict[str, Tensor] = {}
        self.counts: Counter[str] = Counter()

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Counts each loss once more under its name."""
        for name, loss in losses.items():
            if name not in self.sums:
                self.sums[name] = torch.zeros((), device=self.device)
            self.sums[name] += loss.detach()
        self.counts.update(losses.keys())

    def means(self) -> dict[str, float]:
        """The mean of each over the times that it was given."""
        return {name: total.item() / self.counts[name] for name, total in self.sums.items()}


@dataclass
class Work:
    """What a run really did: optimizer steps of any optimizer, and forward passes of the backbone."""

    optimizer_steps: int = 0
    forward_passes: int = 0


@contextmanager
def counted() -> Iterator[Work]:
    """Counts the optimizer steps and forward passes of what runs inside; the latter are known at the end."""
    work = Work()

    def stepped(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        work.optimizer_steps += 1

    before = Classifier.forward_passes
    handle = register_optimizer_step_post_hook(stepped)
    try:
        yield work
    finally:
        handle.remove()
        work.forward_passes = Classifier.forward_passes - before
