"""results/<task>/README.md: everything that is stored of one task, condition by condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from dabench.core import Reference, Setting, Task
from dabench.evaluation.leaderboard import Leaderboard
from dabench.evaluation.selection import Choices
from dabench.evaluation.tables import BASELINE, ENTRY, GROUP, UPPER_BOUND, among
from dabench.report import groups, wording
from dabench.report.groups import Published
from dabench.results.provenance import Age
from dabench.results.suite import within

_NO_CURVES: Mapping[str, str] = MappingProxyType({})
_COLUMNS = [*ENTRY, "key", "seed", "status", "reason", "partial", "stale", "accuracy", "figure"]  # of rows, on a page
_STREAMED = [str(Setting.TEST_TIME), str(Setting.TEST_TIME_SOURCE)]

Selections = Mapping[tuple[Any, ...], pd.DataFrame]  # by page and comparison group


def base_of(tasks: pd.Series) -> pd.Series:
    """The tasks without the values of their cameras: `a-b` of `a-b[angle=90]`."""
    codes, names = pd.factorize(tasks)  # few names, many rows
    bases = np.array([name.partition("[")[0] for name in names], dtype=object)
    return pd.Series(bases[codes], tasks.index, name=tasks.name)


def pages(
    board: Leaderboard,
    references: Sequence[Reference] = (),
    *,
    age: Age,
    tasks: Mapping[str, Task],
    curves: Mapping[str, str] = _NO_CURVES,
) -> dict[str, str]:
    """The page of each task that has rows, by the task's name.

    `tasks` are those known here; `curves` the paths of pictures of curves, by their names.
    """
    # Rows without a result are named in the notes, beside the others.
    rows = pd.concat([board.rows[_COLUMNS], board.bad.assign(figure=np.nan)[_COLUMNS]])
    rows = rows.assign(unchecked=among(rows["key"], age.unchecked), in_suite=within(rows))
    rows = rows[~among(rows["key"], board.searched)]
    entries = board.entries[~board.entries["searched"]]
    inside = dict(iter(entries.groupby(base_of(entries["task"]))))
    selected = _selections(rows[rows["status"] == "ok"], board.choices)
    return {
        str(name): _page(str(name), own, inside.get(name, entries[:0]), selected, references, tasks, curves)
        for name, own in rows.groupby(base_of(rows["task"]))
    }


def _page(
    name: str,
    rows: pd.DataFrame,
    entries: pd.DataFrame,
    selected: Selections,
    references: Sequence[Reference],
    tasks: Mapping[str, Task],
    curves: Mapping[str, str],
) -> str:
    parts = [f"# {name}\n", _facts(tasks.get(name), rows)]
    parts += [f"![{curve}]({path})\n" for curve, path in sorted(curves.items()) if curve.startswith(f"{name}-")]
    by_group = dict(iter(entries.groupby(GROUP)))
    beside = set()
    listed = groups.in_order(rows)
    for values, group_rows in sorted(listed, key=lambda item: not item[1]["in_suite"].any()):
        group = dict(zip(GROUP, values, strict=True))
        # Published numbers stand beside the fullest group of their protocol and backbone, which comes first.
        place = (group["protocol"], group["backbone"])
        published = groups.published(() if place in beside else references, group, group_rows)
        beside.add(place)
        parts.append(f"## {'The suite: ' if group_rows['in_suite'].any() else ''}{groups.group_name(group)}\n")
        inside = by_group.get(values)
        if inside is not None:
            parts.append(_accuracies(inside, published))
        parts.append(wording.bullets(groups.notes(group_rows, published)).lstrip("\n"))
        if inside is not None:
            parts += [_beside_accuracy(inside), _selection(selected.get((name, *values)))]
    return "\n".join(part for part in parts if part)


def _facts(task: Task | None, rows: pd.DataFrame) -> str:
    text = "`docs/reading.md` says how to read the tables.\n"
    if task is None:
        return f"This task is not known here; its rows are shown as they are. {text}"
    lines = [f"From `{task.source}` to `{task.target}`, {task.num_classes} classes. {wording.plain(task.note)}".strip()]
    used = set(rows["protocol"])
    lines += [
        f"Protocol `{each.name}`: adapts on {each.adapts_on}; scores on {each.scores_on}."
        for each in task.protocols
        if each.name in used
    ]
    lines.append(f"Licence: {wording.plain(task.licence) or 'not stated'}. {wording.plain(task.citation)}".strip())
    return "".join(f"- {line}\n" for line in lines) + f"\n{text}"


# --------------------------------------------------------------------------------------------- accuracies


def _accuracies(cells: pd.DataFrame, published: Published) -> str:
    """The accuracies of a group; below, a line for each value of the camera where it is not as the task has it."""
    usual = int(cells["seeds"].mode().max())
    moved = cells["task"].str.contains("[", regex=False)
    text = f"n = {wording.count(usual, 'seed')} unless given.\n\n"
    if not moved.all():
        text += _by_method(cells[~moved], published, usual)
    if moved.any():
        text += "\n" * (not moved.all()) + _by_camera(cells[moved], usual)
    return text


def _by_method(cells: pd.DataFrame, published: Published, usual: int) -> str:
    """A line for each method, setting by setting; published numbers in a column of their own."""
    by_variant = {(cell.setting, cell.variant): cell for cell in cells.itertuples()}
    theirs = {variant: text for (_, variant), text in published.text.items()}
    lines_of = groups.order(cells)
    shown = {variant for _, variant in lines_of}
    lines, last = [], ""
    for setting, variant in lines_of:
        cell = by_variant[setting, variant]
        name = "" if setting == last else setting
        last = setting
        lines.append([name, variant, accuracy(cell, usual), theirs.get(variant, ""), *_gained(cell)])
    floor = cells["before"].mean()
    if BASELINE not in shown and not np.isnan(floor):
        lines.insert(0, [str(Setting.SOURCE_ONLY), BASELINE, f"{100 * floor:.1f}", theirs.get(BASELINE, ""), *_BLANK])
        shown.add(BASELINE)
    lines += [
        ["published", variant, wording.NONE, text, *_BLANK]
        for variant, text in sorted(theirs.items())
        if variant not in shown
    ]
    header = ["setting", "method", "accuracy, %", "published, %", "gain, points", "gap closed", "± seeds and images"]
    keep = [at for at in range(len(header)) if theirs or at != _PUBLISHED]
    lines = [[line[at] for at in keep] for line in lines]
    return wording.table([header[at] for at in keep], lines, align=["left", "left", *["right"] * (len(keep) - 2)])


_PUBLISHED, _BLANK = 3, ["", "", ""]


def _gained(cell: Any) -> list[str]:
    """Gain with its interval, gap closed, and the accuracy with the wider interval."""
    alone = cell.variant == BASELINE
    closed = "" if cell.variant in (BASELINE, UPPER_BOUND) else wording.percent(cell.gap_closed, 0, " %")
    wider = "" if np.isnan(cell.ci_images) else f"{100 * cell.mean:.1f} ± {100 * cell.ci_images:.1f}"
    return ["" if alone else wording.gain(cell.gain, cell.gain_ci), closed, wider]


def _by_camera(cells: pd.DataFrame, usual: int) -> str:
    """A line for each value of the camera: the points of a curve are many, its methods few."""
    by_place = {(cell.task, cell.variant): accuracy(cell, usual) for cell in cells.itertuples()}
    variants = [variant for _, variant in groups.order(cells)]
    lines = [
        [task, *(by_place.get((task, variant), wording.NONE) for variant in variants)]
        for task in wording.in_order(cells["task"])
    ]
    return wording.table(["task", *variants], lines, align=["left", *["right"] * len(variants)])


def accuracy(cell: Any, usual: int) -> str:
    """Mean and interval with the marks that docs/reading.md explains."""
    text = wording.spread(cell.mean, cell.ci)
    text = f"**{text}**" if cell.best else text
    marks = ["▼" if cell.worse else "", "∅" if cell.collapsed else ""]
    if cell.untouched:
        marks.append("=" if cell.untouched == cell.n else f"= ({cell.untouched} of {cell.n} seeds)")
    marks += [f"(n={cell.n})" if cell.n != usual else "", "†" if cell.stale else ""]
    return " ".join([text, *(mark for mark in marks if mark)])


# -------------------------------------------------------------------------------------- beside accuracies


def _beside_accuracy(cells: pd.DataFrame) -> str:
    """Forgetting, calibration and cost."""
    place = {line: position for position, line in enumerate(groups.order(cells))}
    cells = cells.assign(place=[place[line] for line in zip(cells["setting"], cells["variant"], strict=True)])
    lines, shown = [], None
    several = cells["task"].nunique() > 1
    for cell in sorted(cells.itertuples(), key=lambda cell: (wording.natural(cell.task), cell.place)):
        streamed = cell.setting in _STREAMED
        lines.append(
            [
                *(["" if cell.task == shown else cell.task] if several else []),
                cell.variant,
                "" if streamed else wording.change(cell.source_before, cell.source_after, 100, 1),
                wording.change(cell.ece_before, cell.ece, 100, 1),
                wording.change(cell.nll_before, cell.nll, 1, 2),
                wording.seconds(cell.seconds),
                wording.number(cell.ms_per_image, 2),
                wording.number(cell.peak_memory, 0),
                wording.number(cell.trained_parameters, 0, ","),
            ]
        )
        shown = cell.task
    header = [*(["task"] if several else []), "method", "accuracy on source, %", "calibration error, %", "NLL, nat"]
    header += ["adaptation", "ms/image", "peak memory, MiB", "trained parameters"]
    body = wording.table(header, lines, align=["left"] * (1 + several) + ["right"] * 7)
    return (
        "### Forgetting, calibration and cost\n\nBefore → after. Test-time methods go on adapting to whatever they are "
        f"shown, so their accuracy on the source is no forgetting and is left out.\n\n{body}"
    )


def _selections(rows: pd.DataFrame, chosen: Choices) -> Selections:
    """What each validator would have chosen on the pages, by the page and the comparison group of the rows."""
    best = chosen.best.reindex(rows.index)
    rows, best = rows[best.notna()], best[best.notna()]
    scores = {name: f"score {name}" for name in chosen.by_row}
    by_row = chosen.by_row.loc[rows.index].rename(columns=scores)
    frame = pd.concat([rows[[*ENTRY, "accuracy"]].rename(columns={"accuracy": "last"}), by_row], axis=1)
    frame = frame.assign(best=best, page=base_of(rows["task"]))
    numbers, group, variant = ["last", *by_row, "best"], ["page", *GROUP], ["setting", "method", "variant"]
    means = _complete_means(_complete_means(frame, [*group, *variant, "task"], numbers), [*group, *variant], numbers)
    place = {str(setting): position for position, setting in enumerate(Setting)}
    means = means.assign(place=means["setting"].map(place)).sort_values([*group, "place", "method", "variant"])
    some = frame.groupby(group)[list(by_row)].count() > 0
    found = {}
    for values, lines in means.groupby(group, sort=False):
        there = some.loc[values]
        found[values] = lines[["variant", "last", *there.index[there], "best"]].rename(
            columns={score: name for name, score in scores.items()}
        )
    return found


def _selection(means: pd.DataFrame | None) -> str:
    """What each validator would have chosen, beside the last checkpoint and the best one."""
    if means is None:
        return ""
    lines = [
        [variant, *(wording.percent(number, 1) for number in numbers), wording.percent(numbers[-1] - numbers[0], 1)]
        for variant, *numbers in means.itertuples(index=False, name=None)
    ]
    header = ["method", "returned", *means.columns[2:-1], "best", "best - returned"]
    body = "Accuracy of the checkpoint that each label-free score chooses, beside the model that the method returned. "
    body += "The best checkpoint needs target test labels: an upper-bound reference.\n\n"
    body += wording.table(header, lines, align=["left", *["right"] * (len(header) - 1)])
    return f"### Choosing the checkpoint without target labels\n\n{body}"


def _complete_means(frame: pd.DataFrame, by: list[str], numbers: list[str]) -> pd.DataFrame:
    """Means of each group, nan where one of its lines is: what some runs lack is not averaged over the others."""
    grouped = frame.groupby(by)
    counts = grouped[numbers].count()
    return grouped[numbers].mean().where(counts.eq(grouped.size(), axis=0)).reset_index()
