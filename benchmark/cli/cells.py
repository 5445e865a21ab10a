"""The commands that compute cells: run, curve, reproduce, tune, verify and export."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from dabench.cli import options, screen, sweeping
from dabench.cli.options import RESULTS
from dabench.core import ALL, DabenchError


def run(
    context: typer.Context,
    data: options.Data,
    cache: options.Cache,
    tasks: options.Tasks = "quick",
    methods: options.Methods = "all",
    seeds: options.Seeds = "3",
    budget: options.Budget = 1.0,
    backbone: options.Backbone = None,
    image_size: options.ImageSize = None,
    protocol: options.Protocol = None,
    labels: options.Labels = "all",
    target_images: options.TargetImages = None,
    start: options.Start = "source-model",
    stream: options.Stream = "shuffled",
    frozen: options.Frozen = False,
    device: options.Device = "auto",
    workers: options.Workers = None,
    cell_timeout: options.CellTimeout = None,
    engine: options.Engine = "local",
    slurm: options.Slurm = "",
    ray: options.Ray = "",
    shard: options.Shard = None,
    results: options.Results = RESULTS,
    dry_run: options.DryRun = False,
    force: options.Force = False,
) -> None:
    """Run every method on every task that is not stored yet, and store each row the moment it ends."""
    from dabench import registry
    from dabench.results import suite
    from dabench.run import plan, streams

    remote = options.engine(engine, slurm, ray)
    request = plan.Request(
        tasks=() if tasks == suite.NAME else registry.tasks(tasks),
        methods=registry.methods(methods),
        seeds=options.seeds(seeds),
        budget=budget,
        backbone=backbone,
        image_size=image_size,
        protocol=protocol,
        labels=options.label_budgets(labels),
        target_images=ALL if target_images is None else target_images,
        start=options.start(start),
        stream=streams.parse(stream).spec,
        frozen=frozen,
    )
    requests = plan.of_suite(request) if tasks == suite.NAME else (request,)
    with sweeping.interruptible():
        planned = sweeping.plans(requests, data, cache, results, force=force, runs_here=not (remote or dry_run))
        mine, part = sweeping.part_of(planned, shard)
        if remote:
            place, who = sweeping.remotely(mine, remote, device, data, cache)
        else:
            place, who = sweeping.prepared(mine, device, workers, data, cache)
        order = sweeping.Order(mine, place, who, results, cell_timeout or math.inf, part)
        failed = sweeping.carry_out(order, dry_run=dry_run, debug=context.obj)
    if all(each.state is plan.State.MISSING for each in mine):
        raise typer.Exit(2)
    raise typer.Exit(1 if failed else 0)


def curve(
    context: typer.Context,
    task: Annotated[str, typer.Argument(help="One task, such as imagenet-rotated.")],
    data: options.Data,
    cache: options.Cache,
    parameter: Annotated[str, typer.Option(help="A camera's number, labels, target_images, or a method's.")] = "angle",
    values: Annotated[
        str | None, typer.Option(help="0:360:10 (both ends inside), or 0.05,0.2; counts: 1,10,all.")
    ] = None,
    methods: Annotated[str | None, typer.Option(help="As for run; else source_only, or those that count.")] = None,
    seeds: options.Seeds = "1",
    budget: options.Budget = 1.0,
    backbone: options.Backbone = None,
    image_size: options.ImageSize = None,
    protocol: options.Protocol = None,
    device: options.Device = "auto",
    workers: options.Workers = None,
    results: options.Results = RESULTS,
    dry_run: options.DryRun = False,
) -> None:
    """Draw accuracy against severity, target labels or images, or a hyper-parameter, into results/curves."""
    from dabench import registry
    from dabench.report import curves as pages
    from dabench.results import store
    from dabench.run import curves, plan

    if values is None and parameter not in curves.DEFAULT_VALUES:
        raise DabenchError(f"--parameter {parameter} needs --values, such as 0.05,0.2,0.6")
    request = plan.Request(
        tasks=(),
        methods=(),
        seeds=options.seeds(seeds),
        budget=budget,
        backbone=backbone,
        image_size=image_size,
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
    with sweeping.interruptible():
        place, engine = sweeping.prepared(drawn.cells, device, workers, data, cache)
        order = sweeping.Order(drawn.cells, place, engine, results)
        failed = sweeping.carry_out(order, dry_run=dry_run, debug=context.obj)
    if not dry_run:
        for path in pages.write(results, drawn.curve, store.load(results, pages.COLUMNS).to_pylist()):
            screen.say(str(path))
    raise typer.Exit(1 if failed else 0)


def reproduce(
    context: typer.Context,
    paper: Annotated[str, typer.Argument(help="adapternet, nogrl, activation-shaping or lectures.")],
    data: options.Data,
    cache: options.Cache,
    scale: options.Scale = 1.0,
    seeds: options.StudySeeds = None,
    backbone: options.Backbone = None,
    image_size: options.ImageSize = None,
    device: options.Device = "auto",
    workers: options.Workers = None,
    results: options.Results = RESULTS,
    dry_run: options.DryRun = False,
    only_report: options.OnlyReport = False,
) -> None:
    """Run a founding paper's own experiments and judge each of its claims, in results/reproductions."""
    from dabench.papers import page, pictures, planned, studies

    study = studies.study(paper, data, backbone, image_size)
    for words in study.substitutions:
        screen.say(f"substitution: {words}")
    chosen = None if seeds is None else options.seeds(seeds)
    found = planned.plan_study(study, scale, chosen, data, cache, results)
    stop = typer.Exit(0)
    if not only_report:
        try:
            with sweeping.interruptible():
                place, engine = sweeping.prepared(found.cells, device, workers, data, cache)
                order = sweeping.Order(found.cells, place, engine, results)
                failed = sweeping.carry_out(order, dry_run=dry_run, debug=context.obj)
                stop = typer.Exit(1 if failed else 0)
                if not dry_run:
                    pictures.draw(found, place, results)
        except typer.Exit as interrupted:  # the page then says what has not been run
            stop = interrupted
    if not dry_run:
        text, path = page.write(found, data, cache, results)
        screen.say(f"\n{text}\n{path}")
    raise stop


