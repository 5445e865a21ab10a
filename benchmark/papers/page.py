"""A study's page: five plain lines, how it was run, a verdict for each claim, and the paper's tables beside ours.

The page is a pure function of the study, its plan and the rows: no verdict is typed in.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tabulate import tabulate

from dabench.core import DabenchError
from dabench.evaluation.leaderboard import Leaderboard
from dabench.files import write_whole
from dabench.papers import measures
from dabench.papers.measures import Basis, Row
from dabench.papers.pictures import caption_of, cell_of
from dabench.papers.planned import PlannedStudy, rows_of, stored_rows
from dabench.papers.rules import Judgement, NotHere, Outcome
from dabench.papers.study import Claim, Table
from dabench.report import curves
from dabench.report.markdown import load
from dabench.results import provenance
from dabench.run.plan import Start

_NONE = "-"
_SHORT = {
    measures.ACCURACY: "last checkpoint",
    measures.BEST_ON_TARGET: "best on target",
    measures.DROP: "drop",
    measures.LATE_GAIN: "first to last fifth",
    measures.SOURCE_AFTER: "on the source",
}


def write(planned: PlannedStudy, data: Path, cache: Path, results: Path) -> tuple[str, Path]:
    """Writes the page from the rows and pictures that are there, and its curves; returns the page and its path.

    Raises DabenchError where an earlier page would give way to one without a single row.
    """
    stored = stored_rows(results)
    folders = {"DABENCH_DATA": data, "DABENCH_CACHE": cache}
    rows = {name: rows_of(cells, stored, folders) for name, cells in planned.by_experiment.items()}
    page = results / "reproductions" / f"{planned.study.name}.md"
    if page.exists() and not any(each.key in stored for cells in planned.by_experiment.values() for each in cells):
        raise DabenchError(
            f"no cell of {planned.study.name} is stored under these conditions, so {page} stays as it is; give the "
            "--scale, --backbone and --image-size that it names, and the data (see dabench data status)"
        )
    for drawn in planned.curves:
        curves.write(results, drawn, stored.values())
    cells = {picture: cell_of(picture, planned, stored) for picture in planned.study.pictures}
    shown = {picture.file: caption_of(page.parent / picture.file, cell) for picture, cell in cells.items() if cell}
    board = Leaderboard(load(results), stale=provenance.age(results).stale)
    text = markdown(planned, rows, board, {file: words for file, words in shown.items() if words})
    write_whole(page, text, "--results")
    return text, page


def markdown(
    planned: PlannedStudy, rows: Mapping[str, Sequence[Row]], board: Leaderboard, shown: Mapping[str, str]
) -> str:
    """The page from the rows of each experiment and the board of all; `shown` maps picture files to their captions."""
    study = planned.study
    judged = [(claim, study.judge(claim, Basis(rows[claim.experiment], board))) for claim in study.claims]
    return "\n".join(
        [
            f"# {study.title}\n",
            _in_five_lines(planned, judged),
            _claims(planned, rows, judged),
            *(_table(table, rows[table.experiment]) for table in study.tables),
            _curves(planned),
            _pictures(shown),
            _how(planned, rows),
        ]
    )


def _in_five_lines(planned: PlannedStudy, judged: Sequence[tuple[Claim, Judgement]]) -> str:
    """What the paper claims, under which conditions we tried, what came out, and the sentence to remember."""
    study = planned.study
    main = next(judgement for claim, judgement in judged if claim == study.lesson.main)
    cells = [each.identity for each in planned.cells]
    networks = ", ".join(sorted({f"`{cell['backbone']}` at {cell['image_size']} px" for cell in cells}))
    tasks = len({cell["task"] for cell in cells})
    seeds = sorted({len({each.cell.seed for each in many}) for many in planned.by_experiment.values()})
    count = f"{seeds[0]} to {seeds[-1]} seeds" if len(seeds) > 1 else f"{seeds[0]} seed{'s' if seeds[0] > 1 else ''}"
    budgets = sorted({cell["budget"] for cell in cells})
    share = " to ".join(_share(budget) for budget in dict.fromkeys((budgets[0], budgets[-1])))
    instead = "; ".join(f"{each.given} in the place of {each.own}" for each in study.substitutions)
    lines = (
        f"**The paper claims** that {study.lesson.claims}.",
        f"**We tried it** on {tasks} tasks with {networks}, {count}, {share} of the training steps.",
        f"**Other than in the paper**: {instead or 'nothing stands in for its data or its network'}.",
        f"**What came out**: of {len(judged)} claims, {_counted(judged)}. The main one: {main.evidence}.",
        f"**To remember**: {study.lesson.sentence(main)}",
    )
    return "\n".join(f"{line}  " for line in lines).rstrip() + "\n"


def _counted(judged: Sequence[tuple[Claim, Judgement]]) -> str:
    """How many claims came to each outcome, in words."""
    counts = Counter(judgement.outcome for _, judgement in judged)
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome)


def _how(planned: PlannedStudy, rows: Mapping[str, Sequence[Row]]) -> str:
    """The command, the conditions of each experiment, and what is missing or differs from the paper."""
    each = list({row["key"]: row for many in rows.values() for row in many}.values())
    counts = Counter(row["status"] for row in each)
    counted = ", ".join(
        f"{counts[status]} {status}" for status in ("ok", "failed", "refused", "missing") if counts[status]
    )
    scale = f" --scale {planned.scale:g}" if planned.scale != 1 else ""
    lines = [f"- Run by `dabench reproduce {planned.study.name}{scale}`, budget {planned.scale:g}. Cells: {counted}."]
    for name, cells in planned.by_experiment.items():
        facts = [each.identity for each in cells]
        networks = sorted({_network(fact, planned.scale) for fact in facts})
        seeds = len({fact["seed"] for fact in facts})
        lines.append(f"- {name}: {'; '.join(networks)}; {seeds} seed{'s' if seeds > 1 else ''}.")
    if planned.scale != 1:
        lines.append(f"- Every verdict above is at {_share(planned.scale)} of each task's training steps.")
    lines += [f"- Substitution: {words}." for words in planned.study.substitutions]
    lines += [f"- {words}" for words in planned.study.notes]
    partial = _grouped((row["partial"], row["task"]) for row in each if row.get("partial"))
    lines += [f"- Partial data: {words} ({', '.join(tasks)})." for words, tasks in partial.items()]
    reasons = _grouped(
        (f"{row['status']}: {row['reason']}", f"`{row['variant']}` on {row['task']}")
        for row in each
        if row["status"] != "ok"
    )
    for reason, places in reasons.items():
        more = f" and {len(places) - 3} more" if len(places) > 3 else ""
        lines.append(f"- {reason[:1].upper()}{reason[1:]} ({', '.join(places[:3])}{more})")
    return "## How it was run\n\n" + "\n".join(lines) + "\n"


def _network(fact: Row, scale: float) -> str:
    words = f"`{fact['backbone']}` at {fact['image_size']} px, {fact['protocol']}"
    if fact["start"] != Start.SOURCE_MODEL:
        words += ", trained from the initial weights"
    return words if fact["budget"] == scale else f"{words}, {_share(fact['budget'])} of the steps"


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The second texts by the first, each once."""
    groups: dict[str, dict[str, None]] = {}
    for words, name in pairs:
        groups.setdefault(words, {})[name] = None
    return {words: list(names) for words, names in groups.items()}


