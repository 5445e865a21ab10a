"""Around the steps of a training: the rate, other views of the images, passes over all of them, and a slow teacher."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from dabench.nn.classifier import Classifier


def anneal(optimizer: torch.optim.Optimizer, progress: float) -> None:
    """Sets every group's rate to its initial one over (1 + 10 progress)^0.75 (Ganin et al., JMLR 2016)."""
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) / (1 + 10 * progress) ** 0.75


def strong(images: Tensor) -> Tensor:
    """A strong view of each image in [0, 1]: turned, sheared, scaled and shifted, lit otherwise, a square cut out.

    Each image by its own chance from torch's global random state, on the device: the operations of RandAugment and
    Cutout (Cubuk et al., 2020; DeVries & Taylor, 2017) that keep a digit's and an object's class, without flips.
    Features, (batch, feature_dim), get noise of a tenth of their spread and a tenth of their entries put to zero.
    """
    count, device = len(images), images.device

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(count, device=device).uniform_(low, high)

    if images.ndim == 2:
        noisy = images + 0.1 * images.std() * torch.randn_like(images)
        return noisy * torch.empty_like(images).bernoulli_(0.9)
    angle, shear, scale = uniform(-0.35, 0.35), uniform(-0.2, 0.2), uniform(0.85, 1.15)
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    rows = [cosine, shear - sine, uniform(-0.15, 0.15), sine, cosine, uniform(-0.15, 0.15)]
    grid = affine_grid(torch.stack(rows, 1).view(count, 2, 3), list(images.shape), align_corners=False)
    moved = grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    grey = moved.mean((1, 2, 3), keepdim=True)
    contrast, light = uniform(0.6, 1.4).view(-1, 1, 1, 1), uniform(-0.15, 0.15).view(-1, 1, 1, 1)
    lit = (grey + contrast * (moved - grey) + light).clamp(0, 1)
    height, width = images.shape[2:]
    from_row = (torch.arange(height, device=device) - uniform(0, height)[:, None]).abs() < height / 8
    from_column = (torch.arange(width, device=device) - uniform(0, width)[:, None]).abs() < width / 8
    cut = (from_row[:, None, :, None] & from_column[:, None, None, :]).to(lit)
    return (lit * (1 - cut) + 0.5 * cut).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def predict_target(model: Classifier, target_data: Any) -> tuple[Tensor, Tensor]:
    """Features (n, feature_dim) and softmax predictions (n, classes) of all target images, in order and in eval mode.

    Leaves the model in training mode: where that is forgotten, the batch norms stand still for the rest of the run.
    """
    model.eval()
    features = torch.cat([model.features(images) for images in target_data.target_images()])
    predictions = model.head(features).softmax(1)
    model.train()
    return features, predictions


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Moves the teacher's weights to their exponential moving average over the student's; buffers are copied."""
    for mine, theirs in zip(teacher.parameters(), student.parameters(), strict=True):
        mine.lerp_(theirs, 1 - momentum)
    for kept, current in zip(teacher.buffers(), student.buffers(), strict=True):
        kept.copy_(current)
