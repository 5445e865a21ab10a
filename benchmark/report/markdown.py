"""leaderboard.md: a pure function from evaluated rows to text, the same whatever the order of the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from dabench.core import Reference, Task
from dabench.evaluation import tables
from dabench.evaluation.leaderboard import Leaderboard
from dabench.evaluation.rankings import Ranking
from dabench.evaluation.selection import BEST, LAST
from dabench.report import groups, plots, tuning, wording
from dabench.results import provenance, store
from dabench.results.provenance import TODAY, Age
from dabench.results.searches import Study

COLUMNS = list(dict.fromkeys([*tables.COLUMNS, *provenance.COLUMNS]))
_GAPS = "gap-closed.svg"

_INTRO = """\
# Leaderboard

- **Numbers** are accuracy in percent on the target test images, mean ± 95 % t-interval over seeds, of the model \
at the {select}. Methods are compared inside one setting and one column only.
- **Bold**: not told apart from the best of its setting (one test, paired over seeds and test images, corrected for \
the number of methods, 5 %). ▼ worse than source-only by the same test; ∅ a class is never predicted.
- **Gain** is over source-only, in points. **Gap closed** is its share of the way from source-only to training on \
every target label, blank where that way is within the noise. Published numbers stand in columns of their own, same \
protocol and backbone only. [More](docs/reading.md).
"""


def load(results: Path) -> pd.DataFrame:
    """The stored rows with the columns that the pages read; lists and maps stay in Arrow, which is fast."""
    table = store.load(results, COLUMNS).combine_chunks()  # rows are picked from one chunk more quickly
    return table.to_pandas(types_mapper=lambda kind: pd.ArrowDtype(kind) if _is_long(kind) else None)


def _is_long(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind))


def leaderboard(
    board: Leaderboard,
    references: Sequence[Reference] = (),
    *,
    age: Age = TODAY,
    figures: str | None = None,
    studies: Sequence[Study] = (),
) -> str:
    """The Markdown of leaderboard.md.

    `age` tells which rows today's code might not give again (`provenance.age` gives it); `studies` are the
    hyper-parameter searches, whose trials stand in a section of their own alone; `figures` is the folder to which the
    text links the SVGs of `figures()`, None for no links.
    """
    sections = [_INTRO.format(select=_select_name(board.select)), _doubts(board, age), _overall(board, figures)]
    sections += groups.families(board, references, age)
    if studies:
        sections.append(tuning.section(studies, board))
    return "\n".join(section for section in sections if section)


def illustrated(
    board: Leaderboard,
    references: Sequence[Reference],
    *,
    age: Age,
    figures: str,
    studies: Sequence[Study],
    tasks: Iterable[Task],
) -> tuple[str, dict[str, str]]:
    """`leaderboard`, with the `tasks` that have no row under it, and its figures."""
    text = leaderboard(board, references, age=age, figures=figures, studies=studies)
    return text + _not_run(set(board.stored["task"]), tasks), drawn(board)


def _not_run(there: set[str], tasks: Iterable[Task]) -> str:
    """The tasks without a row, by the data that they need."""
    waiting: dict[str, list[str]] = {}
    for task in tasks:
        if task.name not in there:
            waiting.setdefault(", ".join(task.datasets), []).append(f"`{task.name}`")
    if not waiting:
        return ""
    lines = [
        f"- needs {needed or 'no download'}: {', '.join(sorted(names))}" for needed, names in sorted(waiting.items())
    ]
    return "\n".join(["\n## Not run here\n", *lines, "", "`dabench data status` says what this machine has.", ""])


def _select_name(select: str) -> str:
    if select == LAST:
        return groups.LAST_NAME
    if select == BEST:
        return "best checkpoint (chosen with target test labels: an upper bound, not a result)"
    return f"checkpoint that `{select}` chooses without target labels"


def _doubts(board: Leaderboard, age: Age) -> str:
    """Which shown rows today's code might not give again, and why."""
    keys = pd.concat([board.rows["key"], board.bad["key"]]).drop_duplicates()
    lines = []
    for sentence, reasons in (
        ("Stale: the {} changed since", age.stale),
        ("Not checked: the {} is not known here", age.unchecked),
    ):
        shown = keys.map(reasons).dropna()
        for what, count in shown.value_counts().sort_index().items():
            lines.append(f"> {sentence.format(what)} ({wording.count(count, 'row')} shown).")
    return "\n>\n".join(lines) + "\n" if lines else ""


