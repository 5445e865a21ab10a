"""A domain's images on the device: gathered, augmented, drawn in shuffled epochs, and answered by a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from dabench.core import DabenchError, Domain, Recipe
from dabench.run.devices import free_memory


@dataclass(frozen=True)
class Pictures:
    """A domain on the device: uint8 images (n, channels, height, width) and, where granted, labels (n,).

    Frozen features, float32 (n, feature_dim), take the images' place where the backbone is computed once.
    """

    images: Tensor
    labels: Tensor | None
    device: torch.device

    @classmethod
    def of(cls, domain: Domain, device: torch.device, *, labelled: bool) -> Pictures:
        """Moves the domain to the device where it fits; else its images stay behind and batches travel."""
        labels = torch.as_tensor(domain.labels, dtype=torch.long, device=device) if labelled else None
        return resident(cls(torch.from_numpy(domain.images), labels, device))

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: Tensor) -> Tensor:
        """The images at `index` as float32 in [0, 1], channels last, on the device; features as they are."""
        taken = self.images[index.to(self.images.device)].to(self.device)
        if taken.dtype != torch.uint8:
            return taken
        return taken.to(torch.float32, memory_format=torch.channels_last).mul_(1 / 255)

    def labels_at(self, index: Tensor) -> Tensor:
        """The labels at `index`; only for domains that have them."""
        assert self.labels is not None
        return self.labels[index.to(self.labels.device)]

    def in_order(self, batch_size: int) -> Iterator[Tensor]:
        """Every image once, in order."""
        for index in torch.arange(len(self)).split(batch_size):
            yield self.take(index)


def resident(pictures: Pictures) -> Pictures:
    """The pictures with their images on the device where they fit; else these stay behind and batches travel."""
    device = pictures.device
    if device.type == "cpu" or pictures.images.nbytes >= 0.4 * free_memory(device):
        return pictures
    return replace(pictures, images=pictures.images.to(device))


class Draws:
    """Shuffled epochs without end over one domain, cut into full batches."""

    def __init__(self, pictures: Pictures, recipe: Recipe, seed: int, device: torch.device) -> None:
        self.pictures = pictures
        self.recipe = recipe
        self.drawn = 0
        self.order = torch.Generator().manual_seed(seed)
        self.chance = torch.Generator(device).manual_seed(seed)
        self.waiting = torch.empty(0, dtype=torch.long)

    def next(self, name: str, size: int) -> dict[str, Tensor]:
        """The next batch, its fields beginning with `name`."""
        while len(self.waiting) < size:
            self.waiting = torch.cat([self.waiting, torch.randperm(len(self.pictures), generator=self.order)])
        index, self.waiting = self.waiting[:size], self.waiting[size:]
        self.drawn += size
        raw = self.pictures.take(index)
        fields = {f"{name}_index": index, f"{name}_raw": raw, f"{name}_images": augment(raw, self.recipe, self.chance)}
        if self.pictures.labels is not None:
            fields[f"{name}_labels"] = self.pictures.labels_at(index)
        return fields

    def epoch_of_next(self) -> int:
        """Which pass over the domain the next batch begins in."""
        return self.drawn // len(self.pictures)


def augment(images: Tensor, recipe: Recipe, chance: torch.Generator) -> Tensor:
    """Flips and shifts each image by its own chance, on the device, as the recipe says; features stay."""
    if images.ndim == 2:
        return images
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
    features_of, head = getattr(model, "features", None), getattr(model, "head", None)
    logits, features = [], []
    with evaluating(model):
        for images in pictures.in_order(batch_size):
            if features_of is None or head is None:
                logits.append(_floats(model(images)))
            else:
                features.append(_floats(features_of(images)))
                logits.append(_floats(head(features[-1])))
    return torch.cat(logits), torch.cat(features) if features else torch.empty(0)


def _floats(answer: object) -> Tensor:
    if not isinstance(answer, Tensor):
        raise DabenchError(f"the model answers a batch with {type(answer).__name__}; let it give a tensor of logits")
    return answer.float()
