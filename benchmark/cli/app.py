"""The command line: reads what a person asks for, lets the other modules do it, and says what came out.

Exit codes: 0 all fine, 1 some cells failed, 2 the request was wrong, 130 interrupted. Heavy modules are imported
where a command needs them, so that help, lists and mistyped names answer at once.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import traceback
from collections import Counter
from collections.abc import Collection, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dabench.core import DabenchError, MissingData, nearest

if TYPE_CHECKING:
    import pandas as pd

    from dabench.core import Task
    from dabench.results.provenance import Age
    from dabench.run.plan import Place, Planned

ALL = -1  # as in dabench.plan, which is not imported for help
MOST_WORKERS = 8

app = typer.Typer(
    name="dabench",
    help="Benchmark suite and leaderboard for domain adaptation of image classifiers.",
    epilog="Start with `dabench run` and `dabench report`. With --debug anywhere, errors show their traceback.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
lists = typer.Typer(help="List the known tasks or methods.", no_args_is_help=True)
datasets = typer.Typer(help="See which data sets are here, and fetch them.", no_args_is_help=True)
app.add_typer(lists, name="list")
app.add_typer(datasets, name="data")

out = Console(highlight=False, soft_wrap=True)
err = Console(highlight=False, soft_wrap=True, stderr=True)


def _data_root() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("dabench") / "data"


def _cache_root() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("dabench")


Tasks = Annotated[str, typer.Option(help="all, a family, names, name[angle=90], globs, a .toml or .py file.")]
Methods = Annotated[str, typer.Option(help="all, names, name[lr=0.003,depth=7], a .py file; comma-separated.")]
Results = Annotated[Path, typer.Option(help="Folder of the result rows.")]
Data = Annotated[Path, typer.Option(envvar="DABENCH_DATA", help="Folder of the data sets.", default_factory=_data_root)]
Cache = Annotated[
    Path,
    typer.Option(envvar="DABENCH_CACHE", help="Folder of source models.", default_factory=_cache_root),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits; a user's mistake is one line on stderr and exit code 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        app(args=sorted(given, key=lambda argument: argument != "--debug"), prog_name="dabench")
    except (DabenchError, OSError) as error:
        if debug:
            traceback.print_exc()
        else:
            err.print(f"error: {error}", markup=False)
        sys.exit(2)


@app.callback()
def _options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    context.obj = debug


# ------------------------------------------------------------------------------------------------------- run


@app.command()
def run(
    context: typer.Context,
    data: Data,
    cache: Cache,
    tasks: Tasks = "quick",
    methods: Methods = "all",
    seeds: Annotated[str, typer.Option(help="How many (3), or which (0,1,2; a single one: 5,).")] = "3",
    budget: Annotated[float, typer.Option(help="Share of each task's training steps.")] = 1.0,
    backbone: Annotated[str | None, typer.Option(help="One of dabench's networks or any of timm's.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the images, in pixels.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Which images adapt and score; else the task's first.")] = None,
    labels: Annotated[str, typer.Option(help="Target labels a class for who sees them: 1,3,10,all.")] = "all",
    target_images: Annotated[int | None, typer.Option(help="Bound on the target images that adapt.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:0.")] = "auto",
    workers: Annotated[int | None, typer.Option(help="Cells at once; else by the cores, and 1 on a GPU.")] = None,
    results: Results = Path("results"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Run stored cells again.")] = False,
) -> None:
    """Run every method on every task that is not stored yet, and store each row the moment it ends."""
    from dabench import registry
    from dabench.run import plan

    request = plan.Request(
        tasks=registry.tasks(tasks),
        methods=registry.methods(methods),
        seeds=_seeds(seeds),
        budget=_at_least(budget, 1e-6, "--budget", "above 0, such as 1"),
        backbone=backbone,
        image_size=None if image_size is None else _at_least(image_size, 8, "--image-size", "of 8 pixels or more"),
        protocol=protocol,
        labels=_label_budgets(labels),
        target_images=ALL if target_images is None else _at_least(target_images, 1, "--target-images", "of 1 or more"),
    )
    if workers is not None:
        _at_least(workers, 1, "--workers", "of 1 or more")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise DabenchError(f"no device '{device}'; choose auto, cpu, cuda or cuda:0")
    try:
        planned = plan.plan(request, data, cache, results, force=force)
        waiting = sum(each.state is plan.State.RUN for each in planned)
        if backbone is not None and waiting:
            from dabench import models

            models.check_name(backbone)
        place, workers = _place(device, workers, waiting, data, cache)
        _say_what_was_set_aside(results)
        if dry_run:
            _print_plan(planned, plan.seconds_expected(planned, results), workers)
            _say_what_is_stale(planned, results)
            failed = False
        else:
            _print_groups(planned, (plan.State.REFUSED, plan.State.MISSING))
            failed = _carry_out(planned, place, workers, results, context.obj)
    except KeyboardInterrupt:
        err.print("interrupted: finished cells are kept; the same command goes on where this one stopped")
        raise typer.Exit(130) from None
    if all(each.state is plan.State.MISSING for each in planned):
        raise typer.Exit(2)
    raise typer.Exit(1 if failed else 0)


def _seeds(text: str) -> tuple[int, ...]:
    """`3` is 0, 1, 2; `4,7` is 4 and 7; `5,` is 5 alone."""
    if re.fullmatch(r"[1-9]\d*", text):
        return tuple(range(int(text)))
    if re.fullmatch(r"\d+(,\d+)*,?", text) and "," in text:
        return tuple(dict.fromkeys(int(part) for part in text.split(",") if part))
    raise DabenchError(f"--seeds {text}: give a count above 0 such as 3, or seeds such as 0,1,2")


def _label_budgets(text: str) -> tuple[int, ...]:
    budgets = [part.strip() for part in text.split(",")]
    if all(re.fullmatch(r"all|[1-9]\d*", part) for part in budgets):
        return tuple(dict.fromkeys(ALL if part == "all" else int(part) for part in budgets))
    raise DabenchError(f"--labels {text}: give counts a class above 0, or all, such as 1,3,10,all")


def _at_least(value: Any, least: Any, option: str, wanted: str) -> Any:
    if not least <= value < math.inf:
        raise DabenchError(f"{option} {value}: give a number {wanted}")
    return value


def _place(device: str, workers: int | None, waiting: int, data: Path, cache: Path) -> tuple[Place, int]:
    """Where the cells are computed and how many at once.

    A worker's threads do not depend on how many cells are left, so that a cell run alone gives the same bits.
    """
    from dabench.run.plan import Place

    device = _device(device, needed=waiting > 0)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = workers or (1 if device != "cpu" else min(cores, MOST_WORKERS))
    return Place(device, max(1, cores // most), data, cache), max(1, min(most, waiting))


def _device(name: str, *, needed: bool) -> str:
    if name == "cpu" or (name == "auto" and not needed):
        return "cpu"
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda:0" if count else "cpu"
    index = int(name.partition(":")[2] or 0)
    if index >= count:
        raise DabenchError(f"no device '{name}': torch sees {count} CUDA devices here; use --device cpu or auto")
    return f"cuda:{index}"


def _carry_out(planned: Sequence[Planned], place: Place, workers: int, results: Path, debug: bool) -> bool:
    """Runs what is to run, shows it and what is known now; returns whether cells failed."""
    from dabench.cli import display
    from dabench.results import store
    from dabench.run import sweep
    from dabench.run.plan import State

    store.check_writable(results)
    waiting = sum(each.state is State.RUN for each in planned)
    cached = sum(each.state is State.CACHED for each in planned)
    out.print(f"{waiting} cells to run, {cached} stored already, {workers} at once on {place.device}")
    with display.watching(waiting, out) as listen:
        ended = sweep.run(planned, place, results, workers=workers, listen=listen)
    keys = {each.key for each in planned}
    rows = [row for row in store.load(results, display.SUMMARY_COLUMNS).to_pylist() if row["key"] in keys]
    if any(row["status"] == "ok" for row in rows):
        out.print()
        out.print(display.summary(rows))
        where = "" if results == Path("results") else f" --results {results}"
        out.print(f"\nnext: dabench report{where}")
        if len({each.identity["task"] for each in planned}) == 1:
            _advise(results, keys)
    failed = [each for each in ended if each.row and each.row["status"] == "failed"]
    if failed:
        err.print(f"{len(failed)} of {len(ended)} cells failed; the same command tries them again:")
    for each in failed:
        err.print(f"  {each.planned.label}: {each.reason}", markup=False)
        if debug:
            err.print(each.trace, markup=False)
    return bool(failed)


def _advise(results: Path, keys: Collection[str]) -> None:
    """After a run on one task, what its rows recommend in words."""
    from dabench.report import advice
    from dabench.results import store

    rows = store.frame(results, advice.COLUMNS)
    sentences = advice.advise(rows[rows["key"].isin(list(keys))])
    if sentences:
        out.print("\n" + "\n".join(sentences), markup=False)


def _say_what_was_set_aside(results: Path) -> None:
    from dabench.results import store

    for path in store.corrupt(results):
        err.print(f"warning: {path} could not be read and was set aside; its cells run again", markup=False)


def _print_plan(planned: Sequence[Planned], seconds: float | None, workers: int) -> None:
    from dabench.cli import display
    from dabench.run.plan import State

    _print_groups(planned, tuple(State))
    counts = ", ".join(f"{sum(each.state is state for each in planned)} {state}" for state in State)
    time = "time unknown: no past rows" if seconds is None else f"about {display.duration(seconds / workers)}"
    out.print(f"{len(planned)} cells: {counts}; {time}, {workers} at once")


def _say_what_is_stale(planned: Sequence[Planned], results: Path) -> None:
    from dabench.results import provenance
    from dabench.run.plan import State

    stale = provenance.age(results).stale
    count = sum(each.state is State.CACHED and each.key in stale for each in planned)
    if count:
        out.print(f"{count} of the cached cells are stale, made by other code; --force runs cached cells again")


def _print_groups(planned: Sequence[Planned], states: Sequence[str]) -> None:
    """A line for each task, state and reason: the methods, and how many cells each."""
    groups: dict[tuple[str, str, str], Counter[str]] = {}
    for each in planned:
        if each.state in states:
            group = groups.setdefault((each.identity["task"], each.state, each.reason), Counter())
            group[each.cell.variant.label] += 1
    for (task, state, reason), methods in groups.items():
        names = ", ".join(f"{name} x{count}" if count > 1 else name for name, count in methods.items())
        out.print(f"{state:<8} {task}: {names}{reason and ': '}{reason}", markup=False)


# ---------------------------------------------------------------------------------------------------- report


class Format(StrEnum):
    """What `dabench report` writes."""

    md = "md"
    csv = "csv"
    json = "json"
    latex = "latex"


Pictures = Annotated[bool, typer.Option("--pictures", help="Show examples of data whose licence forbids to publish.")]


@app.command()
def report(
    data: Data,
    cache: Cache,
    results: Results = Path("results"),
    output: Annotated[Path | None, typer.Option(help="File, figures beside it; else leaderboard.<format>.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 where the file would differ.")] = False,
    format: Annotated[Format, typer.Option(help="The leaderboard, its tables, or the rows behind it.")] = Format.md,
    select: Annotated[str, typer.Option(help="Checkpoint that counts: last, oracle or a label-free score.")] = "last",
    site: Annotated[Path | None, typer.Option(help="Folder to write a site into, instead of a file.")] = None,
    pictures: Pictures = False,
) -> None:
    """Write leaderboard.md and its figures, or a site, from the stored rows."""
    if site is not None:
        from dabench.report import site as sites

        made = sites.build(results, data, cache, pictures=pictures)
        _say_what_was_set_aside(results)
        sites.write(site, made)
        size = sum(map(len, made.values())) / 1e6
        out.print(f"{site / 'index.html'}: {len(made)} files, {size:.1f} MB; open it in a browser", markup=False)
        return
    import pyarrow as pa

    from dabench.results import provenance

    rows = _rows(format, results)
    age = provenance.age_of(pa.Table.from_pandas(rows[list(provenance.COLUMNS)], preserve_index=False))
    figures = output.with_name(f"{output.stem}-figures") if output else results / "figures"
    output = output or Path("leaderboard.tex" if format is Format.latex else f"leaderboard.{format}")
    files = _rendered(format, rows, results, output, figures, age, select)
    _say_what_was_set_aside(results)
    for words in provenance.summary(age):
        err.print(f"note: {words}", markup=False)
    if not check:
        for file, text in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        out.print(", ".join(str(file) for file in files), markup=False)
        return
    wrong = [file for file, text in files.items() if not file.is_file() or file.read_text() != text]
    for file in wrong:
        err.print(f"{file} is not what {results} gives; write it anew with `dabench report`", markup=False)
    raise typer.Exit(1 if wrong else 0)


def _rows(format: Format, results: Path) -> pd.DataFrame:
    """The stored rows, with the columns that the format asks for; raises DabenchError where there are none."""
    from dabench.report import markdown as reports
    from dabench.results import store

    if format in (Format.md, Format.latex):
        rows = reports.load(results)
    else:
        rows = store.frame(results, (name for name in store.SCHEMA.names if store.SCHEMA.field(name).type != "binary"))
    if rows.empty:
        raise DabenchError(f"no rows in {results}; start with `dabench run`, or name the folder with --results")
    return rows


def _rendered(
    format: Format, rows: pd.DataFrame, results: Path, output: Path, figures: Path, age: Age, select: str
) -> dict[Path, str]:
    """Each file that the rows give, and its text."""
    from dabench import registry
    from dabench.report import markdown as reports
    from dabench.results import searches

    if format is Format.csv:
        return {output: rows.to_csv(index=False)}
    if format is Format.json:
        return {output: rows.to_json(orient="records", indent=1) + "\n"}
    if format is Format.latex:
        return {output: reports.report_latex(rows)}
    text, drawn = reports.illustrated(
        rows,
        registry.references(),
        age=age,
        select=select,
        figures=Path(os.path.relpath(figures, output.parent)).as_posix(),
        studies=searches.read(results),
        tasks=registry.known_tasks().values(),
    )
    return {output: text, **{figures / name: svg for name, svg in drawn.items()}}


@app.command()
def serve(
    data: Data,
    cache: Cache,
    results: Results = Path("results"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free one.")] = 8000,
    pictures: Pictures = False,
) -> None:
    """Show the site on this machine; it follows a sweep that is running."""
    from dabench.report import site

    server = site.server(
        lambda: site.build(results, data, cache, pictures=pictures), lambda: site.version(results), port
    )
    out.print(f"http://127.0.0.1:{server.server_port}/ shows {results}; stop with Ctrl-C", markup=False)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


# ------------------------------------------------------------------------------------------- list, show, data


@lists.command("tasks")
def list_tasks(as_json: AsJson = False) -> None:
    """Every task, its family, and its default protocol and network."""
    from dabench import registry

    known = registry.known_tasks().values()
    if as_json:
        facts = [
            {
                "name": task.name,
                "family": task.family,
                "classes": task.num_classes,
                "image_shape": task.image_shape,
                "backbone": task.backbone,
                "protocols": [protocol.name for protocol in task.protocols],
                "steps": task.recipe.steps,
                "datasets": task.datasets,
                "licence": task.licence,
                "citation": task.citation,
                "note": task.note,
            }
            for task in known
        ]
        print(json.dumps(facts, indent=2))
        return
    lines = [(task.name, task.family, task.backbone, _protocol_names(task), task.note) for task in known]
    _print_table(("task", "family", "backbone", "protocols", "note"), lines)


def _protocol_names(task: Task) -> str:
    return ", ".join(protocol.name for protocol in task.protocols)


@lists.command("methods")
def list_methods(as_json: AsJson = False) -> None:
    """Every method, its setting, its hyper-parameters and where it is from."""
    from dabench import registry

    known = [registry.describe(file) for _, file in sorted(registry.method_files().items())]
    if as_json:
        facts = [
            {
                "name": method.name,
                "setting": method.setting,
                "claim": method.claim,
                "paper": method.paper,
                "parameters": method.parameters,
                "file": str(method.file),
            }
            for method in known
        ]
        print(json.dumps(facts, indent=2))
        return
    lines = [
        (
            method.name,
            method.setting,
            method.paper,
            ", ".join(f"{name}={value}" for name, value in method.parameters.items()),
        )
        for method in known
    ]
    _print_table(("method", "setting", "paper", "hyper-parameters"), lines)


def _print_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    table = Table(*header, box=None, pad_edge=False, header_style="bold")
    for line in lines:
        table.add_row(*(Text(cell) for cell in line))
    # A table that is read by a program is not folded to the width of a screen.
    Console(highlight=False, width=None if out.is_terminal else 400).print(table)


@app.command()
def show(
    what: Annotated[str, typer.Argument(metavar="TASK/METHOD", help="As mnist-usps/dann, or with [lr=0.003].")],
    results: Results = Path("results"),
) -> None:
    """Show every row of a method on a task: numbers, parameters, provenance."""
    from dabench.results import store

    task, slash, variant = what.partition("/")
    if not slash:
        raise DabenchError(f"cannot read '{what}'; write TASK/METHOD, such as mnist-usps/dann")
    rows = [row for row in store.load(results).to_pylist() if row["task"] == task]
    known = sorted({row["variant"] for row in rows})
    rows = [row for row in rows if variant in (row["method"], row["variant"])]
    if not rows:
        there = f"stored for it: {', '.join(known)}" if known else "nothing is stored for this task"
        raise DabenchError(f"no rows of '{variant}' on '{task}' in {results}; {there}")
    for row in rows:
        out.print(Text(f"{row['task']} · {row['variant']} · seed {row['seed']} · {row['status']}", style="bold"))
        for name, value in row.items():
            if value not in (None, "", []) and name != "predictions":
                out.print(f"  {name:<20} {_readable(value)}", markup=False)


def _readable(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(_readable(each) for each in value)
    if isinstance(value, tuple):
        return " ".join(_readable(each) for each in value)
    return str(value)


Seeds = Annotated[str, typer.Option(help="How many (3), or which (0,1,2; a single one: 5,).")]
Backbone = Annotated[str | None, typer.Option(help="One of dabench's networks or any of timm's.")]
ImageSize = Annotated[int | None, typer.Option(help="Side of the images, in pixels.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:0.")]
Workers = Annotated[int | None, typer.Option(help="Cells at once; else by the cores, and 1 on a GPU.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")]


@app.command()
def curve(
    context: typer.Context,
    task: Annotated[str, typer.Argument(help="One task, such as imagenet-rotated.")],
    data: Data,
    cache: Cache,
    parameter: Annotated[str, typer.Option(help="A camera's number, labels, target_images, or a method's.")] = "angle",
    values: Annotated[
        str | None, typer.Option(help="0:360:10 (both ends inside), or 0.05,0.2; counts: 1,10,all.")
    ] = None,
    methods: Annotated[str | None, typer.Option(help="As for run; else source_only, or those that count.")] = None,
    seeds: Seeds = "1",
    budget: Annotated[float, typer.Option(help="Share of each task's training steps.")] = 1.0,
    backbone: Backbone = None,
    image_size: ImageSize = None,
    protocol: Annotated[str | None, typer.Option(help="Which images adapt and score; else the task's first.")] = None,
    device: Device = "auto",
    workers: Workers = None,
    results: Results = Path("results"),
    dry_run: DryRun = False,
) -> None:
    """Draw accuracy against severity, target labels or images, or a hyper-parameter, into results/curves."""
    from dabench import registry
    from dabench.results import store
    from dabench.run import curves, plan

    if values is None and parameter not in curves.DEFAULT_VALUES:
        raise DabenchError(f"--parameter {parameter} needs --values, such as 0.05,0.2,0.6")
    request = plan.Request(
        tasks=(),
        methods=(),
        seeds=_seeds(seeds),
        budget=_at_least(budget, 1e-6, "--budget", "above 0, such as 1"),
        backbone=backbone,
        image_size=None if image_size is None else _at_least(image_size, 8, "--image-size", "of 8 pixels or more"),
        protocol=protocol,
    )
    found = registry.tasks(task)
    if len(found) != 1:
        raise DabenchError(f"a curve is drawn on one task, and '{task}' names {len(found)}")
    drawn = curves.curve(
        found[0],
        registry.methods(methods or curves.DEFAULT_METHODS.get(parameter, "source_only")),
        parameter,
        curves.values(values or curves.DEFAULT_VALUES[parameter], parameter),
        request,
        lambda each: plan.plan(each, data, cache, results),
    )
    failed = _carry_out_unless_dry(
        [each for _, each in drawn.cells], device, workers, data, cache, results, dry_run, context
    )
    if not dry_run:
        for path in curves.write(results, drawn, store.load(results, curves.COLUMNS).to_pylist()):
            out.print(str(path), markup=False)
    raise typer.Exit(1 if failed else 0)


@app.command()
def reproduce(
    context: typer.Context,
    paper: Annotated[str, typer.Argument(help="adapternet, nogrl, activation-shaping or lectures.")],
    data: Data,
    cache: Cache,
    scale: Annotated[float, typer.Option(help="Share of each task's training steps.")] = 1.0,
    seeds: Annotated[
        str | None, typer.Option(help="As for run; else as many as the paper's protocol asks for.")
    ] = None,
    backbone: Backbone = None,
    image_size: ImageSize = None,
    device: Device = "auto",
    workers: Workers = None,
    results: Results = Path("results"),
    dry_run: DryRun = False,
    only_report: Annotated[bool, typer.Option("--only-report", help="Run nothing: judge what is stored.")] = False,
) -> None:
    """Run a founding paper's own experiments and judge each of its claims, in results/reproductions."""
    from dabench.papers import page as reproductions

    study = reproductions.study(paper, data, backbone, image_size)
    for words in study.substitutions:
        out.print(f"substitution: {words}", markup=False)
    scale = _at_least(scale, 1e-6, "--scale", "above 0, such as 1")
    planned = reproductions.plan_study(study, scale, None if seeds is None else _seeds(seeds), data, cache, results)
    stop = typer.Exit(0)
    if not only_report:
        try:
            if _carry_out_unless_dry(planned.cells, device, workers, data, cache, results, dry_run, context):
                stop = typer.Exit(1)
            if not dry_run:
                reproductions.draw(planned, _place(device, workers, 1, data, cache)[0], results)
        except (typer.Exit, KeyboardInterrupt):  # the page then says what has not been run
            stop = typer.Exit(130)
    if not dry_run:
        text, path = reproductions.write(planned, data, cache, results)
        out.print(f"\n{text}\n{path}", markup=False)
    raise stop


