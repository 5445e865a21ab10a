"""The report: a pure function from rows to text, byte for byte the same whatever the order of the rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from tabulate import tabulate

from dabench.core import Reference, Setting, Task
from dabench.evaluation import standings, statistics
from dabench.evaluation.standings import BENCH, BEST, CEILING, FLOOR, LAST
from dabench.report import plots
from dabench.results import provenance, store
from dabench.results.provenance import TODAY, Age
from dabench.results.searches import Study, Trial, searched_keys
from dabench.results.searches import chosen as chosen_trial

COLUMNS = list(dict.fromkeys([*standings.COLUMNS, *provenance.COLUMNS]))
_NONE = "-"
_GAPS = "gap-closed.svg"
_LAST_NAME = "last checkpoint"

_INTRO = """\
# Leaderboard

- **Numbers** are accuracy in percent on the target test images, mean ± 95 % t-interval over seeds, of the model \
at the {select}. Methods are compared inside one setting and one column only.
- **Bold**: not told apart from the best of its setting (paired over seeds and test images, Holm, 5 %); methods that \
share a letter are not told apart. ▼ significantly below source-only; ∅ a class is never predicted.
- **Gap closed** is (accuracy - source-only) / (oracle - source-only), blank where that gap is within the noise. \
Published numbers stand in columns of their own, same protocol and backbone only. [More](docs/reading.md).
"""


def load(results: Path) -> pd.DataFrame:
    """The stored rows with the columns that the report reads; lists and maps stay in Arrow, which is fast."""
    table = store.load(results, COLUMNS).combine_chunks()  # rows are picked from one chunk more quickly
    return table.to_pandas(types_mapper=lambda kind: pd.ArrowDtype(kind) if _is_long(kind) else None)


def _is_long(kind: pa.DataType) -> bool:
    return pa.types.is_nested(kind) or pa.types.is_binary(kind)


@dataclass(frozen=True)
class _Evidence:
    """Everything the sections draw from: rows on their benches and the code behind them, cells, choices."""

    rows: pd.DataFrame
    age: Age
    select: str
    cells: pd.DataFrame
    choices: standings.Choices
    validators: pd.DataFrame
    rankings: list[standings.Ranking]


def _evidence(rows: pd.DataFrame, age: Age = TODAY, select: str = LAST, studies: Sequence[Study] = ()) -> _Evidence:
    # The long columns are fetched once, when the rows have found their places.
    short = rows.drop(columns=standings.LONG).assign(at=np.arange(len(rows)))
    placed = standings.on_benches(standings.current(short, age.stale))
    placed = placed.assign(
        unchecked=standings.among(placed["key"], age.unchecked),
        searched=standings.among(placed["key"], searched_keys(studies)),
    )
    ok = placed[placed["status"] == "ok"].reset_index(drop=True)
    ok = pd.concat([ok, rows[standings.LONG].iloc[ok["at"]].set_axis(ok.index)], axis=1)
    chosen = standings.choices(ok)
    ok = ok.assign(figure=standings.figures(ok, chosen, select))
    table = standings.cells(ok)
    table = table.merge(ok.groupby(standings.CELL)["searched"].all().reset_index(), on=standings.CELL, how="left")
    bad = placed[placed["status"] != "ok"].assign(figure=np.nan)
    return _Evidence(
        rows=pd.concat([ok.drop(columns=standings.LONG), bad]) if len(bad) else ok,
        age=age,
        select=select,
        cells=table,
        choices=chosen,
        validators=standings.validators(ok, chosen),
        rankings=standings.rankings(table),
    )


def leaderboard(
    rows: pd.DataFrame,
    references: Sequence[Reference] = (),
    *,
    age: Age = TODAY,
    select: str = LAST,
    figures: str | None = None,
    studies: Sequence[Study] = (),
) -> str:
    """The Markdown of leaderboard.md.

    `rows` needs the columns COLUMNS of the store; `age` tells which of them today's code might not give again
    (`provenance.age` gives it); `select` is `last`, `oracle` or a validator's name.
    `studies` are the hyper-parameter searches, whose trials stand in a section of their own alone.
    `figures` is the folder to which the text links the SVGs of `figures()`, None for no links.
    """
    return _text(_evidence(rows, age, select, studies), rows, references, figures, studies)


def illustrated(
    rows: pd.DataFrame,
    references: Sequence[Reference],
    *,
    age: Age,
    select: str,
    figures: str,
    studies: Sequence[Study],
    tasks: Iterable[Task],
) -> tuple[str, dict[str, str]]:
    """`leaderboard`, with the `tasks` that have no row under it, and its `figures`, from one look at the rows."""
    evidence = _evidence(rows, age, select, studies)
    text = _text(evidence, rows, references, figures, studies)
    return text + _not_run(rows, tasks), _drawn(evidence.rankings)


def _text(
    evidence: _Evidence,
    rows: pd.DataFrame,
    references: Sequence[Reference],
    figures: str | None,
    studies: Sequence[Study],
) -> str:
    intro = _INTRO.format(select=_select_name(evidence.select))
    sections = [intro, _doubts(evidence), _overall(evidence, figures)]
    for family in sorted(evidence.rows["family"].unique()):
        sections.append(_family(family, evidence, references))
    if studies:
        sections.append(_tuning(studies, rows, evidence))
    return "\n".join(section for section in sections if section)


def _not_run(rows: pd.DataFrame, tasks: Iterable[Task]) -> str:
    """The tasks without a row, by the data that they need."""
    there = set(rows["task"])
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
        return _LAST_NAME
    if select == BEST:
        return "best checkpoint (chosen with target test labels: an upper bound, not a result)"
    return f"checkpoint that `{select}` chooses without target labels"


def _doubts(evidence: _Evidence) -> str:
    """Which shown rows today's code might not give again, and why."""
    keys = evidence.rows["key"].drop_duplicates()
    lines = []
    for sentence, reasons in (
        ("Stale: the {} changed since", evidence.age.stale),
        ("Not checked: the {} is not known here", evidence.age.unchecked),
    ):
        shown = keys.map(reasons).dropna()
        for what, count in shown.value_counts().sort_index().items():
            lines.append(f"> {sentence.format(what)} ({_count(count, 'row')} shown).")
    return "\n>\n".join(lines) + "\n" if lines else ""


