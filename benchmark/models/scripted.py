"""A TorchScript network as timm would give one."""

from __future__ import annotations

import io
import warnings
from typing import Any, Self

import torch
from torch import Tensor, nn


class Scripted(nn.Module):
    """A fixed TorchScript network before a layer that changes nothing yet, so that its logits are its features.

    It can be copied and sent to another process, as a plain TorchScript module cannot.
    """

    def __init__(self, network: nn.Module, classes: int, channels: int) -> None:
        super().__init__()
        self.network = network
        self.classifier = nn.Linear(classes, classes)
        nn.init.eye_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)
        self.pretrained_cfg = {"mean": (0.0,) * channels, "std": (1.0,) * channels}

    def get_classifier(self) -> nn.Module:
        return self.classifier

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.network.eval()  # it is used as it is
        return self

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.network(images))
        return logits

    def __getstate__(self) -> dict[str, Any]:
        file = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch would rather write its newer format
            torch.jit.save(self.network, file)
        others = {name: module for name, module in self._modules.items() if name != "network"}
        return {**self.__dict__, "_modules": others, "scripted": file.getvalue()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        file = io.BytesIO(state.pop("scripted"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch would rather read its newer format
            network = torch.jit.load(file, map_location="cpu").eval()
        nn.Module.__setstate__(self, state)
        for parameter in network.parameters():
            parameter.requires_grad_(False)
        self.network = network
