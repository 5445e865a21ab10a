"""Ctrl-C and SIGTERM in a sweep are heard between two steps, so that none is left half done.

Python raises KeyboardInterrupt at whatever line runs. While a process is being started, that leaves a child without
its orders, which complains in a traceback, or one that nobody knows of; in a finaliser it is swallowed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


@dataclass
class Held:
    """Signals that wait until they are heard, and what they then do."""

    handlers: dict[int, Handler] = field(default_factory=dict)
    waiting: tuple[int, FrameType | None] | None = None
    hearing: bool = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Keeps the signal; one that comes while another waits is heard at once, from a person who insists."""
        if self.hearing or self.waiting:
            self.handlers[number](number, frame)
        else:
            self.waiting = number, frame

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Inside, a signal does at once what it does, as does the one that waits."""
        self.hearing = True
        try:
            self._deliver()
            yield
        finally:
            self.hearing = False

    def _deliver(self) -> None:
        if self.waiting:
            (number, frame), self.waiting = self.waiting, None
            self.handlers[number](number, frame)


@contextmanager
def held() -> Iterator[Held]:
    """Inside, Ctrl-C and SIGTERM wait until `heard` or the end; in the main thread, which alone hears them."""
    signals = Held()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        if callable(handler):  # neither ignored nor deadly
            signals.handlers[number] = handler
            signal.signal(number, signals)
    try:
        yield signals
    finally:
        for caught, before in signals.handlers.items():
            signal.signal(caught, before)
        signals._deliver()


@contextmanager
def by_sigterm() -> Iterator[None]:
    """Inside, SIGTERM raises KeyboardInterrupt as Ctrl-C does, so that children are stopped on the way out."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def unheard_by_children() -> Iterator[None]:
    """Inside, a process starts deaf to Ctrl-C, which a terminal sends to all: it is this one's to answer."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