def _carry_out_unless_dry(
    planned: Sequence[Planned],
    device: str,
    workers: int | None,
    data: Path,
    cache: Path,
    results: Path,
    dry_run: bool,
    context: typer.Context,
) -> bool:
    """Shows the plan, or runs what is not stored; returns whether cells failed."""
    from dabench.run import plan

    if workers is not None:
        _at_least(workers, 1, "--workers", "of 1 or more")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise DabenchError(f"no device '{device}'; choose auto, cpu, cuda or cuda:0")
    waiting = sum(each.state is plan.State.RUN for each in planned)
    place, workers = _place(device, workers, waiting, data, cache)
    _say_what_was_set_aside(results)
    try:
        if dry_run:
            _print_plan(planned, plan.seconds_expected(tuple(planned), results), workers)
            return False
        _print_groups(planned, (plan.State.REFUSED, plan.State.MISSING))
        return _carry_out(planned, place, workers, results, context.obj)
    except KeyboardInterrupt:
        err.print("interrupted: finished cells are kept; the same command goes on where this one stopped")
        raise typer.Exit(130) from None


@datasets.command("status")
def data_status(data: Data) -> None:
    """Which data sets are here, how large the others are, and their licences."""
    from dabench.data.datasets import DATASETS

    lines = []
    for dataset in DATASETS.values():
        try:
            dataset.files(data)
            state = "here"
        except MissingData:
            state = f"missing ({dataset.size})" if dataset.download else "missing (fetch it yourself)"
        lines.append((dataset.name, state, dataset.licence, dataset.homepage))
    out.print(f"data root: {data}", markup=False)
    _print_table(("data set", "state", "licence", "from"), lines)


