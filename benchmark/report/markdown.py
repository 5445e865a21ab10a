"""leaderboard.md: a pure function from evaluated rows to text, the same whatever the order of the rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa

from dabench.core import Reference, Task
from dabench.evaluation import tables
from dabench.evaluation.leaderboard import Leaderboard
from dabench.evaluation.selection import BEST, LAST
from dabench.report import suite, task_page, wording
from dabench.results import provenance, store
from dabench.results.provenance import TODAY, Age

COLUMNS = list(dict.fromkeys([*tables.COLUMNS, *provenance.COLUMNS]))

_INTRO = """\
# Leaderboard

- **A number** is a gain over the source model in points of accuracy on the target's test images, mean ± half of its \
95 % interval over seeds, of the {select}. Methods that see labels stop early on a fifth of them; all others return \
their last model.
- **Marks**: **bold** is not told apart from the best of its setting (one test, paired over seeds and test images, \
corrected for the number of methods, 5 %); ▼ worse than the source model by the same test; ∅ a class is never \
predicted; = the source model itself, returned untouched; † a row of older code. [How to read](docs/reading.md).
- **Conditions** stand in the head of each column, one for each task; every other one is on the [page of its task]\
(#every-task).
"""


@dataclass(frozen=True)
class Beside:
    """What the page is told beside the rows.

    `pages` is the path from here to the folder of the tasks' pages; `papers` the text of each page on a paper, by the
    path to it.
    """

    references: Sequence[Reference] = ()
    tasks: Mapping[str, Task] = field(default_factory=dict)
    age: Age = TODAY
    pages: str = "results"
    papers: Mapping[str, str] = field(default_factory=dict)


def load(results: Path) -> pd.DataFrame:
    """The stored rows with the columns that the pages read; lists and maps stay in Arrow, which is fast."""
    table = store.load(results, COLUMNS).combine_chunks()  # rows are picked from one chunk more quickly
    return table.to_pandas(types_mapper=lambda kind: pd.ArrowDtype(kind) if _is_long(kind) else None)


def _is_long(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind))


def leaderboard(board: Leaderboard, beside: Beside) -> str:
    """The Markdown of leaderboard.md."""
    sections = [
        _INTRO.format(select=_select_name(board.select)) + _doubts(board, beside.age),
        suite.choice(board),
        suite.matrix(board),
        suite.labels(board),
        suite.streams(board),
        _papers(beside),
        suite.published(board, beside.references),
        _lacking(board, beside.tasks.values()),
        _index(board, beside),
    ]
    return "\n".join(section for section in sections if section)


def _select_name(select: str) -> str:
    if select == LAST:
        return "model that the method returns"
    if select == BEST:
        return "best checkpoint (chosen with target test labels: an upper-bound reference, not a result)"
    return f"checkpoint that `{select}` chooses without target labels"


def _doubts(board: Leaderboard, age: Age) -> str:
    """How many rows today's code might not give again, and why."""
    keys = pd.concat([board.rows["key"], board.bad["key"]]).drop_duplicates()
    said = []
    for words, reasons in (
        ("stale, the {} changed since", age.stale),
        ("not checked, the {} is not here", age.unchecked),
    ):
        for what, count in keys.map(reasons).dropna().value_counts().sort_index().items():
            said.append(f"{count} {words.format(what)}")
    return f"- **Rows**: {len(keys)}, of which {'; '.join(said) or 'none stale'}.\n"


def outcomes(page: str) -> Counter[str]:
    """How many claims came to each outcome, as the page of a paper says."""
    return Counter(re.findall(r"^- \*\*([a-z' ]+)\*\*: ", page, flags=re.MULTILINE))


def _papers(beside: Beside) -> str:
    """The claims of each founding paper, counted by what came of them."""
    if not beside.papers:
        return ""
    counts = {path: outcomes(text) for path, text in sorted(beside.papers.items())}
    kinds = list(dict.fromkeys(kind for found in counts.values() for kind in found))
    lines = [
        [f"[{_title(beside.papers[path])}]({path})", *(str(found[kind]) for kind in kinds)]
        for path, found in counts.items()
    ]
    text = "## The founding papers\n\nTheir claims, each judged by a rule from rows of this folder.\n\n"
    return text + wording.table(["paper", *kinds], lines, align=["left", *["right"] * len(kinds)])


def _title(page: str) -> str:
    return page.partition("\n")[0].removeprefix("# ")


def _lacking(board: Leaderboard, known: Iterable[Task]) -> str:
    """What is not comparable, partial, not run or flattered."""
    notes = suite.missing(board)
    rows = board.rows
    for partial, group in rows[rows["partial"] != ""].groupby("partial", sort=True):
        names = wording.names(wording.in_order(task_page.base_of(group["task"])))
        notes.append(f"Partial data on {names}: {wording.plain(partial)}.")
    there = set(task_page.base_of(board.stored["task"]))
    tasks = sorted(known, key=lambda task: task.name)
    flattered = [task.name for task in tasks if task.name in there and "flattered" in task.note]
    if flattered:
        notes.append(
            f"Flattered: part of the pictures of {wording.names(flattered)} are of the set that the networks were "
            "trained on; what a camera takes away and a method gives back is what counts."
        )
    bad = board.bad
    for status in ("failed", "refused"):
        if count := bad.loc[bad["status"] == status, "key"].nunique():
            notes.append(f"{wording.count(count, 'cell')} {status}; the pages of the tasks say why.")
    waiting = Counter(", ".join(task.datasets) or "no download" for task in tasks if task.name not in there)
    if waiting:
        said = "; ".join(f"{count} of {needed}" for needed, count in sorted(waiting.items()))
        notes.append(f"Not run here, by the data they need: {said} (`dabench list tasks`).")
    return f"## What is not in the tables\n{wording.bullets(notes)}" if notes else ""


def _index(board: Leaderboard, beside: Beside) -> str:
    """A line for each task, and the pages on choosing."""
    rows = pd.concat([board.rows[["task", "method", "key"]], board.bad[["task", "method", "key"]]])
    rows = rows.assign(base=task_page.base_of(rows["task"]))
    lines = []
    for name, inside in rows.groupby("base", sort=True):
        task = beside.tasks.get(str(name))
        what = f": {task.source} to {task.target}, {task.num_classes} classes" if task else ""
        counted = (
            f"{wording.count(inside['method'].nunique(), 'method')}, {wording.count(inside['key'].nunique(), 'row')}"
        )
        lines.append(f"[{name}]({beside.pages}/{name}/README.md){what}; {counted}")
    lines.append(f"[How well the label-free scores choose]({beside.pages}/validators.md)")
    if board.searched:
        lines.append(f"[Hyper-parameter searches]({beside.pages}/tuning.md)")
    return f"## Every task\n\nEvery condition, variant, interval and cost.\n{wording.bullets(lines)}"
