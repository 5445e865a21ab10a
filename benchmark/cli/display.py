"""What a person sees of a sweep: the live screen, or plain lines where there is no terminal."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from dabench.results.sweeps import QUEUED
from dabench.run import sweep

Listener = Callable[[sweep.Progress | sweep.Finished], None]

_COLOURS = {"ok": "green", "failed": "red", "refused": "yellow", "missing": "yellow"}
_QUIET = 60  # seconds after which a log without a finished cell hears what is going on


@contextmanager
def watching(cells: int, console: Console) -> Iterator[Listener]:
    """Gives the function that shows each word of the runner: a live screen, or lines where it is not a terminal."""
    if console.is_terminal:
        with _live(cells, console) as listen:
            yield listen
    else:
        yield _plain(cells, console)


def finished_line(finished: sweep.Finished) -> Text:
    """One line for a cell that ended: name, accuracy and gain over the source model in points, or the reason."""
    row = finished.row
    status = row["status"] if row else "missing"
    line = Text(f"{finished.planned.label:<44} ")
    if not row or status != "ok":
        return line.append(f"{status}: {finished.reason}", style=_COLOURS[status])
    if row["accuracy"] is None:
        return line.append("not scored: the target has no labels")
    gain = 100 * (row["accuracy"] - row["accuracy_before"])
    line.append(f"{100 * row['accuracy']:5.1f} %  ")
    line.append(f"{gain:+5.1f}", style="green" if gain > 0 else "red" if gain < 0 else "")
    return line.append(f"  {row['seconds']:6.1f} s", style="dim")


def _plain(cells: int, console: Console) -> Listener:
    ended, spoken = 0, time.monotonic()

    def listen(word: sweep.Progress | sweep.Finished) -> None:
        nonlocal ended, spoken
        if isinstance(word, sweep.Finished):
            ended += 1
            text = f"[{ended}/{cells}] {finished_line(word).plain}"
        elif time.monotonic() - spoken > _QUIET:
            share = f"{word.stage} {word.step}/{word.steps}"
            text = f"        {word.planned.label}: {share}, loss {_number(word.loss)}, {_rate(word)}"
        else:
            return
        spoken = time.monotonic()
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    return listen


@contextmanager
def _live(cells: int, console: Console) -> Iterator[Listener]:
    overall = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )
    current = Progress(
        TextColumn("  {task.description}", markup=False),
        TextColumn("{task.fields[stage]}", style="dim"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[measured]}", style="dim"),
        console=console,
    )
    whole = overall.add_task("cells", total=cells)
    bars: dict[str, TaskID] = {}

    def listen(word: sweep.Progress | sweep.Finished) -> None:
        key = word.planned.key
        if isinstance(word, sweep.Finished):
            if key in bars:
                current.remove_task(bars.pop(key))
            overall.advance(whole)
            live.console.print(finished_line(word), highlight=False)
            return
        if key not in bars:
            if word.stage == QUEUED:  # a queue may hold thousands
                return
            bars[key] = current.add_task(word.planned.label, stage="", measured="")
        measured = f"loss {_number(word.loss)}  {_rate(word)}"
        current.update(bars[key], stage=word.stage, completed=word.step, total=word.steps, measured=measured)

    with Live(Group(current, overall), console=console, refresh_per_second=5) as live:
        yield listen


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _rate(word: sweep.Progress) -> str:
    return f"{word.steps_per_second:.0f} steps/s" if word.steps_per_second else ""


def duration(seconds: float) -> str:
    """Seconds as hours, minutes and seconds, for people."""
    return str(timedelta(seconds=round(seconds)))