def _overall(evidence: _Evidence, figures: str | None) -> str:
    lines, notes, links = [], [], []
    if figures is not None and _with_gaps(evidence.rankings):
        links.append(f"![Share of the gap that each method closes, by setting]({figures}/{_GAPS})\n")
    for ranking in evidence.rankings:
        setting = str(ranking.setting)
        for line in ranking.table.itertuples():
            alone = len(ranking.table) == 1
            lines.append(
                [
                    setting,
                    line.method,
                    _NONE if alone else _rank(line),
                    _percent(line.closed, 0, " %"),
                    str(len(ranking.shared)),
                    _seconds(line.seconds),
                    _number(line.ms_per_image, 2),
                ]
            )
            setting = ""
        notes += _ranking_notes(ranking)
        if figures is not None and _has_figure(ranking):
            name = _figure_name(ranking)
            links.append(f"![Mean ranks of the {ranking.setting} methods]({figures}/{name})\n")
    if not lines:
        return "No method has results yet.\n"
    header = ["setting", "method", "mean rank [95 %]", "gap closed", "tasks", "adaptation", "ms/image"]
    text = "## Overall\n\n"
    text += "Default hyper-parameters. Ranks run over the tasks that all methods of the setting have; intervals by "
    text += "bootstrap over tasks. Costs are means over the same tasks.\n\n"
    text += _table(header, lines, align=["left", "left", *["right"] * 5])
    return text + "\n".join([_bullets(notes), *links])


def figures(rows: pd.DataFrame, *, age: Age = TODAY, select: str = LAST) -> dict[str, str]:
    """The SVGs by file name: each method's gap closed, and mean ranks where three methods share three tasks or more."""
    return _drawn(_evidence(rows, age, select).rankings)


def _drawn(rankings: Sequence[standings.Ranking]) -> dict[str, str]:
    gaps = _with_gaps(rankings)
    drawn = {_GAPS: plots.saved(plots.gap_closed(gaps).figure, "svg").decode()} if gaps else {}
    return drawn | {
        _figure_name(ranking): statistics.critical_difference_svg(statistics.critical_difference(ranking.accuracy))
        for ranking in rankings
        if _has_figure(ranking)
    }


