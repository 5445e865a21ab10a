"""A stored row, field by field: what a cell is, what was measured of it, and what made the numbers.

Each field of `Row` is one column. The parquet schema, docs/results.md, the columns of a key, of a comparison group, of
an entry and of a cell, and what the site shows of an entry all derive from it: a new column is one line here.
"""

# ruff: noqa: RUF009 - the functions in the defaults below make dataclass fields

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import pyarrow as pa


class Part(StrEnum):
    """What a column tells of a row."""

    IDENTITY = "identity"
    MEASURED = "measured"
    PROVENANCE = "provenance"


class Level(StrEnum):
    """The widest set of rows that agree in an identity column.

    Rows of one comparison group may stand in one table; those of one entry differ in their seed alone; a cell is one
    seed.
    """

    GROUP = "comparison group"
    ENTRY = "entry"
    CELL = "cell"


@dataclass(frozen=True)
class Column:
    """One column of the store; `default` stands where a file written before the column has none."""

    name: str
    type: pa.DataType
    unit: str
    meaning: str
    part: Part
    level: Level | None
    keyed: bool
    shown: bool
    required: bool
    default: Any


def _identity(meaning: str, *, unit: str = "", level: Level | None = None, default: Any = None) -> Any:
    """A column of what the cell is; it is part of the key. One with a `level` has a value in every row."""
    return field(default=default, metadata={"part": Part.IDENTITY, "unit": unit, "meaning": meaning, "level": level})


def _required(meaning: str, *, part: Part, level: Level | None = None, keyed: bool = True) -> Any:
    """A column without which a file holds no rows."""
    return field(metadata={"part": part, "unit": "", "meaning": meaning, "level": level, "keyed": keyed})


def _measured(unit: str, meaning: str, *, shown: bool = False, default: Any = None) -> Any:
    """A column of what came out; the means over seeds of those that are `shown` stand on the site."""
    return field(default=default, metadata={"part": Part.MEASURED, "unit": unit, "meaning": meaning, "shown": shown})


def _provenance(meaning: str, *, unit: str = "", keyed: bool = False) -> Any:
    """A column of what made the numbers."""
    return field(default=None, metadata={"part": Part.PROVENANCE, "unit": unit, "meaning": meaning, "keyed": keyed})


