"""Tasks that need no download: digits from installed packages, and coloured shapes made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dabench.core import Camera, DabenchError, Domain, Domains, Protocol, Recipe, Task
from dabench.data import seen_by
from dabench.data.cameras import Power, Rotated

HOLDOUT = Protocol(
    name="holdout",
    adapts_on="the target's training images",
    scores_on="the target's held-out images",
)

# Fonts whose digits are missing, are other symbols or hang below the line.
_NO_DIGITS = ("LastResort", "STIXNonUni", "STIXSiz", "Display", "cmex", "cmmi", "cmsy")


def optdigits() -> tuple[Domain, Domain]:
    """Real handwritten digits, 8x8 enlarged to 28x28: 1,400 to train on and 397 held out."""
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    stored = load_digits()
    large = zoom(stored.images * (255 / 16), (1, 2.5, 2.5), order=3, grid_mode=True, mode="nearest").clip(0, 255)
    images = np.pad(large.round().astype(np.uint8), ((0, 0), (4, 4), (4, 4)))[:, None]
    order = np.random.default_rng(0).permutation(len(images))
    digits = Domain(images[order], stored.target[order].astype(np.int64))
    return digits[:1400], digits[1400:]


def fonts() -> tuple[Domain, Domain]:
    """Printed digits, (n, 1, 28, 28), in the fonts shipped with matplotlib, a little turned and shifted."""
    generator = np.random.default_rng(0)
    return _printed(generator, 3000), _printed(generator, 1000)


def _printed(generator: np.random.Generator, count: int) -> Domain:
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    paths = sorted(path for path in folder.glob("*.ttf") if not any(part in path.name for part in _NO_DIGITS))
    if not paths:
        raise DabenchError(f"no fonts in {folder}; reinstall matplotlib")
    faces = [ImageFont.truetype(str(path), size) for path in paths for size in (46, 52, 58)]
    images = np.empty((count, 1, 28, 28), np.uint8)
    labels = generator.integers(10, size=count)
    for image, label in zip(images, labels, strict=True):
        page = Image.new("L", (56, 56))  # twice the size, so that the small picture is smooth
        face = faces[generator.integers(len(faces))]
        ImageDraw.Draw(page).text((28, 28), str(label), fill=255, font=face, anchor="mm")
        turned = page.rotate(
            generator.uniform(-12, 12),
            resample=Image.Resampling.BILINEAR,
            translate=tuple(generator.integers(-4, 5, size=2).tolist()),
        )
        image[0] = np.asarray(turned.resize((28, 28), Image.Resampling.BOX))
    return Domain(images, labels)


# Each class is a shape of some hue, in degrees; where two share the shape, the colour alone tells them apart.
_SHAPE_CLASSES = {
    "red disc": ("disc", 0),
    "yellow disc": ("disc", 60),
    "yellow square": ("square", 60),
    "cyan square": ("square", 180),
    "blue triangle": ("triangle", 240),
    "red triangle": ("triangle", 360),
    "ring": ("ring", None),
    "cross": ("cross", None),
    "bar": ("bar", None),
    "checker": ("checker", None),
}


def shapes() -> tuple[Domain, Domain]:
    """Synthetic: a coloured shape on a mottled ground, (n, 3, 32, 32); 3,000 to train on, 1,000 held out."""
    generator = np.random.default_rng(0)
    return _drawn_shapes(generator, 3000), _drawn_shapes(generator, 1000)


def _drawn_shapes(generator: np.random.Generator, count: int) -> Domain:
    def uniform(low: float, high: float) -> np.ndarray:
        return generator.uniform(low, high, size=(count, 1, 1))

    labels = generator.integers(len(_SHAPE_CLASSES), size=count)
    names, hues = zip(*_SHAPE_CLASSES.values(), strict=True)
    masks = _masks(uniform(12, 20), uniform(12, 20), uniform(7, 10), uniform(-0.4, 0.4))
    covered = np.choose(labels[:, None, None], [masks[name] for name in names])
    any_hue = np.array([hue is None for hue in hues])[labels]
    near_hue = np.array([hue or 0 for hue in hues])[labels] + generator.normal(0, 15, count)
    hue = np.where(any_hue, generator.uniform(0, 360, count), near_hue)
    paint = _rgb(hue[:, None, None], uniform(0.5, 1), uniform(0.6, 1))
    ground = _rgb(uniform(0, 360), uniform(0, 0.45), uniform(0.1, 0.6))
    mottle = generator.normal(0, 0.06, (count, 1, 8, 8)).repeat(4, axis=2).repeat(4, axis=3)
    noise = generator.normal(0, 0.06, (count, 3, 32, 32))
    scenes = np.where(covered[:, None], paint, ground + mottle) + noise
    return Domain((scenes.clip(0, 1) * 255).round().astype(np.uint8), labels)


def _masks(x: np.ndarray, y: np.ndarray, radius: np.ndarray, angle: np.ndarray) -> dict[str, np.ndarray]:
    """Which pixels each shape covers, (n, 32, 32), at places, sizes and angles (n, 1, 1)."""
    rows, columns = np.mgrid[:32, :32].astype(np.float32)
    right, down = columns - x, rows - y
    u = (right * np.cos(angle) + down * np.sin(angle)) / radius
    v = (down * np.cos(angle) - right * np.sin(angle)) / radius
    distance, inner, outer = np.hypot(u, v), np.minimum(abs(u), abs(v)), np.maximum(abs(u), abs(v))
    return {
        "disc": distance < 0.9,
        "square": outer < 0.8,
        "triangle": (v < 0.7) & (1.8 * abs(u) < v + 0.9),
        "ring": (distance < 1) & (distance > 0.5),
        "cross": (inner < 0.28) & (outer < 1),
        "bar": (abs(u) < 0.3) & (abs(v) < 1),
        "checker": (outer < 0.9) & (u * v > 0),
    }


def _rgb(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """HSV (hue in degrees) to RGB, both in [0, 1]: three (n, 1, 1) arrays to (n, 3, 1, 1)."""
    phase = (np.array([5, 3, 1])[:, None, None] + hue[:, None] / 60) % 6
    return np.asarray(value[:, None] * (1 - saturation[:, None] * np.minimum(phase, 4 - phase).clip(0, 1)))


_DIGITS = {"optdigits": optdigits, "fonts": fonts}


def load_digits(task: Task, root: Path, cache: Path, protocol: Protocol) -> Domains:
    source_train, source_test = _DIGITS[task.source]()
    target_train, target_test = _DIGITS[task.target]()
    return Domains(source_train, source_test, target_train, target_test)


def load_shapes(task: Task, root: Path, cache: Path, protocol: Protocol) -> Domains:
    train, test = shapes()
    return Domains(train, test, seen_by(task.camera, train), seen_by(task.camera, test))


def _digits_task(source: str, target: str) -> Task:
    return Task(
        name=f"{source}-{target}",
        family="quick",
        source=source,
        target=target,
        class_names=tuple("0123456789"),
        image_shape=(1, 28, 28),
        backbone="lenet_bn",
        recipe=Recipe(source_steps=200, steps=200),
        protocols=(HOLDOUT,),
        load=load_digits,
        licence="optdigits: CC BY 4.0; fonts: the free licences they ship with in matplotlib",
        citation="Alpaydin and Kaynak, Optical recognition of handwritten digits, UCI repository 1998",
        note="optdigits: 1,797 real 8x8 digits from scikit-learn, enlarged; fonts: printed by dabench",
    )


def _shapes_task(shift: str, camera: Camera) -> Task:
    return Task(
        name=f"shapes-{shift}",
        family="quick",
        source="shapes",
        target=shift,
        class_names=tuple(_SHAPE_CLASSES),
        image_shape=(3, 32, 32),
        backbone="resnet8",
        recipe=Recipe(source_steps=200, steps=100, batch_size=48),
        protocols=(HOLDOUT,),
        load=load_shapes,
        camera=camera,
        licence="made by dabench, public domain",
        citation="Synthetic shapes of dabench; cameras as in the AdapterNet benchmark",
        note="synthetic pictures: coloured shapes, three of which come in two colours",
    )


TASKS = (
    _digits_task("fonts", "optdigits"),
    _digits_task("optdigits", "fonts"),
    _shapes_task("rotated", Rotated()),
    _shapes_task("power", Power()),
)