def _with_gaps(rankings: Sequence[standings.Ranking]) -> list[standings.Ranking]:
    """Those with a share of a gap to draw: a setting needs the oracle on a task that its methods share."""
    return [ranking for ranking in rankings if ranking.closed.notna().any(axis=None)]


def _has_figure(ranking: standings.Ranking) -> bool:
    return min(ranking.accuracy.shape) >= 3


def _figure_name(ranking: standings.Ranking) -> str:
    return f"ranks-{ranking.setting}.svg"


def _rank(line) -> str:
    if np.isnan(line.rank):
        return _NONE
    bounds = "" if np.isnan(line.low) else f" [{line.low:.1f}, {line.high:.1f}]"
    return f"{line.rank:.1f}{bounds}"


def _ranking_notes(ranking: standings.Ranking) -> list[str]:
    notes = []
    if ranking.lacking:
        missing = "; ".join(f"{name} (no {_names(methods)})" for name, methods in ranking.lacking.items())
        notes.append(f"**{ranking.setting}** is ranked without: {missing}.")
    if ranking.left_out:
        methods = _names(f"{method} ({count})" for method, count in ranking.left_out.items())
        notes.append(f"**{ranking.setting}** leaves out, with fewer than half of its tasks: {methods}.")
    return notes


def _family(family: str, evidence: _Evidence, references: Sequence[Reference]) -> str:
    rows = evidence.rows[(evidence.rows["family"] == family) & ~evidence.rows["searched"].astype(bool)]
    every_cell = evidence.cells[(evidence.cells["family"] == family) & ~evidence.cells["searched"]]
    parts = [f"## {family}\n"]
    beside = set()
    for values, bench_rows in _benches(rows):
        bench = dict(zip(BENCH, values, strict=True))
        inside = every_cell[(every_cell[BENCH] == pd.Series(bench)).all(axis=1)]
        # Published numbers stand beside the fullest bench of their protocol and backbone, which comes first.
        place = (bench["protocol"], bench["backbone"])
        published = _published(() if place in beside else references, bench, bench_rows)
        beside.add(place)
        parts.append(f"### {_bench_name(bench)}\n")
        if len(inside):
            parts.append(_accuracies(inside, published))
        parts.append(_bullets(_bench_notes(bench_rows, published)).lstrip("\n"))
        if len(inside):
            parts.append(_beside_accuracy(inside))
            parts.append(_costs(inside))
            parts.append(_selection(bench_rows, evidence.choices))
    parts.append(_validators(evidence.validators[evidence.validators["family"] == family]))
    return "\n".join(part for part in parts if part)


def _benches(rows: pd.DataFrame) -> list[tuple[tuple, pd.DataFrame]]:
    """The benches of a family, of each protocol and backbone the fullest first."""

    def order(item: tuple[tuple, pd.DataFrame]) -> tuple:
        bench = dict(zip(BENCH, item[0], strict=True))
        bounds = [-np.inf if bench[name] < 0 else -bench[name] for name in ("target_images", "labels")]
        return (bench["protocol"], bench["backbone"], -bench["budget"], *bounds, -bench["image_size"])

    return sorted(rows.groupby(BENCH, sort=True), key=order)


def _bench_name(bench: Mapping[str, Any]) -> str:
    parts = [f"protocol `{bench['protocol']}`", f"`{bench['backbone']}`", f"{bench['image_size']} px"]
    if bench["budget"] != 1:
        parts.append(f"budget {bench['budget']:g}")
    if bench["target_images"] >= 0:
        parts.append(f"{bench['target_images']} target images")
    if bench["labels"] >= 0:
        parts.append(f"{bench['labels']} labels a class where labels are used")
    return " · ".join(parts)


@dataclass(frozen=True)
class _Published:
    """Published numbers of one bench: text by (task, variant), and the sources in the order of their numbers."""

    text: dict[tuple[str, str], str]
    sources: list[str]

    @property
    def tasks(self) -> set[str]:
        return {task for task, _ in self.text}


