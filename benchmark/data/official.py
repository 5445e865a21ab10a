"""What an official data set is: its facts, the files it needs under the data root, and how to fetch them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dabench.core import DabenchError, MissingData


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
    except (
        OSError,
        AssertionError,
        RuntimeError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        EOFError,
    ) as error:
        remedy = "the file is truncated or corrupt; delete it and fetch it again"
        raise DabenchError(f"cannot read {path}: {error or type(error).__name__}; {remedy}") from error


def names_in(text: str) -> tuple[str, ...]:
    """The names that a text holds, with white space between them."""
    return tuple(text.split())