@dataclass(frozen=True, kw_only=True)
class Row:
    """One cell's row; None where a column does not apply."""

    key: str = _required("hash of all that can change the numbers; one row a key", part=Part.IDENTITY, keyed=False)
    task: str = _required(
        "task, with the camera's parameters where they are not the task's own", part=Part.IDENTITY, level=Level.ENTRY
    )
    family: str = _identity("family of the task", level=Level.GROUP, default="")
    protocol: str = _identity("which images adapt and which score", level=Level.GROUP, default="")
    method: str = _required("method, named as its file", part=Part.IDENTITY, level=Level.ENTRY)
    setting: str = _identity("what the method may see", level=Level.ENTRY, default="")
    variant: str | None = _identity("method with the hyper-parameters that are not its defaults", level=Level.ENTRY)
    params: str | None = _identity("every hyper-parameter", unit="JSON")
    backbone: str = _identity("network of the source model", level=Level.GROUP, default="")
    image_size: int = _identity("side of the images given to the network", unit="pixel", level=Level.GROUP, default=0)
    budget: float = _identity(
        "share of the task's adaptation and source training steps", level=Level.GROUP, default=1.0
    )
    labels: int = _identity("target labels a class: -1 all, 0 none", unit="images", level=Level.GROUP, default=-1)
    target_images: int = _identity(
        "bound on the target images that adapt: -1 all", unit="images", level=Level.GROUP, default=-1
    )
    start: str = _identity(
        "where the method's training starts: source-model, or initial-weights with the source's steps granted too",
        level=Level.GROUP,
        default="source-model",
    )
    stream: str = _identity("how the test images come to a test-time method", level=Level.GROUP, default="shuffled")
    frozen: bool = _identity(
        "whether the features are frozen and the head alone adapts", level=Level.GROUP, default=False
    )
    seed: int = _identity("varies the source model, the order of the data and the method", level=Level.CELL, default=0)

    status: str = _required(
        "ok, failed (tried again next time) or refused (nothing to do here)", part=Part.MEASURED, keyed=False
    )
    reason: str | None = _measured("", "why a row is failed or refused")
    scored: bool = _measured(
        "", "whether the target's test images have labels; false: there is no accuracy", default=True
    )
    accuracy: float | None = _measured(
        "fraction",
        "on the target test images, of the model that adapt() returned; the mean over classes where the task says so",
    )
    per_class: list[float] | None = _measured("fraction", "the same for each class; NaN for a class without images")
    curve: list[float] | None = _measured("fraction", "accuracy over the stream's time; test-time methods alone")
    nll: float | None = _measured("nat", "mean negative log-likelihood on the target test images", shown=True)
    ece: float | None = _measured("fraction", "expected calibration error, 15 bins, target test images", shown=True)
    accuracy_before: float | None = _measured("fraction", "source model on the target test images")
    nll_before: float | None = _measured("nat", "source model on the target test images")
    ece_before: float | None = _measured("fraction", "source model on the target test images")
    source_before: float | None = _measured("fraction", "source model on the source test images", shown=True)
    source_after: float | None = _measured(
        "fraction", "adapted model on the source test images; below before: forgetting", shown=True
    )
    predictions: bytes | None = _measured("class", "prediction for each target test image, one byte (two above 256)")
    predictions_before: bytes | None = _measured("class", "the source model's prediction for each of them")
    truth: bytes | None = _measured("class", "the label of each of them")
    checkpoint_progress: list[float] | None = _measured("fraction", "share of the budget spent at each checkpoint")
    checkpoint_accuracy: list[float] | None = _measured(
        "fraction", "target test accuracy at each checkpoint (for the best checkpoint)"
    )
    checkpoint_images: int | None = _measured(
        "images", "target test images behind each, beside all for the returned model"
    )
    checkpoint_loss: list[float] | None = _measured("", "mean training loss since the checkpoint before")
    checkpoint_losses: dict[str, list[float]] | None = _measured("", "the same of each loss that the method names")
    checkpoint_scores: dict[str, list[float]] | None = _measured("", "each label-free score at each checkpoint")
    steps: int | None = _measured("steps", "optimisation steps granted")
    steps_taken: int | None = _measured("steps", "batches that the method drew of those granted")
    optimizer_steps: int | None = _measured("steps", "steps of all optimisers")
    forward_passes: int | None = _measured("batches", "batches that went through the network during adaptation")
    seconds: float | None = _measured("s", "adaptation alone, checkpoints not counted", shown=True)
    seconds_scoring: float | None = _measured("s", "spent on checkpoints and their scores")
    seconds_source: float | None = _measured(
        "s", "training of the source model, when this row's run trained it; else NaN"
    )
    ms_per_image: float | None = _measured(
        "ms", "inference of the adapted model; adaptation included for test-time", shown=True
    )
    peak_memory: float | None = _measured(
        "MiB", "peak during adaptation (device memory on a GPU, process memory else)", shown=True
    )
    trained_parameters: int | None = _measured(
        "", "parameters whose values differ from the source model's, or are new", shown=True
    )
    n_source: int | None = _measured("images", "labelled source training images of the task")
    n_target: int | None = _measured("images", "target images that adapt")
    n_test: int | None = _measured("images", "target images that score")

    partial: str | None = _provenance("what of the official data is missing")
    device: str | None = _provenance("processor or GPU")
    threads: int | None = _provenance("CPU threads of the run")
    precision: str | None = _provenance("arithmetic of the network: bf16 or fp32")
    created: str | None = _provenance("when the cell ended, ISO 8601", unit="UTC")
    commit: str | None = _provenance("git commit of the code, + where files differed")
    version: str | None = _provenance("dabench, python, torch and timm")
    method_code: str | None = _provenance("fingerprint of the method's code", keyed=True)
    task_code: str | None = _provenance("fingerprint of the task's facts and loader", keyed=True)
    core_code: str | None = _provenance("fingerprint of the harness; a difference marks the row as stale")
    data: str | None = _provenance("fingerprint of the decoded images and labels", keyed=True)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Row:
        """The row of a mapping from the store: what it lacks takes its default, what no column names is left out."""
        return cls(
            **{**DEFAULTS, **{name: value for name, value in stored.items() if name in NAMES and value is not None}}
        )

    @property
    def identity(self) -> dict[str, Any]:
        """The columns that say which cell it is, without its key."""
        return {name: getattr(self, name) for name in IDENTITY}


_ARROW: Mapping[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    bytes: pa.binary(),
}


def _arrow(kind: Any) -> pa.DataType:
    """The Arrow type of a field's annotation; None beside it means no more than that null is allowed."""
    if kind in _ARROW:
        return _ARROW[kind]
    inner = get_args(kind)
    if get_origin(kind) is list:
        return pa.list_(_arrow(inner[0]))
    if get_origin(kind) is dict:
        return pa.map_(*map(_arrow, inner))
    (kind,) = (each for each in inner if each is not NoneType)
    return _arrow(kind)


def _columns() -> Iterable[Column]:
    kinds = get_type_hints(Row)
    for each in fields(Row):
        facts = each.metadata
        yield Column(
            name=each.name,
            type=_arrow(kinds[each.name]),
            unit=facts["unit"],
            meaning=facts["meaning"],
            part=facts["part"],
            level=facts.get("level"),
            keyed=facts.get("keyed", facts["part"] is Part.IDENTITY),
            shown=facts.get("shown", False),
            required=each.default is MISSING,
            default=None if each.default is MISSING else each.default,
        )


COLUMNS = tuple(_columns())
NAMES = tuple(column.name for column in COLUMNS)
SCHEMA = pa.schema([(column.name, column.type) for column in COLUMNS])
REQUIRED = tuple(column.name for column in COLUMNS if column.required)
DEFAULTS: Mapping[str, Any] = {column.name: column.default for column in COLUMNS if column.default is not None}

KEYED = tuple(column.name for column in COLUMNS if column.keyed)
IDENTITY = tuple(column.name for column in COLUMNS if column.part is Part.IDENTITY and column.name != "key")
GROUP = tuple(column.name for column in COLUMNS if column.level is Level.GROUP)
ENTRY = (*GROUP, *(column.name for column in COLUMNS if column.level is Level.ENTRY))
CELL = (*ENTRY, *(column.name for column in COLUMNS if column.level is Level.CELL))
SHOWN = tuple(column.name for column in COLUMNS if column.shown)
LONG = tuple(column.name for column in COLUMNS if pa.types.is_nested(column.type) or pa.types.is_binary(column.type))