def _published(references: Sequence[Reference], bench: Mapping[str, Any], rows: pd.DataFrame) -> _Published:
    tasks = set(rows["task"])
    fitting = sorted(
        (
            reference
            for reference in references
            if reference.task in tasks
            and (reference.protocol, reference.backbone) == (bench["protocol"], bench["backbone"])
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
    """The tables of a bench: a column for each task; below, a line for each whose camera is not as it stands."""
    usual = int(cells["seeds"].mode().max())
    moved = cells["task"].str.contains("[", regex=False) & ~cells["task"].isin(published.tasks)
    text = f"n = {_count(usual, 'seed')} unless given.\n\n"
    if not moved.all():
        text += _by_task(cells[~moved], published, usual)
    if moved.any():
        text += "\n" * (not moved.all()) + _by_camera(cells[moved], usual)
    return text


def _by_task(cells: pd.DataFrame, published: _Published, usual: int) -> str:
    """Methods grouped by setting, a column for each task."""
    tasks = _in_order(cells["task"])
    columns = [column for task in tasks for column in ((task, False), (task, True))[: 1 + (task in published.tasks)]]
    by_place = {(cell.task, cell.variant): _accuracy(cell, usual) for cell in cells.itertuples()}
    floor = cells.groupby("task")["before"].mean().dropna()
    by_place = {(task, FLOOR): f"{100 * value:.1f}" for task, value in floor.items()} | by_place
    order = _order(cells)
    if FLOOR not in set(cells["variant"]):
        order.insert(0, (str(Setting.SOURCE_ONLY), FLOOR))
    absent = sorted({variant for _, variant in published.text} - {variant for _, variant in order})
    order += [("published, not run", variant) for variant in absent]
    lines, shown = [], None
    for setting, variant in order:
        line = [setting if setting != shown else "", variant]
        for task, from_papers in columns:
            source = published.text if from_papers else by_place
            line.append(source.get((task, variant), "" if from_papers else _NONE))
        lines.append(line)
        shown = setting
    header = ["setting", "method", *(f"{task}, published" if paper else task for task, paper in columns)]
    return _table(header, lines, align=["left", "left", *["right"] * len(columns)])


def _by_camera(cells: pd.DataFrame, usual: int) -> str:
    """A line for each task: the points of a curve are many, its methods few."""
    by_place = {(cell.task, cell.variant): _accuracy(cell, usual) for cell in cells.itertuples()}
    variants = [variant for _, variant in _order(cells)]
    lines = [
        [task, *(by_place.get((task, variant), _NONE) for variant in variants)] for task in _in_order(cells["task"])
    ]
    return _table(["task", *variants], lines, align=["left", *["right"] * len(variants)])


def _in_order(tasks: pd.Series) -> list[str]:
    return sorted(tasks.unique(), key=_natural)


def _natural(name: str) -> list[str | float]:
    """A name's parts by which 30 comes before 120."""
    return [float(part) if at % 2 else part for at, part in enumerate(re.split(r"(\d+(?:\.\d+)?)", name))]


def _accuracy(cell, usual: int) -> str:
    text = f"{100 * cell.mean:.1f}" + ("" if np.isnan(cell.half) else f" ± {100 * cell.half:.1f}")
    text = f"**{text}**" if cell.best else text
    marks = [cell.letters, "▼" if cell.worse else "", "∅" if cell.collapsed else ""]
    marks.append(f"(n={cell.n})" if cell.n != usual else "")
    return " ".join([text, *(mark for mark in marks if mark)])


def _order(cells: pd.DataFrame) -> list[tuple[str, str]]:
    """Setting and variant of the lines of a bench: settings as in `Setting`, the better default variant first."""
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


def _bench_notes(rows: pd.DataFrame, published: _Published) -> list[str]:
    notes = []
    if published.sources:
        sources = "; ".join(f"[{number}] {source}" for number, source in enumerate(published.sources, 1))
        notes.append(f"Published: {_plain(sources)}.")
    for status in ("failed", "refused"):
        bad = rows[rows["status"] == status]
        for (variant, reason), group in bad.groupby(["variant", "reason"], sort=True):
            seeds = f", seeds {_names(sorted(group['seed'].unique()))}" if status == "failed" else ""
            tasks = _names(_in_order(group["task"]))
            notes.append(f"{status.capitalize()}: {variant} on {tasks}{seeds}: {_plain(reason)}")
    ok = rows[rows["status"] == "ok"]
    for partial, group in ok[ok["partial"] != ""].groupby("partial", sort=True):
        notes.append(f"Partial data on {_names(_in_order(group['task']))}: {_plain(partial)}")
    if len(ok) and ok["budget"].iloc[0] < 1:
        notes.append(f"Reduced budget: {ok['budget'].iloc[0]:g} of the steps a full run takes.")
    stale = ok[ok["stale"]]
    if len(stale):
        notes.append(f"Stale, made by other code than today's ({_count(len(stale), 'row')}): {_by_variant(stale)}.")
    unchecked = ok[ok["unchecked"]]
    if len(unchecked):
        notes.append(
            f"Not checked, their code is not here ({_count(len(unchecked), 'row')}): {_by_variant(unchecked)}."
        )
    unchosen = ok[ok["figure"].isna() & ok["accuracy"].notna()]
    if len(unchosen):
        notes.append(f"Without this score at their checkpoints, so not shown: {_by_variant(unchosen)}.")
    return notes


def _by_variant(rows: pd.DataFrame) -> str:
    groups = rows.groupby("variant", sort=True)["task"]
    return "; ".join(f"{variant} on {_names(_in_order(tasks))}" for variant, tasks in groups)


def _beside_accuracy(cells: pd.DataFrame) -> str:
    place = {line: position for position, line in enumerate(_order(cells))}
    cells = cells.assign(place=[place[line] for line in zip(cells["setting"], cells["variant"], strict=True)])
    lines, shown = [], None
    for cell in sorted(cells.itertuples(), key=lambda cell: (_natural(cell.task), cell.place)):
        lines.append(
            [
                "" if cell.task == shown else cell.task,
                cell.variant,
                "" if np.isnan(cell.half_both) else f"{100 * cell.mean:.1f} ± {100 * cell.half_both:.1f}",
                "" if cell.variant in (FLOOR, CEILING) else _percent(cell.closed, 0, " %"),
                _change(cell.source_before, cell.source_after, 100, 1),
                _change(cell.ece_before, cell.ece, 100, 1),
                _change(cell.nll_before, cell.nll, 1, 2),
            ]
        )
        shown = cell.task
    header = ["task", "method", "± over seeds and test images", "gap closed"]
    header += ["accuracy on source, %", "calibration error, %", "NLL, nat"]
    body = _table(header, lines, align=["left", "left", *["right"] * 5])
    return _details("Wider intervals, gap closed, forgetting on source and calibration (before → after)", body)


def _costs(cells: pd.DataFrame) -> str:
    costs = ["seconds", "ms_per_image", "peak_memory", "trained_parameters"]
    groups = cells.groupby(["setting", "variant"])
    means = groups[costs].mean().assign(tasks=groups.size()).loc[_order(cells)]
    lines = [
        [
            variant,
            str(int(mean.tasks)),
            _seconds(mean.seconds),
            _number(mean.ms_per_image, 2),
            _number(mean.peak_memory, 0),
            _number(mean.trained_parameters, 0, ","),
        ]
        for (_, variant), mean in zip(means.index, means.itertuples(), strict=True)
    ]
    header = ["method", "tasks", "adaptation", "ms/image", "peak memory, MiB", "trained parameters"]
    return _details("Cost (means over tasks)", _table(header, lines, align=["left", *["right"] * 5]))


def _selection(rows: pd.DataFrame, chosen: standings.Choices) -> str:
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
        [line["variant"], *(_percent(line[name], 1) for name in numbers), _percent(line["best"] - line["last"], 1)]
        for _, line in means.iterrows()
    ]
    header = ["method", _LAST_NAME, *names, "best (oracle)", "best - last"]
    body = "Mean accuracy over tasks of the checkpoint that each label-free score chooses. "
    body += "The best checkpoint needs target test labels.\n\n"
    body += _table(header, lines, align=["left", *["right"] * (len(header) - 1)])
    return _details("Choosing the checkpoint without target labels", body)


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
            _number(line.over_checkpoints, 2),
            _number(line.over_methods, 2),
            _percent(line.regret, 1),
            str(line.runs),
        ]
        for line in validators.itertuples()
    ]
    if not lines:
        return ""
    header = ["setting", "score", "over checkpoints", "over methods", "regret, %", "runs"]
    body = "Mean Spearman correlation with target accuracy, over the checkpoints of a run and over the methods of a "
    body += "task, and the mean accuracy lost against the best checkpoint.\n\n"
    body += _table(header, lines, align=["left", "left", *["right"] * 4])
    return _details("How well the label-free scores choose", body)


