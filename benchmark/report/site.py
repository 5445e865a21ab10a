"""The site: a pure function from rows to the files of static pages, which open from disk and ask no network.

`data.js` holds what every page needs (cells, rankings, methods, tasks), `task-N.js` the long parts of one task and
`compare.js` the paired tests; a page adds the latter two as scripts when it shows them, because a page opened from
disk may not fetch. Every statistic is the leaderboard's; the script in `assets` only draws.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from dabench import registry
from dabench.core import DabenchError, Reference, Setting, Task
from dabench.evaluation.leaderboard import Leaderboard
from dabench.files import write_whole
from dabench.registry import Description
from dabench.report import compare, details, front, payload, pictures
from dabench.report.markdown import load
from dabench.report.palette import LOOKS
from dabench.results import provenance, store
from dabench.results.provenance import TODAY, Age

ASSETS = Path(__file__).parent / "assets"
_NONE: Mapping[str, bytes] = MappingProxyType({})
_PREDICTED = ["key", "n_test", "predictions", "predictions_before", "truth"]


@dataclass(frozen=True)
class Sources:
    """What stands beside the rows: methods with their files' text, tasks, published numbers and pictures.

    `sprites` maps a task to the PNG of its example pictures, `figures` a name to the file of a picture to show;
    `papers` are the founding papers' pages (`front.papers` gives them).
    """

    methods: Mapping[str, Description] = field(default_factory=dict)
    tasks: Mapping[str, Task] = field(default_factory=dict)
    references: Sequence[Reference] = ()
    sprites: Mapping[str, bytes] = field(default_factory=dict)
    figures: Mapping[str, bytes] = field(default_factory=dict)
    papers: Sequence[Mapping[str, str]] = ()


def files(
    board: Leaderboard,
    predictions: Iterable[pd.DataFrame] = (),
    sources: Sources | None = None,
    *,
    age: Age = TODAY,
) -> dict[str, bytes]:
    """Every file of the site by its path, from evaluated rows and from tables of their predictions.

    `predictions` come in pieces, because all of them together may not fit into memory.
    `age` tells which rows today's code might not give again (`provenance.age` gives it).
    """
    sources = sources or Sources()
    tasks = sorted({*board.entries["task"], *board.bad["task"]})
    groups = payload.groups(board.entries)
    methods = sorted({*board.entries["method"], *board.bad["method"]})
    data = {
        "rows": len(board.stored),
        "doubts": provenance.summary(age.of({*board.rows["key"], *board.bad["key"]})),
        "newest": max(board.rows["created"], default=""),
        "settings": [str(setting) for setting in Setting],
        "looks": {str(setting): [look.light, look.dark, look.shape] for setting, look in LOOKS.items()},
        "benches": groups.to_dict("records"),
        "tasks": [payload.task(name, sources.tasks.get(name), board) for name in tasks],
        "methods": [payload.method(name, sources.methods.get(name), board) for name in methods],
        "cells": payload.entries(board.entries, tasks, methods, groups),
        "overall": payload.overall(board),
        "cost": payload.cost(board.entries),
        "bad": payload.bad(board.bad, tasks),
        "published": payload.published(sources.references, tasks),
        "sprites": [at for at, name in enumerate(tasks) if name in sources.sprites],
        "figures": [[name, pictures.caption(content)] for name, content in sorted(sources.figures.items())],
    }
    made = {path.name: path.read_bytes() for path in sorted(ASSETS.iterdir()) if path.name != "live.js"}
    data |= front.front(board, tasks, methods)
    data["papers"] = [[page["name"], page["title"]] for page in sources.papers]
    made["papers.js"] = _script("DABENCH.papers", sources.papers)
    made["data.js"] = _script("DABENCH.data", data)
    made["compare.js"] = _script("DABENCH.compare", compare.pairs(board, methods, tasks))
    for number, page in enumerate(details.pages(board, tasks, predictions)):
        made[f"task-{number}.js"] = _script(f"DABENCH.details[{number}]", page)
    # Shown as text: a browser would save a file that ends in .py.
    made |= {
        f"methods/{name}.py.txt": sources.methods[name].file.read_bytes() for name in methods if name in sources.methods
    }
    made |= {f"sprites/{at}.png": sources.sprites[name] for at, name in enumerate(tasks) if name in sources.sprites}
    return made | {f"figures/{name}": content for name, content in sources.figures.items()}


def _script(place: str, value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f"{place}={text};\n".encode()


def build(
    results: Path, data: Path, folder: Path, *, private: bool = False, adapted: Mapping[str, bytes] = _NONE
) -> dict[str, bytes]:
    """The site of a results folder; `private` shows pictures too whose licence keeps them on one's own machine.

    `adapted` are pictures before and after adaptation, to stand beside those of the results folder.
    """
    rows = load(results)
    if rows.empty:
        raise DabenchError(f"no rows in {results}; start with `dabench run`, or name the folder with --results")
    known = registry.method_files()
    here = {name: file for name, file in known.items() if name in set(rows["method"])}
    tasks = {name: task for name, task in registry.known_tasks().items() if name in set(rows["task"])}
    sources = Sources(
        methods={name: registry.describe(file) for name, file in here.items()},
        tasks=tasks,
        references=registry.references(),
        sprites=pictures.sprites(tasks.values(), data, folder, every=private),
        figures={**adapted, **pictures.figures(results)},
        papers=front.papers(results),
    )
    pieces = (table.to_pandas() for table in store.tables(results, _PREDICTED))
    age = provenance.age(results)
    return files(Leaderboard(rows, stale=age.stale), pieces, sources, age=age)


def write(folder: Path, made: Mapping[str, bytes]) -> None:
    """Writes the files; of an earlier site, the pages of tasks that are gone are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("task-*.js"):
        old.unlink()
    for name, content in made.items():
        write_whole(folder / name, content, "--site")
