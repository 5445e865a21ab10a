"""What becomes of a failure in somebody's method: a reason in one line."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from dabench.core import DabenchError

Answer = TypeVar("Answer")

_LONGEST = 1000  # characters of a reason


def caught(call: Callable[[], Answer], kinds: tuple[type[BaseException], ...] = (Exception,)) -> Answer | BaseException:
    """What a call into somebody's method answers or raises: the one place where a failure is not the end."""
    try:
        return call()
    except kinds as error:
        return error


def reason(error: BaseException, method: Path) -> str:
    """The error in a line, with the place in the method's file where it was not the harness that noticed.

    Its text may be anybody's: what no file or screen can hold is written out, and the middle of a long one left out.
    """
    text = printable(_said(error, method))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"


def printable(text: str) -> str:
    """The text with control characters and halves of characters as escapes; its line breaks stay."""
    return "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text)


def _said(error: BaseException, method: Path) -> str:
    if isinstance(error, DabenchError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    here = next((frame for frame in reversed(frames) if frame.filename == str(method)), frames[-1])
    message = str(error).partition("\n")[0] or "no message"
    if isinstance(error, SystemExit):
        message = f"the method tried to end the program ({error.code}); raise an error or return the model"
    return f"{type(error).__name__}: {message} ({Path(here.filename).name}, line {here.lineno})"
