"""The results folder: one parquet for each task and method, one row for each cell, written atomically.

A row lands the moment its cell ends. A reader never sees half a file, two sweeps may write into one folder, and
a file that cannot be read is named and set aside so that its cells run again.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from filelock import FileLock

from dabench.core import DabenchError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Column:
    """One documented column of a result row."""

    name: str
    type: pa.DataType
    unit: str
    meaning: str


_text, _int, _real = pa.string(), pa.int64(), pa.float64()
_reals = pa.list_(pa.float64())

COLUMNS: tuple[Column, ...] = (
    Column("key", _text, "", "hash of everything below that can change the numbers; one row a key"),
    Column("task", _text, "", "task, with the camera's parameters where they are not the task's own"),
    Column("family", _text, "", "family of the task"),
    Column("protocol", _text, "", "which images adapt and which score"),
    Column("method", _text, "", "method, named as its file"),
    Column("setting", _text, "", "what the method may see"),
    Column("variant", _text, "", "method with the hyper-parameters that are not its defaults"),
    Column("params", _text, "JSON", "every hyper-parameter"),
    Column("backbone", _text, "", "network of the source model"),
    Column("image_size", _int, "pixel", "side of the images given to the network"),
    Column("budget", _real, "", "share of the task's adaptation and source training steps"),
    Column("labels", _int, "images", "target labels a class: -1 all, 0 none"),
    Column("target_images", _int, "images", "bound on the target images that adapt: -1 all"),
    Column("seed", _int, "", "varies the source model, the order of the data and the method"),
    Column("status", _text, "", "ok, failed (tried again next time) or refused (nothing to do here)"),
    Column("reason", _text, "", "why a row is failed or refused"),
    Column("accuracy", _real, "fraction", "on the target test images, of the model that adapt() returned"),
    Column("per_class", _reals, "fraction", "the same for each class; NaN for a class without images"),
    Column("nll", _real, "nat", "mean negative log-likelihood on the target test images"),
    Column("ece", _real, "fraction", "expected calibration error, 15 bins, target test images"),
    Column("accuracy_before", _real, "fraction", "source model on the target test images"),
    Column("nll_before", _real, "nat", "source model on the target test images"),
    Column("ece_before", _real, "fraction", "source model on the target test images"),
    Column("source_before", _real, "fraction", "source model on the source test images"),
    Column("source_after", _real, "fraction", "adapted model on the source test images; below before: forgetting"),
    Column("predictions", pa.binary(), "class", "prediction for each target test image, one byte (two above 256)"),
    Column("predictions_before", pa.binary(), "class", "the source model's prediction for each of them"),
    Column("truth", pa.binary(), "class", "the label of each of them"),
    Column("checkpoint_progress", _reals, "fraction", "share of the budget spent at each checkpoint"),
    Column("checkpoint_accuracy", _reals, "fraction", "target test accuracy at each checkpoint (for the oracle)"),
    Column("checkpoint_images", _int, "images", "target test images behind each, beside all for the returned model"),
    Column("checkpoint_loss", _reals, "", "mean training loss since the checkpoint before"),
    Column("checkpoint_scores", pa.map_(_text, _reals), "", "each label-free score at each checkpoint"),
    Column("steps", _int, "steps", "optimisation steps granted"),
    Column("seconds", _real, "s", "adaptation alone, checkpoints not counted"),
    Column("seconds_scoring", _real, "s", "spent on checkpoints and their scores"),
    Column("seconds_source", _real, "s", "training of the source model, when this row's run trained it; else NaN"),
    Column("ms_per_image", _real, "ms", "inference of the adapted model; adaptation included for test-time"),
    Column("peak_memory", _real, "MiB", "peak during adaptation (device memory on a GPU, process memory else)"),
    Column("trained_parameters", _int, "", "parameters whose values differ from the source model's, or are new"),
    Column("n_source", _int, "images", "labelled source training images of the task"),
    Column("n_target", _int, "images", "target images that adapt"),
    Column("n_test", _int, "images", "target images that score"),
    Column("partial", _text, "", "what of the official data is missing"),
    Column("device", _text, "", "processor or GPU"),
    Column("threads", _int, "", "CPU threads of the run"),
    Column("precision", _text, "", "arithmetic of the network: bf16 or fp32"),
    Column("created", _text, "UTC", "when the cell ended, ISO 8601"),
    Column("commit", _text, "", "git commit of the code, + where files differed"),
    Column("version", _text, "", "dabench, python, torch and timm"),
    Column("method_code", _text, "", "fingerprint of the method's code"),
    Column("task_code", _text, "", "fingerprint of the task's facts and loader"),
    Column("core_code", _text, "", "fingerprint of the harness; a difference marks the row as stale"),
    Column("data", _text, "", "fingerprint of the decoded images and labels"),
)
SCHEMA = pa.schema([(column.name, column.type) for column in COLUMNS])
_ORDER = ["variant", "protocol", "backbone", "image_size", "budget", "labels", "target_images", "seed", "key"]


def path_of(results: Path, task: str, method: str) -> Path:
    """Where the rows of a task and a method lie."""
    return results / task / f"{method}.parquet"


def check_writable(results: Path) -> None:
    """Raises DabenchError where no row could be stored, before time is spent on computing one."""
    try:
        results.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=results):
            pass
    except OSError as error:
        raise DabenchError(
            f"cannot write into {results}: {error.strerror or error}; choose another folder with --results"
        ) from error


def write(results: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Adds rows, each replacing the row of the same key; all of a file's rows land at once or not at all.

    A column left out is null. Raises DabenchError when the folder cannot be written or the disk is full.
    """
    by_file: dict[Path, list[Mapping[str, Any]]] = {}
    for row in rows:
        unknown = row.keys() - set(SCHEMA.names)
        if unknown:
            raise DabenchError(f"result row has unknown columns {sorted(unknown)}; add them to store.COLUMNS")
        by_file.setdefault(path_of(results, row["task"], row["method"]), []).append(row)
    for path, new in by_file.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):
                _merge(path, new)
        except OSError as error:
            remedy = "free some space" if error.errno == errno.ENOSPC else "choose another with --results"
            raise DabenchError(f"cannot write {path}: {error.strerror or error}; {remedy}") from error


