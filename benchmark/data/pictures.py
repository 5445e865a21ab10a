"""Pictures in folders or archives: which there are, the split that a release lacks, and the cache of decoded ones.

Pictures are decoded once into a memory-mapped array, known by what the files hold. Splits are made by a hash of the
file names, so that they are the same everywhere.
"""

from __future__ import annotations

import hashlib
import os
import tokenize
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache as once
from importlib.metadata import version
from math import prod
from pathlib import Path

import numpy as np

from dabench.core import Camera, DabenchError, Domain, MissingData, Protocol
from dabench.data import decoding
from dabench.data.arrays import check_disk, check_memory
from dabench.data.contents import digests_of
from dabench.files import locked, named_errors, replacing


@dataclass(frozen=True)
class Picture:
    """An encoded picture and its class: a file, or `size` bytes from `offset` of an uncompressed archive."""

    name: str
    label: int
    path: Path
    offset: int = 0
    size: int = -1

    def decoded(self, image_shape: tuple[int, int, int], resize: int) -> np.ndarray:
        """The shorter side resized to `resize` (bicubic), then the centre cropped: uint8 `image_shape`.

        Raises DabenchError for a file that holds no such picture.
        """
        return self.decode(image_shape, resize).pixels

    def decode(self, image_shape: tuple[int, int, int], resize: int) -> decoding.Decoded:
        """The same, with what the decoder noticed."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                encoded = file.read(self.size)
            return decoding.decode(encoded, image_shape, resize)
        except (OSError, decoding.Undecodable) as error:
            inside = f" inside {printable(self.path)}" if self.size >= 0 else f" ({printable(self.path)})"
            reason = str(error)
            if reason.startswith("cannot identify"):  # pillow names an object of ours
                reason = "it is no picture of a kind that is known here" if encoded else "the file is empty"
            raise DabenchError(
                f"cannot decode {printable(self.name)}{inside}: {reason}; fetch it again or remove it"
            ) from error


_IN_MEMORY = 64_000_000  # bytes; larger arrays stay on disk

_DECODED_AT_ONCE = 128_000_000  # bytes of pixels

_TRAINED_AT_ONCE = 64  # images that a step may hold as float32


def printable(name: str | Path) -> str:
    """The name with bytes that are no UTF-8 written out, so that any screen and file can hold it."""
    return str(name).encode("utf-8", "backslashreplace").decode()


# Which pictures there are


@dataclass(frozen=True)
class Listing:
    """The pictures of a folder by class, and how many other files it holds, by the ending of their names."""

    pictures: tuple[Picture, ...]
    passed_over: Mapping[str, int]


def classes_in(folder: Path) -> tuple[str, ...]:
    """The names of the folders inside `folder`, sorted, in Unicode's composed form (NFC).

    Raises MissingData where there is no such folder, DabenchError where the names are no classes.
    """
    if not folder.is_dir():
        raise MissingData(f"{printable(folder)} is no folder; it must hold one folder of pictures a class")
    names = sorted(_class_folders(folder))
    if not names:
        raise DabenchError(f"{printable(folder)} has no class folders; put the pictures into {folder}/<class>/")
    return tuple(names)


def _class_folders(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for entry in sorted(folder.iterdir()):
        if not entry.is_dir() or _hidden(entry.name):
            continue
        if printable(entry.name) != entry.name:
            raise DabenchError(f"the class folder {printable(entry)} has a name that is not UTF-8; rename it")
        # The same letters come composed from Linux and Windows, decomposed from some Apple disks.
        name = unicodedata.normalize("NFC", entry.name)
        if name in found:
            raise DabenchError(f"{folder} has two folders named '{name}', written in different bytes; rename one")
        found[name] = entry
    return found


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def pictures_in(folder: Path, class_names: tuple[str, ...]) -> list[Picture]:
    """Every picture of `folder`/<class>/ and the folders in it, in a mixed order.

    That order is by a hash of the names: class by class, it would tell the labels, and a batch hold one class. Raises
    DabenchError for an empty class.
    """
    return list(listed(folder, class_names).pictures)


def unsorted_pictures_in(folder: Path) -> list[Picture]:
    """Every picture that lies in `folder` itself, labelled -1, in a mixed order; none where it has class folders."""
    if not folder.is_dir() or _class_folders(folder):
        return []
    known = decoding.suffixes()
    files = [entry for entry in folder.iterdir() if entry.is_file() and not _hidden(entry.name)]
    return mixed([Picture(file.name, -1, file) for file in sorted(files) if file.suffix.lower() in known])


def listed(folder: Path, class_names: tuple[str, ...]) -> Listing:
    """The pictures of `pictures_in`, and a count of what lies beside them and is left out.

    Hidden files and folders are not counted. Raises DabenchError for an empty class.
    """
    pictures: list[Picture] = []
    passed_over: Counter[str] = Counter()
    known = decoding.suffixes()
    folders = _class_folders(folder)
    for label, name in enumerate(class_names):
        count = len(pictures)
        for path in _files_below(folders.get(name, folder / name)):
            if not path.exists():
                passed_over["broken links"] += 1
            elif path.suffix.lower() in known:
                below = path.relative_to(folders[name]).as_posix()
                pictures.append(Picture(f"{name}/{below}", label, path))
            else:
                passed_over[path.suffix.lower() or "no ending"] += 1
        if len(pictures) == count:
            others = f"; of the {sum(passed_over.values())} files there none is a picture that can be read"
            raise DabenchError(
                f"class '{name}' has no pictures{others if passed_over else ''}: put some into {folder / name} "
                "or remove the folder"
            )
    beside = [entry for entry in folder.iterdir() if entry.is_file() and not _hidden(entry.name)]
    passed_over.update("in no class folder" for path in beside if path.suffix.lower() in known)
    return Listing(tuple(mixed(pictures)), dict(sorted(passed_over.items())))


def _files_below(folder: Path) -> Iterator[Path]:
    """Every file in the folder and those in it, sorted; links are followed, also where they lead nowhere.

    Each folder is entered once.
    """
    entered = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        if not here.is_dir() or (real := here.resolve()) in entered:
            continue
        entered.add(real)
        entries = sorted(entry for entry in here.iterdir() if not _hidden(entry.name))
        yield from (entry for entry in entries if entry.is_file() or not entry.exists())
        waiting += [entry for entry in reversed(entries) if entry.is_dir()]


def left_out(folder: Path, class_names: tuple[str, ...]) -> str:
    """In words, how many files of the folder are no pictures that can be read; empty where all are."""
    passed_over = listed(folder, class_names).passed_over
    if not passed_over:
        return ""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in passed_over.items())
    heic = "; .heic needs pip install pillow-heif" if {".heic", ".heif"} & passed_over.keys() else ""
    return f"{printable(folder)}: {sum(passed_over.values()):,} files are left out ({printable(kinds)}){heic}"


# The split that a release lacks


def _hash(name: str) -> bytes:
    composed = unicodedata.normalize("NFC", Path(name).with_suffix("").as_posix())
    return hashlib.sha256(composed.encode("utf-8", "surrogateescape")).digest()


def mixed(pictures: list[Picture]) -> list[Picture]:
    """The pictures in the order of a hash of their names: in that of their classes it would tell the labels."""
    return sorted(pictures, key=lambda picture: _hash(picture.name))


def _rank(picture: Picture) -> bytes:
    """By the name below the class alone."""
    return _hash(picture.name.partition("/")[2] or picture.name)


def held_out(pictures: list[Picture], fraction: float) -> tuple[list[Picture], list[Picture]]:
    """Splits each class by a fixed hash of the file names: those to keep, then `fraction` of them held out.

    A class of two pictures or more leaves at least one on either side; both sides keep the order they had.
    """
    out = set()
    for label in sorted({picture.label for picture in pictures}):
        ranked = sorted((picture for picture in pictures if picture.label == label), key=_rank)
        count = min(max(1, round(fraction * len(ranked))), len(ranked) - 1)
        out.update(ranked[:count])
    return [picture for picture in pictures if picture not in out], [picture for picture in pictures if picture in out]


def split(
    pictures: list[Picture],
    cache: Path,
    image_shape: tuple[int, int, int],
    protocol: Protocol,
    camera: Camera | None = None,
    resize: int | None = None,
) -> tuple[Domain, Domain]:
    """Those to train on and those to score: 80 % and 20 % of each class, or twice all where transductive."""
    kept, out = held_out(pictures, 0.2)
    domain = decoded(kept + out, cache, image_shape, resize, camera)
    return (domain, domain) if protocol.transductive else (domain[: len(kept)], domain[len(kept) :])


# Decoded once


def decoded(
    pictures: list[Picture],
    cache: Path,
    image_shape: tuple[int, int, int],
    resize: int | None = None,
    camera: Camera | None = None,
) -> Domain:
    """The pictures as one array, behind a camera where one is given; decoded once, then kept in `cache`.

    The shorter side becomes `resize` (by default the height of `image_shape`), then the centre is cropped. What is
    kept is known by the contents of the files, in their order. Raises DabenchError for pictures that cannot be
    decoded, or that memory or disk cannot hold.
    """
    resize = resize or image_shape[1]
    labels = np.array([picture.label for picture in pictures], np.int64)
    contents = digests_of((picture.path for picture in pictures), cache)
    key = hashlib.sha256(repr((image_shape, resize, camera, _decoder())).encode())
    for picture in pictures:
        key.update(repr((contents[picture.path], picture.offset, picture.size)).encode())
    path = cache / f"{key.hexdigest()[:24]}.npy"
    if not path.exists():
        with named_errors(path, "--cache"), locked(path):
            if not path.exists():  # another process may have been at it
                _decode(pictures, path, image_shape, resize, camera)
    try:
        large = path.stat().st_size > _IN_MEMORY
        # Copy on write: torch warns of arrays that it cannot write to, and nobody writes to this one.
        return Domain(np.load(path, mmap_mode="c" if large else None), labels)
    except (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError) as error:
        raise DabenchError(f"cannot read the decoded pictures {path}: {error}; delete that file") from error


@once
def _decoder() -> str:
    """What could decode the same bytes differently: the code here, pillow, and the code of the cameras."""
    files = (
        Path(decoding.__file__),
        *(Path(__file__).with_name(f"{name}.py") for name in ("cameras", "corruptions", "effects")),
    )
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest() + version("pillow")


def _decode(
    pictures: list[Picture], path: Path, image_shape: tuple[int, int, int], resize: int, camera: Camera | None
) -> None:
    """Writes the array; it appears whole or not at all. Plain writes, so that a full disk is an OSError."""
    what = f"images of {image_shape[1]}x{image_shape[2]} pixels"
    check_memory(4 * _TRAINED_AT_ONCE * prod(image_shape), f"a batch of {what}")
    check_disk(len(pictures) * prod(image_shape), path.parent, f"{len(pictures):,} {what}")
    at_once = max(1, min(256, _DECODED_AT_ONCE // prod(image_shape)))
    several: list[str] = []
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(pictures), *image_shape)}
        np.lib.format.write_array_header_1_0(file, header)
        # Decoding releases the interpreter lock. What pillow warns of is odd metadata, not pixels.
        with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as threads:
            warnings.filterwarnings("ignore", module="PIL")
            for start in range(0, len(pictures), at_once):
                some = pictures[start : start + at_once]
                ready = list(threads.map(lambda one: one.decode(image_shape, resize), some))
                images = np.stack([one.pixels for one in ready])
                several += [picture.name for picture, one in zip(some, ready, strict=True) if one.several_frames]
                file.write((camera.apply(images) if camera else images).tobytes())
    if several:
        warnings.warn(
            f"of {len(several):,} pictures with several frames (such as {printable(several[0])}) the first is used",
            stacklevel=2,
        )


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
