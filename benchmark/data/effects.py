"""What corruptions are made of: blurs, zooms, clouds, photographs of frost; float32 images in [0, 1]."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from dabench.core import MissingData

Chance = np.random.Generator
SMALL = 64  # pixels a side, below which the strengths are those of CIFAR-10-C


def by_pillow(images: np.ndarray, change: Callable[[Any], Any]) -> np.ndarray:
    from PIL import Image

    pixels = (images * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    changed = np.stack([np.asarray(change(Image.fromarray(one))) for one in pixels])
    # A thousandth more, for what is cut off in the end.
    return (changed.transpose(0, 3, 1, 2).astype(np.float32) + 1e-3) / 255


def blurred(images: np.ndarray, sigma: float) -> np.ndarray:
    from scipy import ndimage

    return np.asarray(ndimage.gaussian_filter(images, (0, 0, sigma, sigma), mode="nearest", truncate=4))


def soft_disk(radius: float, alias_blur: float) -> np.ndarray:
    """A disk that sums to 1, then softened at its edge, which adds a little, as in the releases."""
    from scipy import ndimage

    reach, taps = (8, 3) if radius <= 8 else (int(radius), 5)
    x, y = np.meshgrid(*2 * [np.arange(-reach, reach + 1)])
    disk = (x**2 + y**2 <= radius**2).astype(np.float32)
    disk /= disk.sum()
    edge = np.exp(-((np.arange(taps) - taps // 2) ** 2) / (2 * alias_blur**2))
    for axis in (0, 1):
        disk = ndimage.convolve1d(disk, edge / edge.sum(), axis, mode="mirror")
    return disk


def motion_blurred(image: np.ndarray, radius: int, sigma: float, angle: float) -> np.ndarray:
    """The mean of the image shifted along one direction, by half a Gaussian; (channels, height, width)."""
    reach = 2 * radius + 1
    weights = np.exp(-(np.arange(reach) ** 2) / (2 * sigma**2))
    down, right = (
        np.ceil(np.arange(reach) * direction - 0.5).astype(int)
        for direction in (np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle)))
    )
    height, width = image.shape[1:]
    padded = np.pad(image, ((0, 0), (reach, reach), (reach, reach)), "edge")
    blurred = np.zeros_like(image)
    for weight, row, column in zip(weights / weights.sum(), down + reach, right + reach, strict=True):
        blurred += np.float32(weight) * padded[:, row : row + height, column : column + width]
    return blurred


def zoomed(images: np.ndarray, zoom: float) -> np.ndarray:
    """The middle of the images, enlarged to their size by linear interpolation."""
    rows, columns = (_enlarging(side, float(zoom)) for side in images.shape[2:])
    return np.asarray(rows @ images @ columns.T)


@lru_cache(maxsize=64)
def _enlarging(side: int, zoom: float) -> np.ndarray:
    """The matrix that enlarges the middle of a line to the line's length."""
    kept = int(np.ceil(side / zoom))
    length = round(kept * zoom)
    first, cut = (side - kept) // 2, (length - side) // 2
    places = np.arange(length)[cut : cut + side] * (kept - 1) / max(length - 1, 1)
    below = np.minimum(places.astype(int), kept - 2)
    matrix = np.zeros((side, side), np.float32)
    matrix[np.arange(side), first + below] = 1 - (places - below)
    matrix[np.arange(side), first + below + 1] += places - below
    return matrix


def plasma(side: int, decay: float, chances: list[Chance]) -> np.ndarray:
    """Clouds in [0, 1], (images, side, side): the diamond-square algorithm on a torus."""
    clouds = np.zeros((len(chances), side, side), np.float32)
    noise = np.stack([chance.uniform(-1, 1, side * side).astype(np.float32) for chance in chances])
    step, swing, used = side, 100.0, 0

    def wibbled(mean: np.ndarray) -> np.ndarray:
        nonlocal used
        count = mean[0].size
        drawn, used = noise[:, used : used + count].reshape(mean.shape), used + count
        return np.asarray(mean + swing * swing * drawn)

    while step >= 2:
        half = step // 2
        corners = clouds[:, ::step, ::step]
        square = corners + np.roll(corners, -1, 1)
        clouds[:, half::step, half::step] = wibbled((square + np.roll(square, -1, 2)) / 4)
        centres = clouds[:, half::step, half::step]
        above, before = centres + np.roll(centres, 1, 1), centres + np.roll(centres, 1, 2)
        clouds[:, ::step, half::step] = wibbled((above + corners + np.roll(corners, -1, 2)) / 4)
        clouds[:, half::step, ::step] = wibbled((before + corners + np.roll(corners, -1, 1)) / 4)
        step, swing = half, swing / decay
    clouds -= clouds.min((1, 2), keepdims=True)
    return np.asarray(clouds / clouds.max((1, 2), keepdims=True))


@lru_cache(maxsize=2)
def frost_photos(height: int, width: int) -> list[np.ndarray]:
    """Photographs of frost in [0, 1], (3, rows, columns) of that size or more; a fifth of theirs for small images."""
    from PIL import Image

    package = importlib.util.find_spec("imagecorruptions")
    if package is None or not package.submodule_search_locations:
        raise MissingData("frost needs photographs of frost; pip install 'dabench[corruptions]' brings them")
    photos = []
    for path in sorted((Path(package.submodule_search_locations[0]) / "frost").glob("frost*"))[:5]:
        photo = Image.open(path).convert("RGB")
        scale = max(width / photo.width, height / photo.height)
        if scale > 1:
            photo = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.BICUBIC)
        pixels = np.asarray(photo, np.float32).transpose(2, 0, 1) / 255
        photos.append(pixels[:, 2::5, 2::5] if max(height, width) < SMALL else pixels)
    return photos
