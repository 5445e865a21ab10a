"""Files that appear whole or not at all, whatever stops the program while it writes them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from dabench.core import DabenchError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Inside, no other process is in `locked` of the same path; its folder is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f"{path.name}.lock")):
        yield


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place for the new content of `path`, which takes the old one's place at the end, where nothing was raised.

    For who holds the lock of `path`: the place has one name, so that the next writer finds what a killed one left, and
    writes over it.
    """
    unfinished = path.with_name(f"{path.name}.part")
    try:
        yield unfinished
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | str, option: str) -> None:
    """Writes a page or a figure, whole or not at all, unless it is there already.

    Raises DabenchError as in `named_errors`.
    """
    written = content.encode() if isinstance(content, str) else content
    with named_errors(path, option):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.stat().st_size == len(written) and path.read_bytes() == written:
            return
        with replacing(path) as unfinished:
            unfinished.write_bytes(written)


@contextmanager
def named_errors(path: Path, option: str) -> Iterator[None]:
    """Turns what the system says of a write into a DabenchError that names the path and the remedy.

    `option` is the one that chooses another folder, such as --cache.
    """
    try:
        yield
    except OSError as error:
        # What numpy says, without a number, where the disk took the first part of an array alone.
        full = error.errno in (errno.ENOSPC, errno.EDQUOT) or " requested and " in str(error)
        remedy = "free some space" if full else f"choose another place with {option}"
        raise DabenchError(f"cannot write {path}: {error.strerror or error}; {remedy}") from error
