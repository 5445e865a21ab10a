"""How the pages write tables, numbers, counts and names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

NONE = "-"


def table(header: Sequence[str], lines: Sequence[Sequence[str]], align: Sequence[str]) -> str:
    """A Markdown table without padding; `align` is `left` or `right` for each column."""
    rule = ["-:" if side == "right" else "-" for side in align]
    escaped = ([str(text).replace("|", "\\|") for text in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in ([*header], rule, *escaped))


def bullets(notes: Sequence[str]) -> str:
    """A list of notes after a table; nothing for none."""
    return "\n" + "\n".join(f"- {note}" for note in notes) + "\n" if notes else ""


def plain(text: str) -> str:
    """Text on one line that Markdown cannot take for a tag."""
    return " ".join(str(text).split()).replace("<", "&lt;")


def count(number: int, thing: str) -> str:
    """The number and the thing, in the plural where it is not one."""
    return f"{number} {thing}" + "s" * (number != 1)


def names(some: Iterable[object]) -> str:
    """The names with commas between."""
    return ", ".join(str(name) for name in some)


def number(value: float, digits: int, thousands: str = "") -> str:
    """A number with so many decimals; a dash for nan."""
    return NONE if np.isnan(value) else f"{value:{thousands}.{digits}f}"


def percent(fraction: float, digits: int, unit: str = "") -> str:
    """A fraction in percent; nothing for nan."""
    return "" if np.isnan(fraction) else f"{100 * fraction:.{digits}f}{unit}"


def spread(mean: float, half: float) -> str:
    """A fraction in percent with half of its interval, where there is one."""
    return f"{100 * mean:.1f}" + ("" if np.isnan(half) else f" ± {100 * half:.1f}")


def gain(mean: float, half: float) -> str:
    """A gain in points, its sign with it, and half of its interval, where there is one; a dash for nan."""
    if np.isnan(mean):
        return NONE
    return f"{100 * mean:+.1f}" + ("" if np.isnan(half) else f" ± {100 * half:.1f}")


def bounded(value: float, low: float, high: float, digits: int, sign: str = "") -> str:
    """A number with its interval in brackets, where there is one; a dash for nan."""
    if np.isnan(value):
        return NONE
    bounds = "" if np.isnan(low) else f" [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"
    return f"{value:{sign}.{digits}f}{bounds}"


def seconds(value: float) -> str:
    """A time in seconds or minutes; a dash for nan."""
    return NONE if np.isnan(value) else f"{value:.1f} s" if value < 100 else f"{value / 60:.1f} min"


def change(before: float, after: float, scale: float, digits: int) -> str:
    """Two numbers with an arrow between; nothing where neither is known."""
    if np.isnan(before) and np.isnan(after):
        return ""
    return f"{number(scale * before, digits)} → {number(scale * after, digits)}"


def natural(name: str) -> list[str | float]:
    """A name's parts by which 30 comes before 120."""
    return [float(part) if at % 2 else part for at, part in enumerate(re.split(r"(\d+(?:\.\d+)?)", name))]


def in_order(some: Iterable[str]) -> list[str]:
    """The names once each, in natural order."""
    return sorted(set(some), key=natural)
