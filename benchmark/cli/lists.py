"""The commands that say what there is: tasks, methods, data sets, and the stored rows of one method on one task."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from dabench.cli import options, screen
from dabench.cli.options import RESULTS
from dabench.core import DabenchError, MissingData, nearest


def tasks(as_json: options.AsJson = False) -> None:
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
    screen.table(
        ("task", "family", "backbone", "protocols", "note"),
        [
            (task.name, task.family, task.backbone, ", ".join(each.name for each in task.protocols), task.note)
            for task in known
        ],
    )


def methods(as_json: options.AsJson = False) -> None:
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
    lines = []
    for method in known:
        parameters = ", ".join(f"{name}={value}" for name, value in method.parameters.items())
        lines.append((method.name, method.setting, method.paper, parameters))
    screen.table(("method", "setting", "paper", "hyper-parameters"), lines)


def show(what: options.Entry, results: options.Results = RESULTS, as_json: options.AsJson = False) -> None:
    """Show the seeds of a method on a task, their mean and what made them; with --json, every column of the rows."""
    from dabench.cli import outcome
    from dabench.results import store

    task, variant = options.entry(what)
    rows = [row for row in store.load(results).to_pylist() if row["task"] == task]
    known = sorted({row["variant"] for row in rows})
    rows = [row for row in rows if variant in (row["method"], row["variant"])]
    if not rows:
        there = f"stored for it: {', '.join(known)}" if known else "nothing is stored for this task"
        raise DabenchError(f"no rows of '{variant}' on '{task}' in {results}; {there}")
    if as_json:
        facts = [{name: value for name, value in row.items() if not isinstance(value, bytes)} for row in rows]
        print(json.dumps(facts, indent=2))
        return
    outcome.show(rows, results)


def status(data: options.Data) -> None:
    """Which data sets are here, how to get the others, their licences and what to cite."""
    from dabench.data.datasets import DATASETS

    lines, remedies = [], []
    for dataset in DATASETS.values():
        try:
            dataset.files(data)
            state = "here"
        except MissingData as missing:
            state = f"missing ({dataset.size})" if dataset.download else "missing (fetch it yourself)"
            remedies.append(str(missing))
        lines.append((dataset.name, state, dataset.licence, dataset.homepage, dataset.citation))
    screen.say(f"data root: {data}")
    screen.table(("data set", "state", "licence", "from", "cite"), lines)
    for remedy in remedies:
        screen.say(remedy)


def download(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names that `dabench data status` lists.")],
    data: options.Data,
) -> None:
    """Fetch data sets into the data root."""
    from dabench.data.datasets import DATASETS

    downloads = {}
    for name in names:
        if name not in DATASETS:
            raise DabenchError(f"no data set '{name}'; {nearest(name, DATASETS)}")
        fetch = DATASETS[name].download
        if fetch is None:
            raise DabenchError(f"'{name}' cannot be fetched for you; see {DATASETS[name].homepage}")
        downloads[name] = fetch
    for name, fetch in downloads.items():
        data.mkdir(parents=True, exist_ok=True)
        fetch(data)
        DATASETS[name].files(data)
        screen.say(f"{name} is in {data}")
