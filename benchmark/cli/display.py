"""What a person sees of a sweep: the live screen, plain lines where there is no terminal, the table at the end."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

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
from rich.table import Table
from rich.text import Text

from dabench.run import sweep

Listener = Callable[[sweep.Progress | sweep.Finished], None]
SUMMARY_COLUMNS = ("key", "task", "variant", "labels", "status", "accuracy", "accuracy_before")

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


def summary(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Accuracy over seeds of each method on each task, in percent, and the gain over the source model in points.

    `rows` hold SUMMARY_COLUMNS; only those whose status is ok count.
    """
    groups: dict[tuple[str, str, int], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["status"] == "ok" and row["accuracy"] is not None:
            groups.setdefault((row["task"], row["variant"], row["labels"]), []).append(row)
    budgets = {labels for _, _, labels in groups} - {0, -1}
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("task")
    table.add_column("method")
    if budgets:
        table.add_column("labels", justify="right")
    for name in ("accuracy", "± sd", "gain", "seeds"):
        table.add_column(name, justify="right")
    before = None
    for (task, variant, labels), found in groups.items():
        accuracies = [100 * row["accuracy"] for row in found]
        gain = statistics.mean(100 * (row["accuracy"] - row["accuracy_before"]) for row in found)
        spread = f"{statistics.stdev(accuracies):.1f}" if len(found) > 1 else "-"
        # A variant's brackets are not markup.
        cells: list[str | Text] = [task if task != before else "", Text(variant)]
        if budgets:
            cells.append({-1: "all", 0: "-"}.get(labels, str(labels)))
        cells += [f"{statistics.mean(accuracies):.1f}", spread, f"{gain:+.1f}", str(len(found))]
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))
        before = task
    return table