@datasets.command("download")
def data_download(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names that `dabench data status` lists.")],
    data: Data,
) -> None:
    """Fetch data sets into the data root."""
    from dabench.data.datasets import DATASETS

    downloads = {}
    for name in names:
        if name not in DATASETS:
            raise DabenchError(f"no data set '{name}'; {nearest(name, DATASETS)}")
        download = DATASETS[name].download
        if download is None:
            raise DabenchError(f"'{name}' cannot be fetched for you; see {DATASETS[name].homepage}")
        downloads[name] = download
    for name, download in downloads.items():
        data.mkdir(parents=True, exist_ok=True)
        download(data)
        DATASETS[name].files(data)
        out.print(f"{name} is in {data}", markup=False)


# ------------------------------------------------------------------------------------------------ tune, verify


@app.command()
def tune(
    data: Data,
    cache: Cache,
    tasks: Tasks = "quick",
    methods: Methods = "all",
    trials: Annotated[int, typer.Option(help="Settings tried for each method on each task, its default first.")] = 20,
    select: Annotated[str, typer.Option(help="Label-free score that chooses among the trials.")] = "corr_c",
    seeds: Annotated[str, typer.Option(help="How many (3), or which (0,1,2; a single one: 5,).")] = "3",
    budget: Annotated[float, typer.Option(help="Share of each task's training steps.")] = 1.0,
    labels: Annotated[str, typer.Option(help="Target labels a class for who sees them: a count or all.")] = "all",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:0.")] = "auto",
    workers: Annotated[int | None, typer.Option(help="Cells at once; else by the cores, and 1 on a GPU.")] = None,
    results: Results = Path("results"),
) -> None:
    """Search every method's hyper-parameters without target labels: equal trials, chosen by a label-free score."""
    from dabench import registry
    from dabench.cli import display
    from dabench.results import searches, store
    from dabench.run import plan, tune

    request = plan.Request(
        tasks=registry.tasks(tasks),
        methods=registry.methods(methods),
        seeds=_seeds(seeds),
        budget=_at_least(budget, 1e-6, "--budget", "above 0, such as 1"),
        labels=_label_budgets(labels)[:1],
    )
    _at_least(trials, 1, "--trials", "of 1 or more")
    tune.check_score(select, request.methods)
    most = trials * len(request.tasks) * len(request.methods) * len(request.seeds)
    place, workers = _place(device, workers, most, data, cache)
    store.check_writable(results)
    _print_groups(plan.plan(request, data, cache, results), (plan.State.REFUSED, plan.State.MISSING))
    with display.watching(most, out) as listen:
        found = tune.tune(request, place, results, trials=trials, select=select, workers=workers, listen=listen)
    rows = store.frame(results, ["key", "status", "checkpoint_scores"])
    chosen = [searches.chosen(study, rows) for study in found]
    _print_table(
        ("task", "method", "trials", f"chosen by {select}"),
        [
            (study.task, study.variant, str(len(study.trials)), trial.variant if trial else "no trial has a score")
            for study, trial in zip(found, chosen, strict=True)
        ],
    )


