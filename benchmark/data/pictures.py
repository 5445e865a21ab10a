"""Pictures in folders or archives: which there are, how each is decoded, and the split that a release lacks.

Pictures are decoded once into a memory-mapped array. Splits are made by a hash of the file names, so that they are
the same everywhere.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dabench.core import Camera, DabenchError, Domain, MissingData, Protocol


@dataclass(frozen=True)
class Picture:
    """An encoded picture and its class: a file, or `size` bytes from `offset` of an uncompressed archive."""

    name: str
    label: int
    path: Path
    offset: int = 0
    size: int = -1

    def decoded(self, image_shape: tuple[int, int, int], resize: int) -> np.ndarray:
        """The shorter side resized to `resize` (bicubic), then the centre cropped: uint8 `image_shape`."""
        from PIL import Image

        channels, height, width = image_shape
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                picture = Image.open(io.BytesIO(file.read(self.size))).convert("L" if channels == 1 else "RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            inside = f" inside {self.path}" if self.size >= 0 else f" ({self.path})"
            raise DabenchError(f"cannot decode {self.name}{inside}: {error}; fetch it again or remove it") from error
        scale = resize / min(picture.size)
        across, down = (max(resize, round(side * scale)) for side in picture.size)
        picture = picture.resize((across, down), Image.Resampling.BICUBIC)
        left, top = (across - width) // 2, (down - height) // 2
        pixels = np.asarray(picture.crop((left, top, left + width, top + height)))
        return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"}

_IN_MEMORY = 64_000_000  # bytes; larger arrays stay on disk

_DECODED_AT_ONCE = 256


def classes_in(folder: Path) -> tuple[str, ...]:
    """The names of the folders inside `folder`, sorted; raises MissingData where there is no such folder."""
    if not folder.is_dir():
        raise MissingData(f"{folder} is no folder; it must hold one folder of pictures a class")
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise DabenchError(f"{folder} has no class folders; put the pictures into {folder}/<class>/")
    return tuple(names)


def pictures_in(folder: Path, class_names: tuple[str, ...]) -> list[Picture]:
    """Every picture of `folder`/<class>/ in a mixed order; raises DabenchError for an empty class.

    The order is that of a hash of the names: class by class, it would tell the labels, and a batch hold one class.
    """
    pictures = []
    for label, name in enumerate(class_names):
        paths = sorted((folder / name).glob("*"))
        found = [path for path in paths if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")]
        if not found:
            raise DabenchError(f"class '{name}' has no pictures: put some into {folder / name} or remove the folder")
        pictures += [Picture(f"{name}/{path.name}", label, path) for path in found]
    return sorted(pictures, key=_place)


def _place(picture: Picture) -> bytes:
    return hashlib.sha256(Path(picture.name).with_suffix("").as_posix().encode()).digest()


def held_out(pictures: list[Picture], fraction: float) -> tuple[list[Picture], list[Picture]]:
    """Splits each class by a fixed hash of the file names: those to keep, then `fraction` of them held out.

    A class of two pictures or more leaves at least one on either side; both sides keep the order they had.
    """
    out = set()
    for label in sorted({picture.label for picture in pictures}):
        mine = [picture for picture in pictures if picture.label == label]
        ranked = sorted(mine, key=lambda picture: hashlib.sha256(Path(picture.name).stem.encode()).digest())
        count = min(max(1, round(fraction * len(mine))), len(mine) - 1)
        out.update(ranked[:count])
    return [picture for picture in pictures if picture not in out], [picture for picture in pictures if picture in out]


def decoded(
    pictures: list[Picture],
    cache: Path,
    image_shape: tuple[int, int, int],
    resize: int | None = None,
    camera: Camera | None = None,
) -> Domain:
    """The pictures as one array, behind a camera where one is given; decoded once, then kept in `cache`.

    The shorter side becomes `resize` (by default the height of `image_shape`), then the centre is cropped.
    """
    resize = resize or image_shape[1]
    labels = np.array([picture.label for picture in pictures], np.int64)
    stats = {path: path.stat() for path in {picture.path for picture in pictures}}
    key = hashlib.sha256(repr((image_shape, resize, camera)).encode())
    for picture in pictures:
        stat = stats[picture.path]
        key.update(repr((picture.name, picture.offset, picture.size, stat.st_size, stat.st_mtime_ns)).encode())
    path = cache / f"{key.hexdigest()[:24]}.npy"
    if not path.exists():
        _decode(pictures, path, image_shape, resize, camera)
    try:
        large = path.stat().st_size > _IN_MEMORY
        # Copy on write: torch warns of arrays that it cannot write to, and nobody writes to this one.
        return Domain(np.load(path, mmap_mode="c" if large else None), labels)
    except (OSError, ValueError, EOFError) as error:
        raise DabenchError(f"cannot read the decoded pictures {path}: {error}; delete that file") from error


def split(
    pictures: list[Picture],
    cache: Path,
    image_shape: tuple[int, int, int],
    protocol: Protocol,
    camera: Camera | None = None,
) -> tuple[Domain, Domain]:
    """Those to train on and those to score: 80 % and 20 % of each class, or twice all where transductive."""
    kept, out = held_out(pictures, 0.2)
    domain = decoded(kept + out, cache, image_shape, camera=camera)
    return (domain, domain) if protocol.transductive else (domain[: len(kept)], domain[len(kept) :])


def _decode(
    pictures: list[Picture], path: Path, image_shape: tuple[int, int, int], resize: int, camera: Camera | None
) -> None:
    """Writes the array beside its place, then moves it. Plain writes, so that a full disk is an OSError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            try:
                header = {"descr": "|u1", "fortran_order": False, "shape": (len(pictures), *image_shape)}
                np.lib.format.write_array_header_1_0(file, header)
                with ThreadPoolExecutor(os.cpu_count()) as threads:  # decoding releases the interpreter lock
                    for start in range(0, len(pictures), _DECODED_AT_ONCE):
                        some = pictures[start : start + _DECODED_AT_ONCE]
                        images = np.stack(list(threads.map(lambda one: one.decoded(image_shape, resize), some)))
                        file.write((camera.apply(images) if camera else images).tobytes())
                file.close()
                os.replace(file.name, path)
            finally:
                Path(file.name).unlink(missing_ok=True)
    except OSError as error:
        raise DabenchError(
            f"cannot keep decoded pictures in {path.parent}: {error}; free the disk or choose another cache"
        ) from error


HOLDOUT = Protocol(
    name="holdout",
    adapts_on="80 % of each target class, by a fixed hash of the file names",
    scores_on="the other 20 %",
)

TRANSDUCTIVE = Protocol(
    name="transductive",
    adapts_on="all target images, unlabelled",
    scores_on="the same images",
    transductive=True,
)
