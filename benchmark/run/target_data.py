"""What a method holds in its hands: `TargetData`, which has only what was granted, and the loop it runs.

The harness owns the loop: it gathers minibatches on the device, counts the budget, stops a run that is no longer
finite and takes a checkpoint every tenth of the budget.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from dabench.core import AccessError, Declaration, Diverged, Domain, Needs, Recipe

CHECKPOINTS = 10
_LOSS_CHECK = 20  # steps between looks at the loss: each look waits for the device

_GRANTS = {
    "source_images": Needs.SOURCE,
    "source_labels": Needs.SOURCE,
    "source_batches": Needs.SOURCE,
    "target_images": Needs.TARGET_IMAGES,
    "target_index": Needs.TARGET_IMAGES,
    "target_labels": Needs.TARGET_LABELS,
    "best_checkpoint": Needs.TARGET_LABELS,
}


@dataclass(frozen=True)
class Pictures:
    """A domain on the device: uint8 images (n, channels, height, width) and, where granted, labels (n,)."""

    images: Tensor
    labels: Tensor | None
    device: torch.device

    @classmethod
    def of(cls, domain: Domain, device: torch.device, *, labelled: bool) -> Pictures:
        """Moves the domain to the device where it fits; else its images stay behind and batches travel."""
        images = torch.from_numpy(domain.images)
        if device.type == "cuda" and images.nbytes < 0.4 * torch.cuda.mem_get_info(device)[0]:
            images = images.to(device)
        labels = torch.as_tensor(domain.labels, dtype=torch.long, device=device) if labelled else None
        return cls(images, labels, device)

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: Tensor) -> Tensor:
        """The images at `index` as float32 in [0, 1], channels last, on the device."""
        taken = self.images[index.to(self.images.device)].to(self.device)
        return taken.to(torch.float32, memory_format=torch.channels_last).mul_(1 / 255)

    def in_order(self, batch_size: int) -> Iterator[Tensor]:
        """Every image once, in order."""
        for index in torch.arange(len(self)).split(batch_size):
            yield self.take(index)


class Batch:
    """One step's minibatch; what the setting does not grant is not in it.

    `source_images` and `target_images` are float32 in [0, 1] on the device; `target_index` says which of the
    target images these are; `progress` in [0, 1) is the share of the budget already spent.
    """

    __slots__ = (
        "_data",
        "progress",
        "source_images",
        "source_labels",
        "step",
        "target_images",
        "target_index",
        "target_labels",
    )

    def __getattr__(self, name: str) -> Tensor:
        raise self._data.refusal(name)

    def minimise(self, loss: Tensor, *optimizers: torch.optim.Optimizer) -> None:
        """One descent step on `loss`: clears the gradients, goes backward, steps every optimizer."""
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        self._data.record(loss)


class TargetData:
    """What one method may see of one task, and the loop over it.

    `source`, `target`, `validation` are None where the method's needs do not grant them. `on_step(step, loss)`
    hears of the steps at which the loss was looked at; `on_checkpoint(model, progress, loss)` of each tenth.
    """

    def __init__(
        self,
        declaration: Declaration,
        recipe: Recipe,
        *,
        steps: int,
        num_classes: int,
        seed: int,
        device: torch.device,
        source: Pictures | None = None,
        target: Pictures | None = None,
        validation: Pictures | None = None,
        on_step: Callable[[int, float], None] = lambda step, loss: None,
        on_checkpoint: Callable[[nn.Module, float, float], None] = lambda model, progress, loss: None,
    ) -> None:
        self.steps = steps
        self.num_classes = num_classes
        self.device = device
        self.seconds_aside = 0.0
        self._declaration = declaration
        self._recipe = recipe
        self._seed = seed
        self._source = source
        self._target = target
        self._validation = validation
        self._on_step = on_step
        self._on_checkpoint = on_checkpoint
        self._loss_sum = torch.zeros((), device=device)
        self._losses = 0
        self._step = 0
        self._best: tuple[float, dict[str, Tensor]] | None = None

    def __getattr__(self, name: str) -> object:
        raise self.refusal(name)

    def refusal(self, name: str) -> Exception:
        """The error for an attribute that is not there: not granted, or not known."""
        declared = self._declaration
        if name not in _GRANTS:
            return AttributeError(f"target_data and its batches have no '{name}'")
        return AccessError(
            f"method '{declared.name}' asked for {name}, which its setting '{declared.setting}' does not grant; "
            f"add {_GRANTS[name]} to its needs, or do without"
        )

    # -------------------------------------------------------------------------------------------- one pass

    def target_images(self, batch_size: int = 256) -> Iterator[Tensor]:
        """Every target training image once, in order, as float32 (batch, channels, height, width)."""
        if self._target is None:
            raise self.refusal("target_images")
        return self._target.in_order(batch_size)

    def source_batches(self, batch_size: int = 256) -> Iterator[tuple[Tensor, Tensor]]:
        """Every source training image with its labels once, in order."""
        if self._source is None:
            raise self.refusal("source_batches")
        return zip(self._source.in_order(batch_size), self._source.labels.split(batch_size), strict=True)

    # -------------------------------------------------------------------------------------------- the loop

    def batches(self, model: nn.Module, batch_size: int | None = None) -> Iterator[Batch]:
        """Paired minibatches until the budget is spent; `model` is the one under adaptation.

        Raises Diverged when a loss given to `Batch.minimise` is no longer finite.
        """
        size = batch_size or self._recipe.batch_size
        source = self._draws(self._source, size, 0)
        target = self._draws(self._target, size, 1)
        marks = {round(self.steps * tenth / CHECKPOINTS) for tenth in range(1, CHECKPOINTS + 1)}
        self._keep_if_best(model)
        for step in range(self.steps):
            batch = Batch()
            batch._data = self
            batch.step = step
            batch.progress = step / self.steps
            if self._source is not None:
                index, batch.source_images = next(source)
                batch.source_labels = self._source.labels[index.to(self.device)]
            if self._target is not None:
                batch.target_index, batch.target_images = next(target)
                if self._target.labels is not None:
                    batch.target_labels = self._target.labels[batch.target_index.to(self.device)]
            yield batch
            self._step = step + 1
            if self._step in marks:
                self._checkpoint(model)

    def _draws(self, pictures: Pictures | None, size: int, stream: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Shuffled epochs without end, cut into full batches: (index, augmented images)."""
        if pictures is None:
            return
        order = torch.Generator().manual_seed(2 * self._seed + stream)
        chance = torch.Generator(self.device).manual_seed(2 * self._seed + stream)
        waiting = torch.empty(0, dtype=torch.long)
        while True:
            while len(waiting) < size:
                waiting = torch.cat([waiting, torch.randperm(len(pictures), generator=order)])
            index, waiting = waiting[:size], waiting[size:]
            yield index, augment(pictures.take(index), self._recipe, chance)

    def record(self, loss: Tensor) -> None:
        """Counts a step's loss; raises Diverged at the next look after it stopped being finite."""
        self._loss_sum += loss.detach()
        self._losses += 1
        if self._losses % _LOSS_CHECK == 0:
            self._on_step(self._step, self._mean_loss())

    def _mean_loss(self) -> float:
        """Mean loss since the last checkpoint; NaN where the method records none."""
        total = self._loss_sum.item()
        if not math.isfinite(total):
            raise Diverged(f"the loss of '{self._declaration.name}' became {total} by step {self._step}; lower lr")
        return total / self._losses if self._losses else math.nan

    def _checkpoint(self, model: nn.Module) -> None:
        started = time.perf_counter()
        self._on_checkpoint(model, self._step / self.steps, self._mean_loss())
        self.seconds_aside += time.perf_counter() - started
        self._loss_sum.zero_()
        self._losses = 0
        self._keep_if_best(model)

    # -------------------------------------------------------------------------------------- early stopping

    def _keep_if_best(self, model: nn.Module) -> None:
        if self._validation is None:
            return
        logits, _ = predict(model, self._validation)
        accuracy = (logits.argmax(1) == self._validation.labels).float().mean().item()
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


