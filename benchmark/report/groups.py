"""The sections of leaderboard.md on one family: its comparison groups, a table and its notes each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dabench.core import Reference, Setting
from dabench.evaluation.leaderboard import Leaderboard
from dabench.evaluation.selection import Choices
from dabench.evaluation.tables import BASELINE, GROUP, LONG, UPPER_BOUND, among
from dabench.report import wording
from dabench.results.provenance import Age

LAST_NAME = "last checkpoint"


def families(board: Leaderboard, references: Sequence[Reference], age: Age) -> list[str]:
    """A section for each family, in the order of their names."""
    # Rows without a result are named in the notes, beside the others.
    lacking = board.bad.assign(figure=np.nan, entry=-1)
    rows = pd.concat([board.rows.drop(columns=LONG), lacking[[*lacking.columns.difference(LONG)]]])
    rows = rows.assign(unchecked=among(rows["key"], age.unchecked))
    rows = rows[~among(rows["key"], board.searched)]
    entries = board.entries[~board.entries["searched"]]
    by_group = {group: inside for group, inside in entries.groupby(GROUP)}
    names = sorted({*board.rows["family"], *board.bad["family"]})
    return [_family(family, rows[rows["family"] == family], by_group, board, references) for family in names]


def _family(
    family: str,
    rows: pd.DataFrame,
    entries: Mapping[tuple[Any, ...], pd.DataFrame],
    board: Leaderboard,
    references: Sequence[Reference],
) -> str:
    parts = [f"## {family}\n"]
    beside = set()
    for values, group_rows in in_order(rows):
        group = dict(zip(GROUP, values, strict=True))
        # Published numbers stand beside the fullest group of their protocol and backbone, which comes first.
        place = (group["protocol"], group["backbone"])
        published = _published(() if place in beside else references, group, group_rows)
        beside.add(place)
        parts.append(f"### {group_name(group)}\n")
        inside = entries.get(values)
        if inside is not None:
            parts.append(_accuracies(inside, published))
        parts.append(wording.bullets(_notes(group_rows, published)).lstrip("\n"))
        if inside is not None:
            parts.append(_beside_accuracy(inside))
            parts.append(_costs(inside))
            parts.append(_selection(group_rows, board.choices))
    parts.append(_validators(board.validators[board.validators["family"] == family]))
    return "\n".join(part for part in parts if part)


def in_order(rows: pd.DataFrame) -> list[tuple[tuple[Any, ...], pd.DataFrame]]:
    """The comparison groups of the rows, of each protocol and backbone the fullest first."""

    def place(item: tuple[tuple[Any, ...], pd.DataFrame]) -> tuple[Any, ...]:
        group = dict(zip(GROUP, item[0], strict=True))
        bounds = [-np.inf if group[name] < 0 else -group[name] for name in ("target_images", "labels")]
        return (group["protocol"], group["backbone"], -group["budget"], *bounds, -group["image_size"])

    return sorted(rows.groupby(GROUP, sort=True), key=place)


def group_name(group: Mapping[str, Any]) -> str:
    """What tells a comparison group from the others of its family."""
    parts = [f"protocol `{group['protocol']}`", f"`{group['backbone']}`", f"{group['image_size']} px"]
    if group["budget"] != 1:
        parts.append(f"budget {group['budget']:g}")
    if group["target_images"] >= 0:
        parts.append(f"{group['target_images']} target images")
    if group["labels"] >= 0:
        parts.append(f"{group['labels']} labels a class where labels are used")
    if group["start"] != "source-model":
        parts.append(f"started from {group['start'].replace('-', ' ')}")
    if group["stream"] != "shuffled":
        parts.append(f"stream {group['stream']}")
    if group["frozen"]:
        parts.append("frozen features")
    return " · ".join(parts)


@dataclass(frozen=True)
class _Published:
    """Published numbers of one group: text by (task, variant), and the sources in the order of their numbers."""

    text: dict[tuple[str, str], str]
    sources: list[str]

    @property
    def tasks(self) -> set[str]:
        return {task for task, _ in self.text}


def _published(references: Sequence[Reference], group: Mapping[str, Any], rows: pd.DataFrame) -> _Published:
    tasks = set(rows["task"])
    fitting = sorted(
        (
            reference
            for reference in references
            if reference.task in tasks
            and (reference.protocol, reference.backbone) == (group["protocol"], group["backbone"])
        ),
        key=lambda reference: (reference.source, reference.task, reference.method, reference.accuracy),
    )
    sources = sorted({reference.source for reference in fitting})
    text: dict[tuple[str, str], str] = {}
    for reference in fitting:
        std = "" if reference.std is None else f" ± {reference.std:.1f}"
        number = f"{reference.accuracy:.1f}{std} [{sources.index(reference.source) + 1}]"
        place = (reference.task, reference.method)
        text[place] = f"{text[place]}, {number}" if place in text else number
    return _Published(text, sources)


def _accuracies(cells: pd.DataFrame, published: _Published) -> str:
    """The tables of a group: a column for each task; below, a line for each whose camera is not as it stands."""
    usual = int(cells["seeds"].mode().max())
    moved = cells["task"].str.contains("[", regex=False) & ~cells["task"].isin(published.tasks)
    text = f"n = {wording.count(usual, 'seed')} unless given.\n\n"
    if not moved.all():
        text += _by_task(cells[~moved], published, usual)
    if moved.any():
        text += "\n" * (not moved.all()) + _by_camera(cells[moved], usual)
    return text


def _by_task(cells: pd.DataFrame, published: _Published, usual: int) -> str:
    """Methods grouped by setting, a column for each task."""
    tasks = wording.in_order(cells["task"])
    columns = [column for task in tasks for column in ((task, False), (task, True))[: 1 + (task in published.tasks)]]
    by_place = {(cell.task, cell.variant): _accuracy(cell, usual) for cell in cells.itertuples()}
    floor = cells.groupby("task")["before"].mean().dropna()
    by_place = {(task, BASELINE): f"{100 * value:.1f}" for task, value in floor.items()} | by_place
    lines_of = order(cells)
    if BASELINE not in set(cells["variant"]):
        lines_of.insert(0, (str(Setting.SOURCE_ONLY), BASELINE))
    absent = sorted({variant for _, variant in published.text} - {variant for _, variant in lines_of})
    lines_of += [("published, not run", variant) for variant in absent]
    lines, shown = [], None
    for setting, variant in lines_of:
        line = [setting if setting != shown else "", variant]
        for task, from_papers in columns:
            source = published.text if from_papers else by_place
            line.append(source.get((task, variant), "" if from_papers else wording.NONE))
        lines.append(line)
        shown = setting
    header = ["setting", "method", *(f"{task}, published" if paper else task for task, paper in columns)]
    return wording.table(header, lines, align=["left", "left", *["right"] * len(columns)])


def _by_camera(cells: pd.DataFrame, usual: int) -> str:
    """A line for each task: the points of a curve are many, its methods few."""
    by_place = {(cell.task, cell.variant): _accuracy(cell, usual) for cell in cells.itertuples()}
    variants = [variant for _, variant in order(cells)]
    lines = [
        [task, *(by_place.get((task, variant), wording.NONE) for variant in variants)]
        for task in wording.in_order(cells["task"])
    ]
    return wording.table(["task", *variants], lines, align=["left", *["right"] * len(variants)])


def _accuracy(cell: Any, usual: int) -> str:
    text = wording.spread(cell.mean, cell.ci)
    text = f"**{text}**" if cell.best else text
    marks = ["▼" if cell.worse else "", "∅" if cell.collapsed else ""]
    marks.append(f"(n={cell.n})" if cell.n != usual else "")
    return " ".join([text, *(mark for mark in marks if mark)])


def order(cells: pd.DataFrame) -> list[tuple[str, str]]:
    """Setting and variant of the lines of a group: settings as in `Setting`, the better default variant first."""
    methods = cells.groupby(["setting", "method", "variant", "default"])["mean"].agg(["count", "mean"]).reset_index()
    place = {str(setting): position for position, setting in enumerate(Setting)}
    methods["place"] = methods["setting"].map(place).fillna(len(place))
    leader = methods.loc[methods["default"], ["setting", "method", "count", "mean"]]
    methods = methods.merge(leader, on=["setting", "method"], how="left", suffixes=("", "_default"))
    methods = methods.fillna({"count_default": -1, "mean_default": -1})
    methods = methods.sort_values(
        ["place", "count_default", "mean_default", "method", "default", "variant"],
        ascending=[True, False, False, True, False, True],
    )
    return list(zip(methods["setting"], methods["variant"], strict=True))


def _notes(rows: pd.DataFrame, published: _Published) -> list[str]:
    notes = []
    if published.sources:
        sources = "; ".join(f"[{number}] {source}" for number, source in enumerate(published.sources, 1))
        notes.append(f"Published: {wording.plain(sources)}.")
    for status in ("failed", "refused"):
        bad = rows[rows["status"] == status]
        for (variant, reason), group in bad.groupby(["variant", "reason"], sort=True):
            seeds = f", seeds {wording.names(sorted(group['seed'].unique()))}" if status == "failed" else ""
            tasks = wording.names(wording.in_order(group["task"]))
            notes.append(f"{status.capitalize()}: {variant} on {tasks}{seeds}: {wording.plain(reason)}")
    ok = rows[rows["status"] == "ok"]
    for partial, group in ok[ok["partial"] != ""].groupby("partial", sort=True):
        notes.append(f"Partial data on {wording.names(wording.in_order(group['task']))}: {wording.plain(partial)}")
    if len(ok) and ok["budget"].iloc[0] < 1:
        notes.append(f"Reduced budget: {ok['budget'].iloc[0]:g} of the steps a full run takes.")
    stale = ok[ok["stale"]]
    if len(stale):
        notes.append(
            f"Stale, made by other code than today's ({wording.count(len(stale), 'row')}): {_by_variant(stale)}."
        )
    unchecked = ok[ok["unchecked"]]
    if len(unchecked):
        notes.append(
            f"Not checked, their code is not here ({wording.count(len(unchecked), 'row')}): {_by_variant(unchecked)}."
        )
    unchosen = ok[ok["figure"].isna() & ok["accuracy"].notna()]
    if len(unchosen):
        notes.append(f"Without this score at their checkpoints, so not shown: {_by_variant(unchosen)}.")
    return notes


def _by_variant(rows: pd.DataFrame) -> str:
    groups = rows.groupby("variant", sort=True)["task"]
    return "; ".join(f"{variant} on {wording.names(wording.in_order(tasks))}" for variant, tasks in groups)


def _beside_accuracy(cells: pd.DataFrame) -> str:
    place = {line: position for position, line in enumerate(order(cells))}
    cells = cells.assign(place=[place[line] for line in zip(cells["setting"], cells["variant"], strict=True)])
    lines, shown = [], None
    for cell in sorted(cells.itertuples(), key=lambda cell: (wording.natural(cell.task), cell.place)):
        lines.append(
            [
                "" if cell.task == shown else cell.task,
                cell.variant,
                "" if np.isnan(cell.ci_images) else f"{100 * cell.mean:.1f} ± {100 * cell.ci_images:.1f}",
                "" if cell.variant in (BASELINE, UPPER_BOUND) else wording.percent(cell.gap_closed, 0, " %"),
                wording.change(cell.source_before, cell.source_after, 100, 1),
                wording.change(cell.ece_before, cell.ece, 100, 1),
                wording.change(cell.nll_before, cell.nll, 1, 2),
            ]
        )
        shown = cell.task
    header = ["task", "method", "± over seeds and test images", "gap closed"]
    header += ["accuracy on source, %", "calibration error, %", "NLL, nat"]
    body = wording.table(header, lines, align=["left", "left", *["right"] * 5])
    return wording.details("Wider intervals, gap closed, forgetting on source and calibration (before → after)", body)


def _costs(cells: pd.DataFrame) -> str:
    costs = ["seconds", "ms_per_image", "peak_memory", "trained_parameters"]
    groups = cells.groupby(["setting", "variant"])
    means = groups[costs].mean().assign(tasks=groups.size()).loc[order(cells)]
    lines = [
        [
            variant,
            str(int(mean.tasks)),
            wording.seconds(mean.seconds),
            wording.number(mean.ms_per_image, 2),
            wording.number(mean.peak_memory, 0),
            wording.number(mean.trained_parameters, 0, ","),
        ]
        for (_, variant), mean in zip(means.index, means.itertuples(), strict=True)
    ]
    header = ["method", "tasks", "adaptation", "ms/image", "peak memory, MiB", "trained parameters"]
    return wording.details("Cost (means over tasks)", wording.table(header, lines, align=["left", *["right"] * 5]))


def _selection(rows: pd.DataFrame, chosen: Choices) -> str:
    """What each validator would have chosen, beside the last checkpoint and the best one."""
    ok = rows[rows["status"] == "ok"]
    ok = ok[chosen.best.reindex(ok.index).notna()]
    if ok.empty:
        return ""
    by_row = chosen.by_row.loc[ok.index].dropna(axis=1, how="all")
    names = list(by_row)
    frame = ok[["setting", "method", "variant", "task"]].assign(
        **{f"score {name}": by_row[name] for name in names}, last=ok["accuracy"], best=chosen.best.reindex(ok.index)
    )
    numbers = ["last", *(f"score {name}" for name in names), "best"]
    variant = ["setting", "method", "variant"]
    means = _complete_means(_complete_means(frame, [*variant, "task"], numbers), variant, numbers)
    place = {str(setting): position for position, setting in enumerate(Setting)}
    means = means.assign(place=means["setting"].map(place)).sort_values(["place", "method", "variant"])
    lines = [
        [
            line["variant"],
            *(wording.percent(line[name], 1) for name in numbers),
            wording.percent(line["best"] - line["last"], 1),
        ]
        for _, line in means.iterrows()
    ]
    header = ["method", LAST_NAME, *names, "best (oracle)", "best - last"]
    body = "Mean accuracy over tasks of the checkpoint that each label-free score chooses. "
    body += "The best checkpoint needs target test labels.\n\n"
    body += wording.table(header, lines, align=["left", *["right"] * (len(header) - 1)])
    return wording.details("Choosing the checkpoint without target labels", body)


def _complete_means(frame: pd.DataFrame, by: list[str], numbers: list[str]) -> pd.DataFrame:
    """Means of each group, nan where one of its lines is: what some runs lack is not averaged over the others."""
    groups = frame.groupby(by)
    counts = groups[numbers].count()
    return groups[numbers].mean().where(counts.eq(groups.size(), axis=0)).reset_index()


def _validators(validators: pd.DataFrame) -> str:
    lines = [
        [
            line.setting,
            line.validator,
            wording.number(line.over_checkpoints, 2),
            wording.number(line.over_methods, 2),
            wording.percent(line.regret, 1),
            str(line.runs),
        ]
        for line in validators.itertuples()
    ]
    if not lines:
        return ""
    header = ["setting", "score", "over checkpoints", "over methods", "regret, %", "runs"]
    body = "Mean Spearman correlation with target accuracy, over the checkpoints of a run and over the methods of a "
    body += "task, and the mean accuracy lost against the best checkpoint.\n\n"
    body += wording.table(header, lines, align=["left", "left", *["right"] * 4])
    return wording.details("How well the label-free scores choose", body)
