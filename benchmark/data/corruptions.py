"""The 15 common corruptions of ImageNet-C and CIFAR-10-C, each a camera whose one number is the severity.

Dan Hendrycks, Thomas Dietterich: Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, ICLR
2019, arXiv:1903.12261.

What chance decides (noise, angles, places) is drawn for each image from a hash of its own pixels, so that a picture is
corrupted in the same way everywhere. Pictures of less than 64 pixels a side get the strengths of CIFAR-10-C, others
those of ImageNet-C, whose files are JPEG-compressed besides.
"""

from __future__ import annotations

import hashlib
import io
import tokenize
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dabench.core import DabenchError, Domain, nearest
from dabench.data import effects
from dabench.data.arrays import domain_print
from dabench.data.effects import (
    SMALL,
    Chance,
    blurred,
    by_pillow,
    frost_photos,
    motion_blurred,
    plasma,
    soft_disk,
    zoomed,
)
from dabench.files import locked, named_errors, replacing

_AT_ONCE = 256  # images, which bounds the float copies

Corrupt = Callable[[np.ndarray, Any, list[Chance]], np.ndarray]


@dataclass(frozen=True)
class Corruption:
    """One of the 15 by its name, `severity` a whole number from 1 (weak) to 5 (strong)."""

    name: str
    severity: float = 5

    def __post_init__(self) -> None:
        if self.name not in CORRUPTIONS:
            raise DabenchError(f"no corruption '{self.name}'; {nearest(self.name, CORRUPTIONS)}")
        if self.severity not in (1, 2, 3, 4, 5):
            raise DabenchError(f"{self.name}[severity={self.severity:g}] must be 1, 2, 3, 4 or 5")

    def apply(self, images: np.ndarray) -> np.ndarray:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < 32:
            raise DabenchError(
                f"a corruption takes uint8 RGB images (n, 3, height, width) of 32 pixels a side or more, not "
                f"{images.dtype} {images.shape}; give the task an image_shape of 3 channels"
            )
        corrupt, small, large = CORRUPTIONS[self.name]
        strength = (small if max(images.shape[2:]) < SMALL else large)[int(self.severity) - 1]
        corrupted = np.empty_like(images)
        for start in range(0, len(images), _AT_ONCE):
            some = images[start : start + _AT_ONCE]
            chances = [np.random.default_rng(zlib.crc32(np.ascontiguousarray(image).data)) for image in some]
            changed = corrupt(some.astype(np.float32) / 255, strength, chances)
            corrupted[start : start + _AT_ONCE] = changed.clip(0, 1) * 255  # cut off, not rounded, as in the releases
        return corrupted


def corrupted(domain: Domain, corruption: Corruption, cache: Path) -> Domain:
    """The domain's pictures corrupted; done once, then kept in `cache`."""
    code = [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in (__file__, effects.__file__)]
    key = hashlib.sha256(repr((domain_print(domain), corruption, code)).encode()).hexdigest()[:24]
    path = cache / f"{key}.npy"
    if not path.exists():
        with named_errors(path, "--cache"), locked(path):
            if not path.exists():  # another process may have been at it
                with replacing(path) as unfinished, unfinished.open("wb") as file:
                    np.save(file, corruption.apply(domain.images))
    try:
        return Domain(np.load(path), domain.labels)
    except (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError) as error:
        raise DabenchError(f"cannot read the corrupted pictures {path}: {error}; delete that file") from error


# ------------------------------------------------------------ corruptions: float32 (n, 3, height, width) in [0, 1]


def _gaussian_noise(images: np.ndarray, scale: float, chances: list[Chance]) -> np.ndarray:
    noise = np.stack([chance.standard_normal(images.shape[1:], np.float32) for chance in chances])
    return np.asarray(images + scale * noise)


def _shot_noise(images: np.ndarray, photons: float, chances: list[Chance]) -> np.ndarray:
    pairs = zip(images, chances, strict=True)
    return np.stack([chance.poisson(image * photons) for image, chance in pairs]).astype(np.float32) / photons