@app.command()
def verify(
    data: Data,
    cache: Cache,
    what: Annotated[str, typer.Argument(metavar="[TASK/METHOD]", help="As mnist-usps/dann; else any row.")] = "",
    sample: Annotated[int, typer.Option(help="How many of the rows to run again.")] = 5,
    draw: Annotated[int, typer.Option(help="Another number draws another sample.")] = 0,
    tasks: Tasks = "all",
    methods: Methods = "all",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:0.")] = "auto",
    results: Results = Path("results"),
) -> None:
    """Run stored cells again and compare: exit 0 where all agree, 1 where one differs, 2 where none can be compared."""
    from dabench import registry
    from dabench.run import verify

    task, slash, variant = what.partition("/")
    if what and not slash:
        raise DabenchError(f"cannot read '{what}'; write TASK/METHOD, such as mnist-usps/dann")
    _at_least(sample, 1, "--sample", "of 1 or more")
    place, _ = _place(device, 1, 1, data, cache)
    files = {variant.name: variant.file for variant in registry.methods(methods)}
    verdicts = []
    for check in verify.verify(
        results, place, registry.tasks(tasks), files, task=task, variant=variant, sample=sample, draw=draw
    ):
        verdicts.append(check)
        out.print(f"{check.verdict:<16} {check.label}{check.words and ': '}{check.words}", markup=False)
    if not any(check.compared for check in verdicts):
        raise DabenchError("no row could be compared; see the reasons above, and `dabench run --force` for stale ones")
    raise typer.Exit(1 if any(check.verdict is verify.Verdict.DIFFERENT for check in verdicts) else 0)


