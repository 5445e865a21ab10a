"""Every file of a report, by its path: leaderboard.md, a page for each task, the pages on choosing, the figure."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dabench import registry
from dabench.evaluation.answers import of_suite
from dabench.evaluation.leaderboard import Leaderboard
from dabench.report import figure, markdown, plots, suite, task_page, tuning, validators
from dabench.report.markdown import Beside
from dabench.results.provenance import Age
from dabench.results.searches import Study

GAPS = "gap-closed.svg"
_README = ("<!-- written by dabench report: which method -->\n", "<!-- end -->\n")


def files(
    board: Leaderboard, results: Path, output: Path, folder: Path, *, age: Age, studies: Sequence[Study] = ()
) -> dict[Path, str]:
    """What `dabench report` writes: `output`, and under `folder` the pages that it links to.

    The verdicts on papers and the curves that stand in `results` are linked to. A README.md beside `output` with the
    marks of `summarised` gets its table.
    """
    papers = {link(file, output.parent): file.read_text() for file in sorted((results / "reproductions").glob("*.md"))}
    beside = Beside(registry.references(), registry.known_tasks(), age, link(folder, output.parent), papers)
    curves = {file.stem: link(file, folder / "task") for file in sorted((results / "curves").glob("*.svg"))}
    made = {output: markdown.leaderboard(board, beside)}
    readme = output.with_name("README.md")
    if readme.is_file() and (text := summarised(readme.read_text(), board)):
        made[readme] = text
    pages = task_page.pages(board, beside.references, age=age, tasks=beside.tasks, curves=curves)
    made |= {folder / name / "README.md": text for name, text in pages.items()}
    made[folder / "validators.md"] = validators.page(board)
    if studies:
        made[folder / "tuning.md"] = tuning.page(studies, board)
    if (drawn := gaps(board)) is not None:
        made[folder / "figures" / GAPS] = drawn
    return made


def summarised(readme: str, board: Leaderboard) -> str:
    """The text with the table of which method to take between its two marks; empty where it lacks them."""
    before, start, rest = readme.partition(_README[0])
    _, end, after = rest.partition(_README[1])
    return f"{before}{start}\n{suite.table_of_choices(board)}\n{end}{after}" if end else ""


def link(to: Path, start: Path) -> str:
    """The path to a file from the folder of a page."""
    return Path(os.path.relpath(to, start)).as_posix()


def gaps(board: Leaderboard) -> str | None:
    """The SVG of each method's gap closed over the suite; None where no task of it has an upper bound."""
    entries = of_suite(board)
    rankings = [each for each in board.rankings_of(entries) if each.gap_closed.notna().any(axis=None)]
    return figure.saved(plots.gap_closed(rankings).figure, "svg").decode() if rankings else None
