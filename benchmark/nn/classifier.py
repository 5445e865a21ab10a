"""The classifier that every method adapts, and a transform of its input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """A feature extractor and a head that take plain images and give plain float32 logits.

    Normalisation, memory layout and precision happen inside, so that methods need not think of them: the
    backbone computes in `precision` (float32 or bfloat16), the head in float32.
    """

    forward_passes: ClassVar[int] = 0  # of every classifier in this process, for the record of what a run did
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        feature_dim: int,
        num_classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.feature_dim = feature_dim
        self.num_classes = num_classes
        self.precision = precision
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        for weight in self.parameters():
            if weight.ndim == 4:  # a network may hold weights of five dimensions, for which there is no such format
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)

    def features(self, images: Tensor) -> Tensor:
        """Float32 features (batch, feature_dim) of images in [0, 1], (batch, channels, height, width).

        Frozen features (batch, dim) may come in the images' place and are not normalised.
        """
        Classifier.forward_passes += 1
        if images.ndim == 2:
            normalised = images
        else:
            normalised = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        reduced = self.precision != torch.float32
        with torch.autocast(images.device.type, self.precision if reduced else None, enabled=reduced):
            return cast(Tensor, self.backbone(normalised).flatten(1).float())

    def forward(self, images: Tensor) -> Tensor:
        """Float32 logits (batch, num_classes) of images in [0, 1], (batch, channels, height, width)."""
        return cast(Tensor, self.head(self.features(images)))

    def layers(self) -> list[nn.ModuleList]:
        """The trainable layers from input to output: each a convolution or linear map and its norms.

        Parameters that belong to no such layer (a position embedding) are in none.
        """
        layers: list[nn.ModuleList] = []
        for module in self.modules():
            own = list(module.parameters(recurse=False))
            if not own or len(own) < len(list(module.parameters())):
                continue
            if any(parameter.ndim > 1 for parameter in own):
                layers.append(nn.ModuleList([module]))
            elif layers:
                layers[-1].append(module)
        return layers


class InputAdapted(nn.Module):
    """A classifier behind a transform of its input; the transform comes off as `adapter`."""

    def __init__(self, adapter: nn.Module, model: Classifier) -> None:
        super().__init__()
        self.adapter = adapter
        self.model = model

    @property
    def head(self) -> nn.Module:
        return self.model.head

    def features(self, images: Tensor) -> Tensor:
        return self.model.features(self.adapter(images))

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.features(images)))
