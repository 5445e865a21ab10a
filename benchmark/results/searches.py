"""Hyper-parameter studies: which stored cells were trials of which search, and what a score chose among them.

A study holds keys, not numbers: what its trials gave stands in the rows, and the choice is derived from them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dabench.core import DabenchError
from dabench.files import locked, named_errors, replacing

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Trial:
    """One setting of the hyper-parameters: its label in the table, and the keys of its cells, one a seed."""

    variant: str
    keys: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Study:
    """A search over one method's hyper-parameters on one task; the first trial is `variant`, where it starts.

    `select` is the label-free score that chooses, `sampler` what proposed the trials and its seed.
    """

    task: str
    method: str
    variant: str
    protocol: str
    backbone: str
    image_size: int
    budget: float
    labels: int
    target_images: int
    seeds: tuple[int, ...]
    select: str
    sampler: str
    trials: tuple[Trial, ...] = ()

    @property
    def keys(self) -> set[str]:
        return {key for trial in self.trials for key in trial.keys}


def path_of(results: Path, task: str, method: str) -> Path:
    """Where the studies of a method on a task lie."""
    return results / "tuning" / task / f"{method}.json"


def read(results: Path) -> tuple[Study, ...]:
    """Every study under `results`, files in name order; raises DabenchError for one that cannot be read."""
    return tuple(study for file in sorted(results.glob("tuning/*/*.json")) for study in _of_file(file))


def _of_file(file: Path) -> list[Study]:
    try:
        return [_study(facts) for facts in json.loads(file.read_text())]
    except (ValueError, TypeError, KeyError) as error:
        raise DabenchError(f"cannot read {file}: {error}; delete it and run `dabench tune` again") from error


def _study(facts: Mapping[str, Any]) -> Study:
    trials = tuple(Trial(trial["variant"], tuple(trial["keys"])) for trial in facts["trials"])
    return Study(**{**facts, "seeds": tuple(facts["seeds"]), "trials": trials})


def write(results: Path, study: Study) -> None:
    """Stores the study in place of the same search's earlier state, all at once.

    A search that is replayed writes its first trials again: the longer record of these stays.
    """
    file = path_of(results, study.task, study.method)
    with named_errors(file, "--results"), locked(file):
        stored = _of_file(file) if file.exists() else []
        same = [other for other in stored if replace(other, trials=()) == replace(study, trials=())]
        if any(other.trials[: len(study.trials)] == study.trials for other in same):
            return
        kept = sorted([study, *(other for other in stored if other not in same)], key=repr)
        with replacing(file) as unfinished:
            unfinished.write_text(json.dumps([asdict(each) for each in kept], indent=1) + "\n")


def trial_scores(study: Study, rows: pd.DataFrame) -> list[float]:
    """Each trial's label-free score at the last checkpoint, mean over its seeds.

    nan where a seed is missing, failed or unscored: what a trial lacks is not made up. Of `rows`, only the
    columns key, status and checkpoint_scores are read.
    """
    rows = rows[rows["key"].isin(study.keys) & (rows["status"] == "ok")]
    last = {
        key: dict(scores or ()).get(study.select, [math.nan])[-1]
        for key, scores in zip(rows["key"], rows["checkpoint_scores"], strict=True)
    }
    return [sum(last.get(key, math.nan) for key in trial.keys) / len(trial.keys) for trial in study.trials]


def chosen(study: Study, rows: pd.DataFrame) -> Trial | None:
    """The trial of the highest score, the first among equals; None where no trial has a score."""
    known = [pair for pair in enumerate(trial_scores(study, rows)) if not math.isnan(pair[1])]
    if not known:
        return None
    best, _ = max(known, key=lambda pair: (pair[1], -pair[0]))
    return study.trials[best]


def searched_keys(studies: Sequence[Study]) -> Collection[str]:
    """The keys of cells that are there for a search alone, not for the default hyper-parameters."""
    return {key for study in studies for trial in study.trials if trial.variant != study.method for key in trial.keys}