def _tuning(studies: Sequence[Study], rows: pd.DataFrame, evidence: _Evidence) -> str:
    """Each search: the default, the trial that its score chose, and the one that the target test labels would have."""
    shown = evidence.rows.drop_duplicates("key").set_index("key")
    shown = shown[shown["status"] == "ok"]
    scores = rows[rows["key"].isin(shown.index)]
    lines = []
    for study in sorted(
        studies, key=lambda study: (study.task, study.method, study.variant, study.select, repr(study))
    ):
        found = {
            trial: statistics.interval(shown["accuracy"].reindex(trial.keys))
            for trial in study.trials
            if shown.index.isin(trial.keys).sum() == len(trial.keys)
        }
        if not found:
            continue
        chosen = chosen_trial(study, scores)
        best = max(found, key=lambda trial: found[trial][0])
        start = study.trials[0]
        incomplete = len(study.trials) - len(found)
        lines.append(
            [
                _study_name(study),
                study.variant,
                f"{len(study.trials)}" + (f" ({incomplete} without result)" if incomplete else ""),
                str(len(study.seeds)),
                _trial(found.get(start)),
                _NONE if chosen is None else f"{_trial(found.get(chosen))} {_moved(chosen, study)}",
                study.select,
                f"{_trial(found[best])} {_moved(best, study)}",
            ]
        )
    if not lines:
        return ""
    text = "## Tuning\n\n"
    text += "Every method of a search is given as many trials, its default first; one without hyper-parameters has "
    text += "that alone. The label-free score named chooses by its mean over seeds at the last checkpoint. The oracle "
    text += "chooses by target test accuracy: an upper bound, not a result. Accuracy in percent, mean ± 95 % over "
    text += "seeds. [More](docs/tuning.md).\n\n"
    header = ["task", "method", "trials", "seeds", "default", "tuned by score", "score", "tuned by oracle"]
    return text + _table(header, lines, align=["left", "left", "right", "right", *["left"] * 4])


