"""LaTeX tables, one a comparison group."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from dabench.evaluation.leaderboard import Leaderboard
from dabench.evaluation.tables import GROUP
from dabench.report import wording
from dabench.report.groups import group_name, in_order, order


def tables(board: Leaderboard) -> str:
    """A booktabs table for each comparison group: mean and interval, bold what nothing tells from the best.

    A document that includes it needs \\usepackage{booktabs}.
    """
    entries = {group: inside for group, inside in board.entries.groupby(GROUP)}
    parts = []
    for values, _ in in_order(board.rows):
        group = dict(zip(GROUP, values, strict=True))
        if values in entries:
            parts.append(_table(f"{group['family']}, {group_name(group)}", entries[values]))
    return "\n".join(parts)


def _table(caption: str, cells: pd.DataFrame) -> str:
    tasks = wording.in_order(cells["task"])
    by_place = {(cell.task, cell.setting, cell.variant): _accuracy(cell) for cell in cells.itertuples()}
    lines, shown = [], None
    for setting, variant in order(cells):
        if shown not in (None, setting):
            lines.append(r"\midrule")
        numbers = [by_place.get((task, setting, variant), "--") for task in tasks]
        name = "" if setting == shown else setting
        lines.append(" & ".join([_text(name), _text(variant), *numbers]) + r" \\")
        shown = setting
    head = " & ".join(["setting", "method", *map(_text, tasks)]) + r" \\"
    frame = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_text(caption)}. Mean and 95\,\% interval over seeds, in percent.}}",
        rf"\begin{{tabular}}{{ll{'r' * len(tasks)}}}",
        *(r"\toprule", head, r"\midrule", *lines, r"\bottomrule"),
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(frame) + "\n"


def _accuracy(cell: Any) -> str:
    number = f"{100 * cell.mean:.1f}" + ("" if np.isnan(cell.ci) else rf" \pm {100 * cell.ci:.1f}")
    number = rf"\mathbf{{{number}}}" if cell.best else number
    return f"${number}$"


def _text(text: str) -> str:
    """Text with LaTeX's special characters escaped; Markdown's code marks are dropped."""
    special = {character: f"\\{character}" for character in "&%$#_{}"}
    special |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": ""}
    return "".join(special.get(character, character) for character in text).replace("·", r"$\cdot$")