def _impulse_noise(images: np.ndarray, share: float, chances: list[Chance]) -> np.ndarray:
    drawn = np.stack([chance.random(images.shape[1:], np.float32) for chance in chances])
    return np.where(drawn < share / 2, 0, np.where(drawn < share, 1, images))


def _defocus_blur(images: np.ndarray, disk: tuple[float, float], chances: list[Chance]) -> np.ndarray:
    from scipy.signal import fftconvolve

    kernel = soft_disk(*disk)
    border = len(kernel) // 2
    padded = np.pad(images, ((0, 0), (0, 0), (border, border), (border, border)), "reflect")
    return np.asarray(fftconvolve(padded, kernel[None, None], "valid", axes=(2, 3)))


def _glass_blur(images: np.ndarray, strength: tuple[float, int, int], chances: list[Chance]) -> np.ndarray:
    """Blurred, each pixel replaced by a near one, blurred again. The authors meant to swap: their code copies."""
    sigma, reach, rounds = strength
    pixels = (blurred(images, sigma) * 255).astype(np.uint8).transpose(0, 2, 3, 1).copy()
    count, height, width = pixels.shape[:3]
    which = np.arange(count)
    shifts = np.stack([chance.integers(-reach, reach, (rounds, height, width, 2)) for chance in chances], axis=3)
    for one in range(rounds):
        for row in range(height - reach, reach, -1):
            for column in range(width - reach, reach, -1):
                right, down = shifts[one, row, column].T
                pixels[:, row, column] = pixels[which, row + down, column + right]
    return blurred(pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255, sigma)


def _motion_blur(images: np.ndarray, strength: tuple[int, float], chances: list[Chance]) -> np.ndarray:
    pairs = zip(images, chances, strict=True)
    return np.stack([motion_blurred(image, *strength, chance.uniform(-45, 45)) for image, chance in pairs])


def _zoom_blur(images: np.ndarray, zooms: np.ndarray, chances: list[Chance]) -> np.ndarray:
    return (images + sum(zoomed(images, zoom) for zoom in zooms)) / (len(zooms) + 1)


def _snow(images: np.ndarray, strength: tuple[float, ...], chances: list[Chance]) -> np.ndarray:
    mean, spread, zoom, least, radius, sigma, kept = strength
    layers = np.stack([chance.normal(mean, spread, images.shape[2:]) for chance in chances])[:, None]
    layers = zoomed(layers.astype(np.float32), zoom)
    layers = np.where(layers < least, 0, layers).clip(0, 1)
    pairs = zip(layers, chances, strict=True)
    flakes = np.stack([motion_blurred(layer, int(radius), sigma, chance.uniform(-135, -45)) for layer, chance in pairs])
    grey = np.tensordot(images, np.array([0.299, 0.587, 0.114], np.float32), (1, 0))[:, None]
    whiter = kept * images + (1 - kept) * np.maximum(images, grey * 1.5 + 0.5)
    return np.asarray(whiter + flakes + flakes[:, :, ::-1, ::-1])


def _frost(images: np.ndarray, strength: tuple[float, float], chances: list[Chance]) -> np.ndarray:
    height, width = images.shape[2:]
    frosted = np.empty_like(images)
    for image, chance, place in zip(images, chances, frosted, strict=True):
        photo = frost_photos(height, width)[chance.integers(5)]  # of six, the last is never drawn in the releases
        top, left = (
            chance.integers(high - low + 1) for high, low in zip(photo.shape[1:], (height, width), strict=True)
        )
        place[:] = strength[0] * image + strength[1] * photo[:, top : top + height, left : left + width]
    return frosted


def _fog(images: np.ndarray, strength: tuple[float, float], chances: list[Chance]) -> np.ndarray:
    thickness, decay = strength
    height, width = images.shape[2:]
    side = 1 << (max(height, width) - 1).bit_length()  # 32 for CIFAR-10, 256 for ImageNet, as in the releases
    brightest = images.max((1, 2, 3), keepdims=True)
    clouds = plasma(side, decay, chances)[:, None, :height, :width]
    return np.asarray((images + thickness * clouds) * brightest / (brightest + thickness))