class Figures(StrEnum):
    """What `dabench plot` draws."""

    labels = "labels"
    cost = "cost"
    ranks = "ranks"
    validators = "validators"


@app.command()
def plot(
    figure: Annotated[Figures, typer.Argument(help="What to draw.")],
    what: Annotated[str, typer.Argument(metavar="NAME", help="Task (labels, cost), setting (ranks) or family.")],
    results: Results = Path("results"),
    output: Annotated[Path | None, typer.Option(help="File ending in .svg, .png or .pdf.")] = None,
) -> None:
    """Draw a figure of stored rows, and print its table."""
    from dabench.report import markdown as reports
    from dabench.report import plots

    drawn = plots.drawn(figure, reports.load(results), what)
    output = output or results / "figures" / f"{figure}-{what}.svg"
    plots.write(drawn, output)
    _print_table(drawn.header, drawn.lines)
    out.print(*(words for words in (drawn.words, str(output)) if words), sep="\n", markup=False)


# ----------------------------------------------------------------------------------------------------- check


@app.command()
def check(
    file: Annotated[str, typer.Argument(help="A method's file, or the name of a known method.")],
) -> None:
    """Run the contract tests on a method, such as your own before a pull request."""
    from dabench import registry
    from dabench.authoring import contract

    passed = True
    for variant in registry.methods(file):
        out.print(Text(variant.label, style="bold"))
        for promise in contract.CHECKS:
            kept, words = contract.outcome(promise, variant)
            passed &= kept
            out.print(f"{'ok' if kept else 'FAILED':<7} {contract.title(promise)}", markup=False)
            if words:
                out.print(f"        {words}", markup=False)
    raise typer.Exit(0 if passed else 1)


