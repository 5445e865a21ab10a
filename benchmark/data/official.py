"""What an official data set is: its facts, the files it needs under the data root, and how to fetch them."""

from __future__ import annotations

import faulthandler
import os
import pickle
import struct
import tarfile
import tokenize
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from dabench.core import DabenchError, Domain, MissingData

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One data set's facts, the files it needs under the data root, and how to fetch them.

    `files(root)` lists the files and raises MissingData with a remedy; `download(root)` is None where the
    licence asks everyone to fetch it for themselves. `size` is the download's.
    """

    name: str
    licence: str
    citation: str
    homepage: str
    files: Callable[[Path], list[Path]]
    size: str = ""
    download: Callable[[Path], None] | None = None


def existing(name: str, paths: list[Path]) -> list[Path]:
    for path in paths:
        if not path.is_file():
            raise MissingData(f"{name}: {path} is missing; `dabench data download {name}` fetches it")
    return paths


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what a reader raises on a truncated or corrupt file into one clear error."""
    try:
        yield
    except (  # scipy's own reader stumbles over a name that it never set
        *(OSError, EOFError, AssertionError, AttributeError, RuntimeError, ValueError, TypeError, LookupError),
        *(ArithmeticError, MemoryError, NameError, struct.error, zlib.error, tarfile.TarError, pickle.UnpicklingError),
        *(SyntaxError, tokenize.TokenError),  # numpy reads the head of a .npy file as Python
        SystemError,  # and forgets to say what is wrong with a pickled kind of number
    ) as error:
        remedy = "the file is truncated or corrupt; delete it and fetch it again"
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DabenchError(f"cannot read {path}: {reason}; {remedy}") from error


def matlab(file: Path | BinaryIO) -> dict[str, Any]:
    """The variables of a .mat file; raises ValueError for one that scipy does not read."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    def read() -> dict[str, Any]:
        try:
            variables: dict[str, Any] = loadmat(file, squeeze_me=not isinstance(file, Path))
        except MatReadError as error:
            raise ValueError(str(error)) from None
        return variables

    return apart(read)


def apart(read: Callable[[], Result]) -> Result:
    """What `read` returns or raises in a copy of this process, which a damaged file may crash: then ValueError.

    For a reader in C that does not check what it is told. Where the system cannot fork, it is called here.
    """
    if not hasattr(os, "fork"):
        return read()
    here, there = os.pipe()
    copy = os.fork()
    if copy == 0:
        faulthandler.disable()  # the crash is told in a sentence
        try:
            with os.fdopen(there, "wb") as pipe:
                pickle.dump(_outcome(read), pipe, protocol=pickle.HIGHEST_PROTOCOL)
        finally:
            os._exit(0)  # neither the caller's clean-up nor its buffers are the copy's
    os.close(there)
    with os.fdopen(here, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(copy, 0)
    if status or not said:
        raise ValueError("its contents crash the program that reads it")
    returned, raised = pickle.loads(said)
    if raised is not None:
        raise raised
    return returned  # type: ignore[no-any-return]


def _outcome(read: Callable[[], Any]) -> tuple[Any, Exception | None]:
    try:
        return read(), None
    except Exception as error:
        return None, error


def labelled(images: Any, labels: Any, num_classes: int) -> Domain:
    """The arrays as a domain; raises ValueError unless they are uint8 (n, channels, height, width) and labels (n,)."""
    images, labels = np.asarray(images), np.asarray(labels)
    if images.dtype != np.uint8 or images.ndim != 4 or images.size == 0:
        raise ValueError(f"it holds {images.dtype} {images.shape}, not images of 8 bits")
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(f"it holds {len(images)} images and labels of {labels.dtype} {labels.shape}")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"its labels go from {labels.min()} to {labels.max()}, not from 0 to {num_classes - 1}")
    return Domain(np.ascontiguousarray(images), labels.astype(np.int64))


def names_in(text: str) -> tuple[str, ...]:
    """The names that a text holds, with white space between them."""
    return tuple(text.split())
