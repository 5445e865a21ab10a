"""What the pages say of one comparison group: its name, its published numbers, the order of its lines, its notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np
import pandas as pd

from dabench.core import Reference, Setting
from dabench.evaluation.tables import GROUP
from dabench.report import wording


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
class Published:
    """Published numbers of one group: text by (task, variant), and the sources in the order of their numbers."""

    text: dict[tuple[str, str], str]
    sources: list[str]

    @property
    def tasks(self) -> set[str]:
        return {task for task, _ in self.text}


def published(references: Sequence[Reference], group: Mapping[str, Any], rows: pd.DataFrame) -> Published:
    """The published numbers of the rows' tasks under the group's protocol and network."""
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
    return Published(text, sources)


def order(cells: pd.DataFrame) -> list[tuple[str, str]]:
    """Setting and variant of the lines of a group: settings as in `Setting`, the better default variant first."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for setting, method, variant, mean in zip(*(cells[name] for name in _LINE), strict=True):
        found.setdefault((setting, method, variant), []).append(mean)
    place = {str(setting): position for position, setting in enumerate(Setting)}

    def at(line: tuple[str, str, str]) -> tuple[int, int, float, str, bool, str]:
        setting, method, variant = line
        default = found.get((setting, method, method), [])
        mean = fsum(default) / len(default) if default else -1.0
        return place.get(setting, len(place)), -len(default), -mean, method, variant != method, variant

    return [(setting, variant) for setting, _, variant in sorted(found, key=at)]


_LINE = ["setting", "method", "variant", "mean"]


def notes(rows: pd.DataFrame, beside: Published) -> list[str]:
    """What failed or was refused and why, what is partial, reduced, stale or not checked."""
    found = []
    if beside.sources:
        sources = "; ".join(f"[{number}] {source}" for number, source in enumerate(beside.sources, 1))
        found.append(f"Published: {wording.plain(sources)}.")
    for status in ("failed", "refused"):
        bad = rows[rows["status"] == status]
        for (variant, reason), group in bad.groupby(["variant", "reason"], sort=True):
            seeds = f", seeds {wording.names(sorted(group['seed'].unique()))}" if status == "failed" else ""
            tasks = wording.names(wording.in_order(group["task"]))
            found.append(f"{status.capitalize()}: {variant} on {tasks}{seeds}: {wording.plain(reason)}")
    ok = rows[rows["status"] == "ok"]
    for partial, group in ok[ok["partial"] != ""].groupby("partial", sort=True):
        found.append(f"Partial data on {wording.names(wording.in_order(group['task']))}: {wording.plain(partial)}")
    if len(ok) and ok["budget"].iloc[0] < 1:
        found.append(f"Reduced budget: {ok['budget'].iloc[0]:g} of the steps a full run takes.")
    if count := int(ok["stale"].sum()):
        found.append(f"† Made by other code than today's: {wording.count(count, 'row')}.")
    if count := int(ok["unchecked"].sum()):
        found.append(f"Not checked, as their code is not here: {wording.count(count, 'row')}.")
    unchosen = ok[ok["figure"].isna() & ok["accuracy"].notna()]
    if len(unchosen):
        found.append(f"Without this score at their checkpoints, so not shown: {_by_variant(unchosen)}.")
    return found


def _by_variant(rows: pd.DataFrame) -> str:
    groups = rows.groupby("variant", sort=True)["task"]
    return "; ".join(f"{variant} on {wording.names(wording.in_order(tasks))}" for variant, tasks in groups)