def augment(images: Tensor, recipe: Recipe, chance: torch.Generator) -> Tensor:
    """Flips and shifts each image by its own chance, on the device, as the recipe says."""
    if recipe.flip:
        flipped = torch.rand(len(images), 1, 1, 1, device=images.device, generator=chance) < 0.5
        images = torch.where(flipped, images.flip(3), images)
    if recipe.crop:
        height, width = images.shape[2:]
        padded = pad(images, [recipe.crop] * 4, mode="reflect")
        shift = torch.randint(0, 2 * recipe.crop + 1, (2, len(images), 1, 1, 1), device=images.device, generator=chance)
        rows = (shift[0] + torch.arange(height, device=images.device).view(-1, 1)).expand(
            -1, images.shape[1], -1, padded.shape[3]
        )
        columns = (shift[1] + torch.arange(width, device=images.device)).expand(-1, images.shape[1], height, -1)
        images = padded.gather(2, rows).gather(3, columns)
    return images.contiguous(memory_format=torch.channels_last)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards every module is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@torch.no_grad()
def predict(model: nn.Module, pictures: Pictures, batch_size: int = 256) -> tuple[Tensor, Tensor]:
    """Logits (n, classes) and features (n, feature_dim) in eval mode, in order.

    A model without `features` and `head` gives an empty tensor for them.
    """
    split = hasattr(model, "features") and hasattr(model, "head")
    logits, features = [], []
    with evaluating(model):
        for images in pictures.in_order(batch_size):
            if split:
                features.append(model.features(images).float())
                logits.append(model.head(features[-1]).float())
            else:
                logits.append(model(images).float())
    return torch.cat(logits), torch.cat(features) if split else torch.empty(0)