def _study_name(study: Study) -> str:
    """The task, with what tells the search from one under the task's usual conditions."""
    more = [f"budget {study.budget:g}"] if study.budget != 1 else []
    more += [f"{study.labels} labels a class"] if study.labels > 0 else []
    more += [f"{study.target_images} target images"] if study.target_images >= 0 else []
    return study.task + (f" ({', '.join(more)})" if more else "")


def _trial(found: tuple[float, float] | None) -> str:
    if found is None:
        return _NONE
    mean, half = found
    return f"{100 * mean:.1f}" + ("" if np.isnan(half) else f" ± {100 * half:.1f}")


def _moved(trial: Trial, study: Study) -> str:
    return "(default)" if trial == study.trials[0] else f"`{trial.variant.removeprefix(study.method)}`"


@dataclass(frozen=True)
class Summary:
    """One line of the table that ends a run; accuracies are fractions, `half` is nan for a single seed."""

    task: str
    method: str
    setting: str
    mean: float
    half: float
    n: int
    gain: float
    seconds: float


def summary_table(rows: pd.DataFrame) -> list[Summary]:
    """Each task and method variant of a run, settings from what sees least to most, better ones first."""
    cells = _evidence(rows).cells
    place = {str(setting): position for position, setting in enumerate(Setting)}
    cells = cells.assign(place=cells["setting"].map(place), lowest=-cells["mean"])
    cells = cells.drop_duplicates([*standings.CONDITIONS, "task", "variant", "mean"])  # floors stand on every bench
    cells = cells.sort_values(["place", "lowest", "variant"], kind="stable")
    return [
        Summary(cell.task, cell.variant, cell.setting, cell.mean, cell.half, cell.n, cell.gain, cell.seconds)
        for cell in sorted(cells.itertuples(), key=lambda cell: _natural(cell.task))
    ]


_EXPORTED = [
    *(*BENCH, "task", "setting", "method", "variant", "mean", "half", "n", "gain", "closed", "letters", "best"),
    *("worse", "collapsed", "nll", "ece", "source_before", "source_after", "seconds", "ms_per_image"),
]