def _claims(planned: PlannedStudy, rows: Mapping[str, Sequence[Row]], judged: Sequence[tuple[Claim, Judgement]]) -> str:
    regime = planned.study.regime
    lines = [
        "## Claims\n",
        "Numbers are percent or points with 95 % intervals over n seeds. Words in quotation marks are the paper's, all "
        "others ours. See docs/reproducing.md for the rules."
        + (f" In the paper's regime, {regime.words}; outside of it no claim is judged." if regime else "")
        + "\n",
    ]
    for claim, judgement in judged:
        said = f'"{claim.quote}"' if claim.quote else claim.reading
        lines.append(f"- **{judgement.outcome}**: {said} ({claim.section})")
        if claim.quote and claim.reading:
            lines.append(f"  - Taken as: {claim.reading}.")
        lines.append(f"  - Rule: {claim.rule.words}.")
        lines.append(f"  - {judgement.evidence}{_conditions(claim, judgement, planned, rows[claim.experiment])}.")
    return "\n".join(lines) + "\n"


def _conditions(claim: Claim, judgement: Judgement, planned: PlannedStudy, rows: Sequence[Row]) -> str:
    """What a verdict holds under where that is not the paper's own protocol; what is missing where there is none."""
    if isinstance(claim.rule, NotHere):
        return ""
    if judgement.outcome is Outcome.NOT_TESTABLE:
        missing = sum(row["status"] == "missing" for row in rows)
        return f" ({missing} of the experiment's {len(rows)} cells not run)" if missing else ""
    conditions = [] if planned.scale == 1 else [f"at {_share(planned.scale)} of the steps"]
    conditions += [f"{each.given} in the place of {each.own}" for each in planned.study.substitutions]
    return f" ({', '.join(conditions)})" if conditions else ""


def _share(scale: float) -> str:
    return f"{100 * scale:g} %"


def _table(table: Table, rows: Sequence[Row]) -> str:
    several = len(table.measures) > 1
    header = [""]
    published = any(line.published for line in table.lines)
    for index, (heading, _) in enumerate(table.columns):
        if published and any(_printed(line.published, index) for line in table.lines):
            header.append(f"{heading}, paper")
        header += [f"{heading}, ours" + (f": {_SHORT[measure]}" if several else "") for measure in table.measures]
    body = []
    for line in table.lines:
        cells = [line.label]
        for index, (heading, task) in enumerate(table.columns):
            if f"{heading}, paper" in header:
                cells.append(_printed(line.published, index))
            cells += [_measured(line.of, task, rows, measure) for measure in table.measures]
        body.append(cells)
    text = tabulate(body, header, tablefmt="pipe", disable_numparse=True)
    return f"## {table.title}\n\n{text}\n"


def _printed(published: Sequence[str], index: int) -> str:
    return published[index] if index < len(published) else ""


def _measured(of: measures.Of, task: str, rows: Sequence[Row], measure: measures.Measure) -> str:
    try:
        found = of.measured(task, rows, measure)
    except DabenchError:
        return _NONE
    half = "" if math.isnan(found.half) else f" ± {100 * found.half:.1f}"
    return f"{100 * found.mean:.1f}{half} (n={found.n})"


def _curves(planned: PlannedStudy) -> str:
    lines = [
        f"![{drawn.task}, {drawn.parameter}](../curves/{curves.picture_name(drawn)})\n" for drawn in planned.curves
    ]
    return "## Curves\n\n" + "\n".join(lines) if lines else ""


def _pictures(shown: Mapping[str, str]) -> str:
    lines = [f"![{words}]({file})\n\n{words}.\n" for file, words in shown.items()]
    return "## Pictures\n\n" + "\n".join(lines) if lines else ""
