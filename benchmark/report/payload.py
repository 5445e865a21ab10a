"""What every page of the site needs, in columns as short as they can be."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dabench import registry
from dabench.core import Reference, Setting, Task
from dabench.evaluation.leaderboard import Leaderboard
from dabench.evaluation.rankings import Ranking
from dabench.evaluation.tables import CONDITIONS, GROUP
from dabench.registry import Description
from dabench.results.row import COLUMNS, SHOWN
from dabench.results.suite import within

MANY_CLASSES = 30  # above which neither names nor a full matrix of confusions are kept
_COSTS = ["seconds", "ms_per_image", "peak_memory", "trained_parameters"]
_FRACTIONS = [
    "mean",
    "ci",
    "gain",
    "gain_ci",
    *(each.name for each in COLUMNS if each.shown and each.unit == "fraction"),
]
_CONDITIONS = ["task", *(name for name in CONDITIONS if name != "budget")]
_OTHERS = [name for name in SHOWN if name not in _FRACTIONS]


def scaled(values: Iterable[float], scale: float) -> list[int | None]:
    return [None if np.isnan(value) else round(scale * value) for value in values]


def figures(values: Iterable[float], digits: int = 3) -> list[float | int | None]:
    """Numbers with that many significant digits, whole where they are; None for nan."""
    short = (None if np.isnan(value) else float(f"{value:.{digits}g}") for value in values)
    return [value if value is None or value % 1 else int(value) for value in short]


def groups(entries: pd.DataFrame) -> pd.DataFrame:
    """Every comparison group, the fullest first."""
    return entries.groupby(GROUP).size().sort_values(ascending=False, kind="stable").reset_index()[GROUP]


def entries(table: pd.DataFrame, tasks: list[str], methods: list[str], groups: pd.DataFrame) -> dict[str, list[Any]]:
    """A list for each column; accuracies in tenths of a percent, which is what is shown."""
    group = table[GROUP].merge(groups.assign(group=groups.index), on=GROUP, how="left")["group"]
    place = {name: at for at, name in enumerate(tasks)}
    who = {name: at for at, name in enumerate(methods)}
    settings = {str(setting): at for at, setting in enumerate(Setting)}
    return {
        "bench": group.tolist(),
        "task": table["task"].map(place).tolist(),
        "method": table["method"].map(who).tolist(),
        "setting": table["setting"].map(settings).tolist(),
        # The name again would be most of the file's size.
        "variant": ["" if line.default else line.variant for line in table.itertuples()],
        **{name: scaled(table[name], 1000) for name in _FRACTIONS},
        "gap_closed": scaled(table["gap_closed"], 100),
        **{name: figures(table[name], 4) for name in _OTHERS},
        "n": table["n"].tolist(),
        **{name: table[name].astype(int).tolist() for name in ("best", "worse", "collapsed", "main")},
    }


def overall(board: Leaderboard) -> dict[str, list[dict[str, Any]]]:
    """The rankings over all tasks (under the empty name) and over those of each family."""
    table = board.entries
    families = {family: board.rankings_of(table[table["family"] == family]) for family in sorted(set(table["family"]))}
    return {scope: [_ranking(each) for each in found] for scope, found in {"": board.rankings, **families}.items()}


def _ranking(ranking: Ranking) -> dict[str, Any]:
    table = ranking.table
    return {
        "setting": ranking.setting,
        "tasks": ranking.shared,
        "lacking": ranking.lacking,
        "left_out": ranking.left_out,
        "method": table["method"].tolist(),
        "gap_closed": scaled(table["gap_closed"], 100),
        "gap_tasks": table["gap_tasks"].tolist(),
        **{name: scaled(table[name], 1000) for name in ("gain", "gain_low", "gain_high")},
        # In tenths, rounded here as in leaderboard.md: a browser rounds halves the other way.
        **{name: scaled(table[column], 10) for name, column in _RANKS.items()},
        **{name: figures(table[name]) for name in ("seconds", "ms_per_image")},
    }


_RANKS = {"rank": "rank", "low": "rank_low", "high": "rank_high"}


def cost(table: pd.DataFrame) -> dict[str, Any]:
    """Mean gain and costs of the default variants over the tasks that all of them have.

    The tasks are the suite's, where it has results; else all. A method with fewer than half of them is left out
    rather than taking the tasks from all others.
    """
    used = table[table["default"] & table["main"]]
    suite = used[within(used)]
    used = used if suite.empty else suite
    used = used.assign(place=used[_CONDITIONS].astype(str).agg(" ".join, axis=1))
    has = used.pivot_table(index="place", columns=["setting", "method"], values="gain").notna()
    has = has.loc[:, has.sum() * 2 >= len(has)]
    shared = used[used["place"].isin(has.index[has.all(axis=1)])]
    means = shared.groupby(["setting", "method"])[["gain", *_COSTS]].mean().reindex(has.columns).reset_index()
    return {
        "tasks": int(has.all(axis=1).sum()),
        "of": len(has),
        "suite": not suite.empty,
        "setting": means["setting"].tolist(),
        "method": means["method"].tolist(),
        "gain": scaled(means["gain"], 1000),
        **{name: figures(means[name]) for name in _COSTS},
    }


def bad(lacking: pd.DataFrame, tasks: list[str]) -> list[list[Any]]:
    """Task, method variant, status, reason and number of the cells without a result."""
    groups = lacking.groupby(["task", "variant", "status", "reason"], sort=True)["key"].nunique()
    return [
        [tasks.index(task), variant, status, reason, int(n)] for (task, variant, status, reason), n in groups.items()
    ]


def published(references: Sequence[Reference], tasks: list[str]) -> list[list[Any]]:
    return [
        [tasks.index(each.task), each.method, each.accuracy, each.std, each.protocol, each.backbone, each.source]
        for each in references
        if each.task in tasks
    ]


def task(name: str, known: Task | None, board: Leaderboard) -> dict[str, Any]:
    """The facts of a task; of one that is not installed here, what its rows say."""
    rows = board.rows if name in set(board.entries["task"]) else board.bad
    rows = rows[rows["task"] == name]
    facts = {"name": name, "family": rows["family"].iloc[0], "partial": sorted({*rows["partial"]} - {""})}
    if known is None:
        return facts
    return facts | {
        "source": known.source,
        "target": known.target,
        "camera": "" if known.camera is None else str(known.camera),
        "protocols": {each.name: [each.adapts_on, each.scores_on] for each in known.protocols},
        "classes": list(known.class_names) if known.num_classes <= MANY_CLASSES else known.num_classes,
        "shape": known.image_shape,
        "licence": known.licence,
        "citation": known.citation,
        "note": known.note,
    }


def method(name: str, known: Description | None, board: Leaderboard) -> dict[str, Any]:
    """What a method's file says of it; of one that is not installed here, its name and setting."""
    if known is None:
        rows = pd.concat([board.entries[["method", "setting"]], board.bad[["method", "setting"]]])
        return {"name": name, "setting": rows.loc[rows["method"] == name, "setting"].iloc[0]}
    tree = ast.parse(known.file.read_text())
    return {
        "name": name,
        "setting": str(known.setting),
        "claim": known.claim,
        "text": ast.get_docstring(tree) or known.claim,
        "paper": known.paper,
        "needs": [str(need.name).lower().replace("_", " ") for need in known.needs],
        "parameters": [
            [key, str(value), _allowed(known.allowed[key])] for key, value in sorted(known.parameters.items())
        ],
        "file": f"methods/{name}.py.txt",
    }


def _allowed(allowed: registry.Allowed) -> str:
    if allowed.choices:
        return "one of " + ", ".join(map(str, allowed.choices))
    return "" if np.isinf(allowed.low) else f"{allowed.low:g} to {allowed.high:g}"