def _merge(path: Path, new: list[Mapping[str, Any]]) -> None:
    table = pa.Table.from_pylist([dict(row) for row in new], schema=SCHEMA)
    if path.exists():
        old = _open(path)
        if old is not None:
            keys = pa.array([row["key"] for row in new], type=_text)
            keep = pa.compute.invert(pa.compute.is_in(old["key"], value_set=keys))
            table = pa.concat_tables([old.filter(keep), table])
    table = table.sort_by([(name, "ascending") for name in _ORDER])
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        # Files are small and many: zstd would make them a tenth smaller, and reading them twice as slow.
        pq.write_table(table, temporary, compression="snappy", use_dictionary=False)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _open(path: Path, columns: Sequence[str] = SCHEMA.names) -> pa.Table | None:
    """The file's rows in today's schema, or None after setting an unreadable file aside."""
    try:
        # The files are small: threads would cost a quarter more than they save.
        table = pq.ParquetFile(path, pre_buffer=False).read(columns=list(columns), use_threads=False)
    except FileNotFoundError:
        return None
    except MemoryError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        if number is not None:  # the system would not read it; bad content has no error number
            raise DabenchError(f"cannot read {path}: {os.strerror(number)}; mend that and try again") from error
        path.replace(path.with_suffix(".parquet.corrupt"))
        return None
    schema = _schema(tuple(columns))
    if table.schema == schema:
        return table
    for name in columns:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(len(table), SCHEMA.field(name).type))
    return table.select(schema.names).cast(schema)


@cache
def _schema(columns: tuple[str, ...]) -> pa.Schema:
    return pa.schema([SCHEMA.field(name) for name in columns])


def corrupt(results: Path) -> list[Path]:
    """The files that were set aside because they could not be read."""
    return sorted(results.glob("*/*.parquet.corrupt"))


def load(results: Path, columns: Iterable[str] = SCHEMA.names) -> pa.Table:
    """Every row under `results`, files in name order; an unreadable file is set aside (see `corrupt`)."""
    columns = list(columns)
    return pa.concat_tables([_schema(tuple(columns)).empty_table(), *tables(results, columns)])


def tables(results: Path, columns: Sequence[str] = SCHEMA.names) -> Iterator[pa.Table]:
    """The rows of one file after the other, for columns of which all together would not fit into memory."""
    for path in sorted(results.glob("*/*.parquet")):
        table = _open(path, columns)
        if table is not None:
            yield table


def frame(results: Path, columns: Iterable[str] = SCHEMA.names) -> pd.DataFrame:
    """`load` as a data frame; a map column becomes a list of pairs."""
    return load(results, columns).to_pandas()


def statuses(results: Path) -> dict[str, str]:
    """The status of every stored cell by its key."""
    table = load(results, ["key", "status"])
    return dict(zip(table["key"].to_pylist(), table["status"].to_pylist(), strict=True))


def classes(answers: bytes, n_test: float) -> np.ndarray:
    """Stored predictions or labels of `n_test` test images as numbers: a byte each, or two above 256 classes."""
    return np.frombuffer(answers, "<u1" if len(answers) == n_test else "<u2")