def _brightness(images: np.ndarray, more: float, chances: list[Chance]) -> np.ndarray:
    """The value of HSV raised, hue and saturation kept."""
    value = images.max(1, keepdims=True)
    raised = (value + more).clip(max=1)
    return np.asarray(np.where(value > 0, images * (raised / np.maximum(value, 1e-12)), raised))


def _contrast(images: np.ndarray, kept: float, chances: list[Chance]) -> np.ndarray:
    mean = images.mean((2, 3), keepdims=True)
    return np.asarray((images - mean) * kept + mean)


def _elastic_transform(images: np.ndarray, strength: tuple[float, float, float], chances: list[Chance]) -> np.ndarray:
    """Three points moved and the picture with them, then each pixel by a smooth random field."""
    from scipy import ndimage

    length, sigma, jitter = strength
    height, width = images.shape[2:]
    reach = min(height, width) // 3
    centre = np.array([width, height]) // 2
    points = centre + reach * np.array([[1, 1], [1, -1], [-1, -1]])
    grid = np.mgrid[:height, :width].astype(np.float64)
    warped = np.empty_like(images)
    for image, chance, place in zip(images, chances, warped, strict=True):
        moved = points + chance.uniform(-jitter, jitter, (3, 2))
        # From where the moved points are back to where they were: x, y of the source for x, y of the picture.
        back = np.linalg.solve(np.column_stack([moved, np.ones(3)]), points)
        x, y = (grid[1] * back[0, axis] + grid[0] * back[1, axis] + back[2, axis] for axis in (0, 1))
        turned = [ndimage.map_coordinates(channel, [y, x], order=1, mode="mirror") for channel in image]
        fields = chance.uniform(-1, 1, (2, height, width))
        right, down = (ndimage.gaussian_filter(one, sigma, mode="reflect", truncate=3) * length for one in fields)
        at = [grid[0] + down, grid[1] + right]
        place[:] = [ndimage.map_coordinates(channel, at, order=1, mode="reflect") for channel in turned]
    return warped


def _pixelate(images: np.ndarray, share: float, chances: list[Chance]) -> np.ndarray:
    from PIL import Image

    height, width = images.shape[2:]

    def coarse(picture: Image.Image) -> Image.Image:
        few = picture.resize((int(width * share), int(height * share)), Image.Resampling.BOX)
        return few.resize((width, height), Image.Resampling.BOX)

    return by_pillow(images, coarse)


def _jpeg_compression(images: np.ndarray, quality: int, chances: list[Chance]) -> np.ndarray:
    from PIL import Image

    def compressed(picture: Image.Image) -> Image.Image:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return by_pillow(images, compressed)


def _zooms(*ends: tuple[float, float]) -> tuple[np.ndarray, ...]:
    return tuple(np.arange(1, end, step) for end, step in ends)


# By name, in the official order: the corruption, its strengths at severities 1 to 5 on small pictures, and on large.
CORRUPTIONS: dict[str, tuple[Corrupt, tuple[Any, ...], tuple[Any, ...]]] = {
    "gaussian_noise": (_gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.1), (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": (_shot_noise, (500, 250, 100, 75, 50), (60, 25, 12, 5, 3)),
    "impulse_noise": (_impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27)),
    "defocus_blur": (
        _defocus_blur,
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    "glass_blur": (
        _glass_blur,
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    ),
    "motion_blur": (
        _motion_blur,
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    "zoom_blur": (
        _zoom_blur,
        _zooms((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        _zooms((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    ),
    "snow": (
        _snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    "frost": (
        _frost,
        ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    ),
    "fog": (
        _fog,
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    ),
    "brightness": (_brightness, (0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": (_contrast, (0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),
    "elastic_transform": (
        _elastic_transform,
        ((0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)),
        ((488, 170.8, 24.4), (488, 19.52, 48.8), (12.2, 2.44, 4.88), (17.08, 2.44, 4.88), (29.28, 2.44, 4.88)),
    ),
    "pixelate": (_pixelate, (0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg_compression": (_jpeg_compression, (80, 65, 58, 50, 40), (25, 18, 15, 10, 7)),
}