# ----------------------------------------------------------------------------------------------- new, export


new = typer.Typer(help="Write the first draft of a method or a task into this folder.", no_args_is_help=True)
app.add_typer(new, name="new")
Name = Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits and '_'; the file is named after it.")]


@new.command("method")
def new_method(name: Name) -> None:
    """Write NAME.py: a method that works, to be changed into yours."""
    from dabench.authoring import scaffold

    file = scaffold.method(name, Path())
    out.print(f"{file} is a method that works. Change it, then:", markup=False)
    _say_next(f"check ./{file}", f"run --tasks quick --methods ./{file}", "report")


@new.command("task")
def new_task(
    name: Name,
    python: Annotated[bool, typer.Option("--python", help="A Python file, for data that no folder holds.")] = False,
) -> None:
    """Write NAME.toml: a task of two folders of pictures, or NAME.py: one that loads its own."""
    from dabench.authoring import scaffold

    file = scaffold.python_task(name, Path()) if python else scaffold.toml_task(name, Path())
    if python:
        out.print(f"{file} is a task that works. Change it, then:", markup=False)
    else:
        out.print(f"{file} says where the pictures go. Put them there, change what differs, then:", markup=False)
    _say_next(f"run --tasks ./{file} --dry-run", f"run --tasks ./{file}", "report")


