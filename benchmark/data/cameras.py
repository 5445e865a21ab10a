"""Simulated cameras: transforms of uint8 RGB images, quantised back to uint8."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import isfinite

import numpy as np

from dabench.core import DabenchError

_PIXELS_AT_ONCE = 5_000_000  # beyond this, a table of all colours is made once and looked up


@dataclass(frozen=True)
class Rotated:
    """Turns each pixel's (a, b) in CIELAB (D65) by `angle` degrees and keeps its luminosity.

    Values outside sRGB are clipped, so the luminosity of strong colours changes a little.
    """

    angle: float = 150.0

    def __post_init__(self) -> None:
        if not isfinite(self.angle):
            raise DabenchError(f"the camera's angle = {self.angle} is no finite number; give degrees, such as 150")

    def apply(self, images: np.ndarray) -> np.ndarray:
        _expect_rgb(images)
        pixels = len(images) * images.shape[2] * images.shape[3]
        if pixels <= _PIXELS_AT_ONCE:
            return _rotated(images, self.angle)
        return _rotated_colours(self.angle)[:, *np.moveaxis(images, 1, 0)].swapaxes(0, 1)


@dataclass(frozen=True)
class Power:
    """Raises each channel, scaled to [0, 1], to its own power."""

    red: float = 0.2
    green: float = 0.3
    blue: float = 0.4

    def __post_init__(self) -> None:
        powers = (self.red, self.green, self.blue)
        if not all(isfinite(power) and power >= 0 for power in powers):
            raise DabenchError(f"the camera's powers {powers} must be finite numbers, 0 or more")

    def apply(self, images: np.ndarray) -> np.ndarray:
        _expect_rgb(images)
        levels = np.arange(256) / 255
        tables = [np.round(255 * levels**power).astype(np.uint8) for power in (self.red, self.green, self.blue)]
        return np.stack([table[images[:, channel]] for channel, table in enumerate(tables)], axis=1)


CAMERAS: dict[str, type[Rotated] | type[Power]] = {"rotated": Rotated, "power": Power}


def _expect_rgb(images: np.ndarray) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise DabenchError(
            f"a camera takes uint8 RGB images (n, 3, height, width), not {images.dtype} {images.shape}; "
            "give the task an image_shape of 3 channels"
        )


def _rotated(images: np.ndarray, angle: float) -> np.ndarray:
    import torch
    from kornia.color import lab_to_rgb, rgb_to_lab

    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn = torch.tensor([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]], dtype=torch.float32)
    lab = torch.einsum("ij,njhw->nihw", turn, rgb_to_lab(torch.from_numpy(images) / 255))
    return (lab_to_rgb(lab, clip=True) * 255).round().byte().numpy()


@lru_cache(maxsize=1)
def _rotated_colours(angle: float) -> np.ndarray:
    """All 16.8 million colours turned, uint8 (3, red, green, blue): looking up is faster than CIELAB."""
    levels = np.arange(256, dtype=np.uint8)
    colours = np.empty((3, 256, 256, 256), np.uint8)
    for reds in np.split(levels, 16):  # bounds the float copies to some 100 MB
        some = np.stack(np.meshgrid(reds, levels, levels, indexing="ij"), axis=1)  # (reds, 3, greens, blues)
        colours[:, reds] = _rotated(some, angle).swapaxes(0, 1)
    return colours
