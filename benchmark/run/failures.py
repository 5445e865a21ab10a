"""What becomes of a failure in somebody's method: a reason in one line."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from dabench.core import DabenchError

Answer = TypeVar("Answer")


def caught(call: Callable[[], Answer], kinds: tuple[type[BaseException], ...] = (Exception,)) -> Answer | BaseException:
    """What a call into somebody's method answers or raises: the one place where a failure is not the end."""
    try:
        return call()
    except kinds as error:
        return error


def reason(error: BaseException, method: Path) -> str:
    """The error in a line, with the place in the method's file where it was not the harness that noticed."""
    if isinstance(error, DabenchError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    here = next((frame for frame in reversed(frames) if frame.filename == str(method)), frames[-1])
    message = str(error).partition("\n")[0] or "no message"
    if isinstance(error, SystemExit):
        message = f"the method tried to end the program ({error.code}); raise an error or return the model"
    return f"{type(error).__name__}: {message} ({Path(here.filename).name}, line {here.lineno})"