def _overall(board: Leaderboard, figures: str | None) -> str:
    lines, notes, links = [], [], []
    if figures is not None and _with_gaps(board.rankings):
        links.append(f"![Share of the gap that each method closes, by setting]({figures}/{_GAPS})\n")
    for ranking in board.rankings:
        setting = str(ranking.setting)
        for line in ranking.table.itertuples():
            alone = len(ranking.table) == 1
            lines.append(
                [
                    setting,
                    line.method,
                    wording.NONE if alone else wording.bounded(line.rank, line.rank_low, line.rank_high, 1),
                    _gain(line),
                    _gap(line, len(ranking.shared)),
                    str(len(ranking.shared)),
                    wording.seconds(line.seconds),
                    wording.number(line.ms_per_image, 2),
                ]
            )
            setting = ""
        notes += _ranking_notes(ranking)
        if figures is not None and _has_figure(ranking):
            name = _figure_name(ranking)
            links.append(f"![Mean ranks of the {ranking.setting} methods]({figures}/{name})\n")
    if not lines:
        return "No method has results yet.\n"
    header = ["setting", "method", "mean rank [95 %]", "gain, points [95 %]", "gap closed", "tasks", "adaptation"]
    text = "## Overall\n\n"
    text += "Default hyper-parameters, over the tasks that all methods of the setting have. Intervals are a bootstrap "
    text += "over families, their tasks and seeds. The gap closed is a mean over the tasks where there is a gap, their "
    text += "number beside it where that is smaller.\n\n"
    text += wording.table([*header, "ms/image"], lines, align=["left", "left", *["right"] * 6])
    return text + "\n".join([wording.bullets(notes), *links])


def _gain(line: Any) -> str:
    """The mean gain in points with its interval."""
    return wording.bounded(100 * line.gain, 100 * line.gain_low, 100 * line.gain_high, 1, sign="+")


def _gap(line: Any, tasks: int) -> str:
    """The share of the gap, and over how many of the tasks where these are not all."""
    fewer = f" ({line.gap_tasks})" if 0 < line.gap_tasks < tasks else ""
    return wording.percent(line.gap_closed, 0, " %") + fewer


def drawn(board: Leaderboard) -> dict[str, str]:
    """The SVGs by file name: each method's gap closed, and mean ranks where three methods share three tasks or more."""
    found: Mapping[str, plots.Plot] = {
        **({_GAPS: plots.gap_closed(gaps)} if (gaps := _with_gaps(board.rankings)) else {}),
        **{_figure_name(each): plots.mean_ranks(each) for each in board.rankings if _has_figure(each)},
    }
    return {name: plots.saved(plot.figure, "svg").decode() for name, plot in found.items()}


def _with_gaps(rankings: Sequence[Ranking]) -> list[Ranking]:
    """Those with a share of a gap to draw: a setting needs the upper bound on a task that its methods share."""
    return [ranking for ranking in rankings if ranking.gap_closed.notna().any(axis=None)]


def _has_figure(ranking: Ranking) -> bool:
    return bool(min(ranking.accuracy.shape) >= 3)


def _figure_name(ranking: Ranking) -> str:
    return f"ranks-{ranking.setting}.svg"


def _ranking_notes(ranking: Ranking) -> list[str]:
    notes = []
    if ranking.lacking:
        missing = "; ".join(f"{name} (no {wording.names(methods)})" for name, methods in ranking.lacking.items())
        notes.append(f"**{ranking.setting}** is ranked without: {missing}.")
    if ranking.left_out:
        methods = wording.names(f"{method} ({count})" for method, count in ranking.left_out.items())
        notes.append(f"**{ranking.setting}** leaves out, with fewer than half of its tasks: {methods}.")
    return notes