def _say_next(*commands: str) -> None:
    for command in commands:
        out.print(f"  dabench {command}", markup=False)


@app.command()
def export(
    what: Annotated[str, typer.Argument(metavar="TASK/METHOD", help="As mnist-usps/dann; or paths of files.")],
    data: Data,
    cache: Cache,
    output: Annotated[Path, typer.Option(help="File of the weights.")] = Path("model.safetensors"),
    onnx: Annotated[Path | None, typer.Option(help="Write the whole model as ONNX too.")] = None,
    seed: Annotated[int, typer.Option(help="Which seed's model.")] = 0,
    key: Annotated[str, typer.Option(help="Beginning of a row's key, where several fit.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:0.")] = "auto",
    results: Results = Path("results"),
) -> None:
    """Adapt a stored cell anew and save its model, with the lines that load it elsewhere."""
    from dabench.run import export as exports

    stored = exports.find(what, results, seed, key)
    place, _ = _place(device, None, 1, data, cache)
    exported = exports.export(stored, place, output, onnx, lambda stage, step, steps, loss: None)
    for file in exported.files:
        out.print(f"wrote {file}", markup=False)
    out.print(
        f"{100 * exported.accuracy:.1f} % of the target's test pictures right (stored: "
        f"{100 * exported.stored_accuracy:.1f} %). To load it:\n"
    )
    out.print(exported.snippet, markup=False)


if __name__ == "__main__":
    main()
