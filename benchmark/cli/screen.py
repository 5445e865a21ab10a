"""Where the command line prints: one console for answers, one for errors, and tables that programs can read too."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

out = Console(highlight=False, soft_wrap=True)
err = Console(highlight=False, soft_wrap=True, stderr=True)


def say(text: str) -> None:
    """Prints a line of an answer; its brackets are text, not markup."""
    out.print(text, markup=False)


def warn(text: str) -> None:
    """Prints a line beside the answer, on stderr."""
    err.print(text, markup=False)


@contextmanager
def warnings_in_a_line() -> Iterator[None]:
    """Inside, what dabench warns of is a line on stderr; a library's warnings look as they always do."""
    package = str(Path(__file__).parent.parent)
    with warnings.catch_warnings():
        as_always = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if filename.startswith(package):
                warn(f"warning: {message}")
            else:
                as_always(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Prints a table; one that a program reads is not folded to the width of a screen."""
    shown = Table(*header, box=None, pad_edge=False, header_style="bold")
    for line in lines:
        shown.add_row(*(Text(cell) for cell in line))
    Console(highlight=False, width=None if out.is_terminal else 400).print(shown)


def set_aside(results: Path) -> None:
    """Names the result files that could not be read."""
    from dabench.results import store

    for path in store.corrupt(results):
        warn(f"warning: {path} could not be read and was set aside; its cells run again")