def report_csv(rows: pd.DataFrame, *, select: str = LAST) -> str:
    """One line a cell, accuracies as fractions, with the flags and tie letters of the leaderboard."""
    return _evidence(rows, select=select).cells[_EXPORTED].to_csv(index=False, lineterminator="\n")


def report_json(rows: pd.DataFrame, *, select: str = LAST) -> str:
    """The lines of `report_csv` as a JSON list; what is not known is null."""
    cells = _evidence(rows, select=select).cells[_EXPORTED]
    return cells.to_json(orient="records", indent=1, double_precision=6, force_ascii=False) + "\n"


def report_latex(rows: pd.DataFrame, *, select: str = LAST) -> str:
    """A booktabs table for each bench: mean and interval, the best group bold, tie letters raised.

    A document that includes it needs \\usepackage{booktabs}.
    """
    evidence = _evidence(rows, select=select)
    parts = []
    for values, _ in _benches(evidence.rows):
        bench = dict(zip(BENCH, values, strict=True))
        cells = evidence.cells[(evidence.cells[BENCH] == pd.Series(bench)).all(axis=1)]
        if len(cells):
            parts.append(_latex_table(f"{bench['family']}, {_bench_name(bench)}", cells))
    return "\n".join(parts)


def _latex_table(caption: str, cells: pd.DataFrame) -> str:
    tasks = _in_order(cells["task"])
    by_place = {(cell.task, cell.setting, cell.variant): _latex_accuracy(cell) for cell in cells.itertuples()}
    lines, shown = [], None
    for setting, variant in _order(cells):
        if shown not in (None, setting):
            lines.append(r"\midrule")
        numbers = [by_place.get((task, setting, variant), "--") for task in tasks]
        name = "" if setting == shown else setting
        lines.append(" & ".join([_latex_text(name), _latex_text(variant), *numbers]) + r" \\")
        shown = setting
    head = " & ".join(["setting", "method", *map(_latex_text, tasks)]) + r" \\"
    frame = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex_text(caption)}. Mean and 95\,\% interval over seeds, in percent.}}",
        rf"\begin{{tabular}}{{ll{'r' * len(tasks)}}}",
        *(r"\toprule", head, r"\midrule", *lines, r"\bottomrule"),
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(frame) + "\n"


def _latex_accuracy(cell) -> str:
    number = f"{100 * cell.mean:.1f}" + ("" if np.isnan(cell.half) else rf" \pm {100 * cell.half:.1f}")
    number = rf"\mathbf{{{number}}}" if cell.best else number
    letters = rf"^{{\mathrm{{{cell.letters}}}}}" if cell.letters else ""
    return f"${number}{letters}$"


def _latex_text(text: str) -> str:
    """Text with LaTeX's special characters escaped; Markdown's code marks are dropped."""
    special = {character: f"\\{character}" for character in "&%$#_{}"}
    special |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": ""}
    return "".join(special.get(character, character) for character in text).replace("·", r"$\cdot$")


def _table(header: Sequence[str], lines: Sequence[Sequence[str]], align: Sequence[str]) -> str:
    escaped = [[str(text).replace("|", "\\|") for text in line] for line in lines]
    return tabulate(escaped, header, tablefmt="github", disable_numparse=True, colalign=align) + "\n"


def _details(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{body}\n</details>\n"


def _bullets(notes: Sequence[str]) -> str:
    return "\n" + "\n".join(f"- {note}" for note in notes) + "\n" if notes else ""


def _plain(text: str) -> str:
    """Text on one line that Markdown cannot take for a tag."""
    return " ".join(str(text).split()).replace("<", "&lt;")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + "s" * (number != 1)


def _names(names) -> str:
    return ", ".join(str(name) for name in names)


def _number(value: float, digits: int, thousands: str = "") -> str:
    return _NONE if np.isnan(value) else f"{value:{thousands}.{digits}f}"


def _percent(value: float, digits: int, unit: str = "") -> str:
    return "" if np.isnan(value) else f"{100 * value:.{digits}f}{unit}"


def _seconds(value: float) -> str:
    return _NONE if np.isnan(value) else f"{value:.1f} s" if value < 100 else f"{value / 60:.1f} min"


def _change(before: float, after: float, scale: float, digits: int) -> str:
    if np.isnan(before) and np.isnan(after):
        return ""
    return f"{_number(scale * before, digits)} → {_number(scale * after, digits)}"