def tune(
    data: options.Data,
    cache: options.Cache,
    tasks: options.Tasks = "quick",
    methods: options.Methods = "all",
    trials: options.Trials = 20,
    select: Annotated[str, typer.Option(help="Label-free score that chooses among the trials.")] = "corr_c",
    seeds: options.Seeds = "3",
    budget: options.Budget = 1.0,
    labels: options.Labels = "all",
    device: options.Device = "auto",
    workers: options.Workers = None,
    results: options.Results = RESULTS,
) -> None:
    """Search every method's hyper-parameters without target labels: equal trials, chosen by a label-free score."""
    from dabench import registry
    from dabench.cli import display
    from dabench.results import searches, store
    from dabench.run import plan, tune

    request = plan.Request(
        tasks=registry.tasks(tasks),
        methods=registry.methods(methods),
        seeds=options.seeds(seeds),
        budget=budget,
        labels=options.label_budgets(labels)[:1],
    )
    tune.check_score(select, request.methods)
    most = trials * len(request.tasks) * len(request.methods) * len(request.seeds)
    place, workers = options.place(device, workers, most, data, cache)
    store.check_writable(results)
    sweeping.print_groups(plan.plan(request, data, cache, results), (plan.State.REFUSED, plan.State.MISSING))
    with display.watching(most, screen.out) as listen:
        found = tune.tune(request, place, results, trials=trials, select=select, workers=workers, listen=listen)
    rows = store.frame(results, ["key", "status", "checkpoint_scores"])
    chosen = [searches.chosen(search, rows) for search in found]
    screen.table(
        ("task", "method", "trials", f"chosen by {select}"),
        [
            (search.task, search.variant, str(len(search.trials)), trial.variant if trial else "no trial has a score")
            for search, trial in zip(found, chosen, strict=True)
        ],
    )


def verify(
    data: options.Data,
    cache: options.Cache,
    what: Annotated[str, typer.Argument(metavar="[TASK/METHOD]", help="As mnist-usps/dann; else any row.")] = "",
    sample: options.Sample = 5,
    draw: Annotated[int, typer.Option(help="Another number draws another sample.")] = 0,
    tasks: options.Tasks = "all",
    methods: options.Methods = "all",
    device: options.Device = "auto",
    results: options.Results = RESULTS,
) -> None:
    """Run stored cells again and compare: exit 0 where all agree, 1 where one differs, 2 where none can be compared."""
    from dabench import registry
    from dabench.run import verify

    task, variant = options.entry(what) if what else ("", "")
    place, _ = options.place(device, 1, 1, data, cache)
    files = {variant.name: variant.file for variant in registry.methods(methods)}
    checks = []
    for check in verify.verify(
        results, place, registry.tasks(tasks), files, task=task, variant=variant, sample=sample, draw=draw
    ):
        checks.append(check)
        screen.say(f"{check.verdict:<16} {check.label}{check.words and ': '}{check.words}")
    if not any(check.compared for check in checks):
        raise DabenchError("no row could be compared; see the reasons above, and `dabench run --force` for stale ones")
    raise typer.Exit(1 if any(check.verdict is verify.Agreement.DIFFERENT for check in checks) else 0)


def export(
    what: Annotated[str, typer.Argument(metavar="TASK/METHOD", help="As mnist-usps/dann; or paths of files.")],
    data: options.Data,
    cache: options.Cache,
    output: Annotated[Path, typer.Option(help="File of the weights.")] = Path("model.safetensors"),
    onnx: Annotated[Path | None, typer.Option(help="Write the whole model as ONNX too.")] = None,
    seed: Annotated[int, typer.Option(help="Which seed's model.")] = 0,
    key: Annotated[str, typer.Option(help="Beginning of a row's key, where several fit.")] = "",
    device: options.Device = "auto",
    results: options.Results = RESULTS,
) -> None:
    """Adapt a stored cell anew and save its model, with the lines that load it elsewhere."""
    from dabench.run import export as exports

    stored = exports.find(what, results, seed, key)
    place, _ = options.place(device, None, 1, data, cache)
    exported = exports.export(stored, place, output, onnx, lambda stage, step, steps, loss: None)
    for file in exported.files:
        screen.say(f"wrote {file}")
    if exported.stored_accuracy is None:
        screen.say("not scored: the target has no labels. To load it:\n")
    else:
        screen.say(
            f"{100 * exported.accuracy:.1f} % of the target's test pictures right (stored: "
            f"{100 * exported.stored_accuracy:.1f} %). To load it:\n"
        )
    screen.say(exported.snippet)
