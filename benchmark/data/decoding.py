"""One decoder for every picture: whatever the file holds becomes upright 8-bit grey or RGB, or is refused in words."""

from __future__ import annotations

import contextlib
import io
import struct
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image, ImageCms

BACKGROUND = 255  # what shows through transparent pixels: white, as on paper

# Formats of pictures alone: pillow also opens page descriptions, which it hands to other programs, and video.
_FORMATS = (
    *("AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "QOI", "SGI", "SUN"),
    *("TGA", "TIFF", "WEBP"),
)
_SIXTEEN_BITS_AS_32 = ("PNG", "PPM")  # formats whose 16 bits pillow gives as 32
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # of TIFF
_LONGEST = 16  # times its shorter side: what a centre crop never reaches is cut off before the picture is enlarged


@dataclass(frozen=True)
class Decoded:
    """Pixels, uint8 (channels, height, width), and whether the file held more frames than this first one."""

    pixels: np.ndarray
    several_frames: bool


class Undecodable(ValueError):
    """The bytes are no picture that can be read, or one whose brightness has no scale; says which."""


@cache
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that this machine decodes; HEIF where pillow-heif is installed."""
    from PIL import Image

    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@cache
def suffixes() -> frozenset[str]:
    """The endings, in lower case, of files in these formats."""
    from PIL import Image

    known = formats()
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in known)


def decode(encoded: bytes, image_shape: tuple[int, int, int], resize: int) -> Decoded:
    """The first frame, upright, its shorter side resized to `resize` (bicubic), then the centre cropped.

    Transparent pixels show white, 16-bit values are divided by 257. Raises Undecodable.
    """
    from PIL import Image, ImageCms

    channels, height, width = image_shape
    damaged = (
        *(OSError, EOFError, ValueError, SyntaxError, TypeError, ArithmeticError, LookupError, AttributeError),
        *(RuntimeError, MemoryError, struct.error, Image.DecompressionBombError, ImageCms.PyCMSError),
    )
    try:
        with Image.open(io.BytesIO(encoded), formats=formats()) as picture:
            # The second picture in a phone's MPO is a preview.
            several = picture.format != "MPO" and getattr(picture, "is_animated", False)
            upright = _upright(picture).convert("L" if channels == 1 else "RGB")
        pixels = np.asarray(_cropped(upright, height, width, resize))
    except damaged as error:
        raise Undecodable(str(error) or type(error).__name__) from error
    return Decoded(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1), several)


def _cropped(picture: Image.Image, height: int, width: int, resize: int) -> Image.Image:
    from PIL import Image

    shorter = min(picture.size)
    if max(picture.size) > _LONGEST * shorter:
        across, down = (min(side, _LONGEST * shorter) for side in picture.size)
        left, top = (picture.width - across) // 2, (picture.height - down) // 2
        picture = picture.crop((left, top, left + across, top + down))
    scale = resize / shorter
    across, down = (max(resize, round(side * scale)) for side in picture.size)
    picture = picture.resize((across, down), Image.Resampling.BICUBIC)
    left, top = (across - width) // 2, (down - height) // 2
    return picture.crop((left, top, left + width, top + height))


def _upright(picture: Image.Image) -> Image.Image:
    """The frame turned as its EXIF says, in a mode of 8 bits without transparency."""
    from PIL import ImageOps

    levels = _levels(picture)
    hidden = picture.info.get("transparency")
    picture = ImageOps.exif_transpose(picture)
    if levels is not None:
        return _scaled(picture, levels, hidden)
    if picture.mode in ("I", "F"):
        raise Undecodable(
            f"it holds {'32-bit whole' if picture.mode == 'I' else 'floating-point'} numbers, for which no value is "
            "white; save it with 8 or 16 bits a channel"
        )
    if picture.mode == "LAB":
        return _srgb(picture)
    if picture.has_transparency_data:
        return _on_background(picture)
    return picture


def _levels(picture: Image.Image) -> int | None:
    """The value of white where pixels have more than 8 bits; negative where 0 is white. None elsewhere."""
    if picture.mode == "I" and picture.format in _SIXTEEN_BITS_AS_32:
        return 2**16 - 1
    if not picture.mode.startswith("I;16"):
        return None
    tags = getattr(picture, "tag_v2", {})
    bits: int = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    white: int = 2**bits - 1
    return -white if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else white


def _scaled(picture: Image.Image, levels: int, hidden: int | None) -> Image.Image:
    """8 bits of the picture's values, `levels` becoming 255; the value `hidden` is transparent."""
    from PIL import Image

    values = np.asarray(picture)
    grey = np.clip(values.astype(np.float32) * (255 / abs(levels)) + 0.5, 0, 255).astype(np.uint8)
    if levels < 0:
        grey = 255 - grey
    if isinstance(hidden, int):
        grey[values == hidden] = BACKGROUND
    return Image.fromarray(grey)


def _on_background(picture: Image.Image) -> Image.Image:
    """The picture laid on white, so that the colours that transparent pixels hide stay hidden."""
    from PIL import Image

    straight = {"La": "LA", "RGBa": "RGBA"}
    if picture.mode in straight:
        picture = picture.convert(straight[picture.mode])
    picture = picture.convert("RGBA")
    paper = Image.new("RGBA", picture.size, (BACKGROUND,) * 4)
    return Image.alpha_composite(paper, picture).convert("RGB")


def _srgb(picture: Image.Image) -> Image.Image:
    from PIL import ImageCms

    converted = ImageCms.applyTransform(picture, _lab_to_srgb())
    assert converted is not None  # it is None only where the picture is changed in place
    return converted


@cache
def _lab_to_srgb() -> ImageCms.ImageCmsTransform:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
