"""The results folder: one parquet for each task and method, one row for each cell, written atomically.

The points of a curve, which are tasks whose camera has another value, lie with the task itself, so that no folder's
name needs the brackets of `name[angle=90]`; folders of earlier versions that have them are read as well.

A row lands the moment its cell ends. A reader never sees half a file and changes none: a file that it cannot read it
names and leaves out, so that its cells run again, and who then writes their rows sets it aside. Several sweeps may
write into one folder.

Processes that share a folder over a network, where locks may not hold, write parts: each its own file beside the
method's, without a lock. Readers take the parts with it, and `merge_parts` puts them into it.
"""

from __future__ import annotations

import itertools
import os
import re
import tempfile
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from dabench.core import DabenchError
from dabench.files import locked, named_errors, replacing
from dabench.results.row import CELL, DEFAULTS, IDENTITY, REQUIRED, SCHEMA

if TYPE_CHECKING:
    import pandas as pd


_ORDER = ["task", *(name for name in CELL if name not in ("task", "method")), "key"]


class _Unreadable(Exception):
    """A file that holds no rows of ours; the text says why."""


def path_of(results: Path, task: str, method: str) -> Path:
    """Where the rows of a task, whatever the values of its camera, and a method lie.

    Raises DabenchError for names that lead elsewhere.
    """
    if wrong := _wrong("task", [task]) or _wrong("method", [method]):
        raise DabenchError(wrong)
    return results / task.partition("[")[0] / f"{method}.parquet"


_FILE_NAME = (re.compile(r"\w[\w.,=+\[\]-]{0,149}"), "use letters, digits, '-', '_' and '.', a letter first")
_ONE_LINE = (re.compile(r"[^<>`\x00-\x1f\x7f-\x9f]*"), "use no '<', '>', '`' or line break")


def check_texts(row: Mapping[str, Any]) -> None:
    """Raises DabenchError for a name in the row that a folder or a page would take for something else.

    Pages are written for Markdown, LaTeX and HTML; parameters, which are JSON, and reasons are theirs to escape.
    """
    for column in _NAMED:
        if wrong := _wrong(column, [row.get(column)]):
            raise DabenchError(wrong)


def _wrong(column: str, values: Iterable[Any]) -> str:
    """What is wrong with a value of an identity column; empty for none."""
    allowed, remedy = _FILE_NAME if column in _FILES else _ONE_LINE
    for value in values:
        if value is not None and not allowed.fullmatch(str(value)):
            return f"{str(value)[:80]!r} is no name of a {column} in results: {remedy}"
    return ""


def _wrong_names(table: pa.Table) -> str:
    """What is wrong with a name in the rows; empty for nothing."""
    for kind in (_FILES, _LINES):
        names = [name for name in kind if name in table.column_names]
        # All columns at once: they have few values each, and to look through a column takes longer than to read it.
        chunks = [chunk for name in names for chunk in table[name].chunks]
        if _wrong(kind[0], pa.chunked_array(chunks, pa.string()).unique().to_pylist()):
            return next(filter(None, (_wrong(name, table[name].unique().to_pylist()) for name in names)))
    return ""


_NAMED = tuple(name for name in ("key", *IDENTITY) if SCHEMA.field(name).type == pa.string() and name != "params")
_FILES = ("task", "method")
_LINES = tuple(name for name in _NAMED if name not in _FILES)


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


def write(results: Path, rows: Sequence[Mapping[str, Any]], *, part: str = "") -> None:
    """Adds rows, each replacing the row of the same key; all of a file's rows land at once or not at all.

    A column left out takes its default. Columns that a newer version wrote stay. With `part` they land in files of
    that name, which one process alone writes, and no lock is taken.
    Raises DabenchError when the folder cannot be written, the disk is full, or a name could not be shown.
    """
    by_file: dict[Path, list[Mapping[str, Any]]] = {}
    for row in rows:
        unknown = row.keys() - set(SCHEMA.names)
        if unknown:
            raise DabenchError(f"result row has unknown columns {sorted(unknown)}; add them to results/row.py")
        check_texts(row)
        by_file.setdefault(path_of(results, row["task"], row["method"]), []).append(row)
    for path, new in by_file.items():
        with named_errors(path, "--results"):
            if part:
                path.parent.mkdir(parents=True, exist_ok=True)
                _merge(path.with_name(f"{path.stem}{_PART}{part}.parquet"), _table(new))
            else:
                with locked(path):
                    _merge(path, _table(new))


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{**DEFAULTS, **row} for row in rows], schema=SCHEMA)


def _merge(path: Path, table: pa.Table) -> None:
    """Puts the table's rows into the file in the place of those of their keys."""
    old = _open_or_set_aside(path)
    if old is not None:
        keep = pa.compute.invert(pa.compute.is_in(old["key"], value_set=table["key"].combine_chunks()))
        table = pa.concat_tables([table, old.filter(keep)], promote_options="default")
    table = table.sort_by([(name, "ascending") for name in _ORDER])
    with replacing(path) as unfinished:
        # Files are small and many: zstd would make them a tenth smaller, and reading them twice as slow.
        pq.write_table(table, unfinished, compression="snappy", use_dictionary=False)


def _open_or_set_aside(path: Path) -> pa.Table | None:
    """Every column of the file's rows, for who writes it next; None where it holds none, and then it is set aside."""
    try:
        return _open(path, None)
    except _Unreadable:
        _set_aside(path)
        return None


def _open_or_warn(path: Path, columns: Sequence[str], *, named: bool = True) -> pa.Table | None:
    """The file's rows, for who only reads; None and a warning where it holds none."""
    try:
        return _open(path, columns, named=named)
    except _Unreadable as why:
        warnings.warn(f"{path} is left out, since it holds no rows of dabench's: {why}", stacklevel=3)
        return None


def _set_aside(path: Path) -> None:
    """Keeps the unreadable file under the first name that is free: it may be all there is of someone's work."""
    names = (
        path.with_suffix(f"{number}.parquet.corrupt")
        for number in itertools.chain([""], map(".{}".format, itertools.count(2)))
    )
    path.replace(next(name for name in names if not name.exists()))


def _open(path: Path, columns: Sequence[str] | None, *, named: bool = True) -> pa.Table | None:
    """The file's rows in today's types, None where there is no file; without `named` their names are not looked at.

    `columns` None takes every column, those that no field of `Row` names too, which a newer version wrote. Raises
    _Unreadable for a file that is damaged or of another schema, DabenchError for one that the system does not give.
    """
    try:
        # The files are small: threads would cost a quarter more than they save.
        file = pq.ParquetFile(path, pre_buffer=False)
        there = file.schema_arrow.names
        if missing := [name for name in REQUIRED if name not in there]:
            raise ValueError(f"no column {missing[0]}")
        wanted = columns if columns is not None else [*SCHEMA.names, *(name for name in there if name not in _KNOWN)]
        table = file.read(columns=[name for name in wanted if name in there], use_threads=False)
        table = _in_schema(table, wanted)
        if named and (wrong := _wrong_names(table)):
            raise ValueError(wrong)
        return table
    except FileNotFoundError:
        return None
    except MemoryError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        if number is not None:  # the system would not read it; bad content has no error number
            raise DabenchError(f"cannot read {path}: {os.strerror(number)}; mend that and try again") from error
        raise _Unreadable(str(error).partition("\n")[0] or type(error).__name__) from error


_KNOWN = frozenset(SCHEMA.names)


def _in_schema(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """The columns in that order and in today's types; one that the table lacks holds its default."""
    schema = _schema(tuple(name for name in columns if name in _KNOWN))
    if table.schema.remove_metadata() == schema:
        return table
    for name in schema.names:
        if name not in table.column_names:
            table = table.append_column(schema.field(name), _defaults(name, len(table)))
    kinds = (SCHEMA.field(name) if name in _KNOWN else table.schema.field(name) for name in columns)
    return table.select(list(columns)).cast(pa.schema(kinds))


def _defaults(name: str, count: int) -> pa.Array:
    kind = SCHEMA.field(name).type
    return pa.repeat(pa.scalar(DEFAULTS[name], kind), count) if name in DEFAULTS else pa.nulls(count, kind)


@cache
def _schema(columns: tuple[str, ...]) -> pa.Schema:
    return pa.schema([SCHEMA.field(name) for name in columns])


def corrupt(results: Path) -> list[Path]:
    """The files that were set aside because they could not be read."""
    return sorted(results.glob("*/*.parquet.corrupt"))


def load(results: Path, columns: Iterable[str] = SCHEMA.names) -> pa.Table:
    """Every row under `results`, files in name order; warns of a file that cannot be read, and leaves it out."""
    columns = list(columns)
    nothing = _schema(tuple(columns)).empty_table()
    whole = pa.concat_tables([nothing, *_compact(_tables(results, columns, named=False))])
    # The names of all files are looked at together, which is quicker, and file by file only where one is wrong.
    return pa.concat_tables([nothing, *tables(results, columns)]) if _wrong_names(whole) else whole


def _compact(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in fewer tables: a small one takes twice the memory of its rows."""
    while together := list(itertools.islice(tables, 256)):
        yield pa.concat_tables(together).combine_chunks()


def tables(results: Path, columns: Sequence[str] = SCHEMA.names) -> Iterator[pa.Table]:
    """The rows of one file after the other, for columns of which all together would not fit into memory."""
    yield from _tables(results, columns)


def _tables(results: Path, columns: Sequence[str], *, named: bool = True) -> Iterator[pa.Table]:
    # The folders of an earlier version first: of two rows of a key, the later one counts.
    for path, parts in sorted(_files(results).items(), key=lambda file: ("[" not in file[0].parent.name, file[0])):
        table = _with_parts(path, columns) if parts else _open_or_warn(path, columns, named=named)
        if table is not None:
            yield table


# ------------------------------------------------------------------------------------------------- parts

_PART = ".part-"
_DECIDING = ("key", "created", "status")  # which of two rows of a key counts


def _files(results: Path) -> dict[Path, list[Path]]:
    """Each file of rows, written yet or not, with its parts."""
    found: dict[Path, list[Path]] = {}
    for path in sorted(results.glob("*/*.parquet")):
        method, mark, _ = path.name.partition(_PART)
        parts = found.setdefault(path.with_name(f"{method}.parquet") if mark else path, [])
        parts += [path] if mark else []
    return found


def _with_parts(path: Path, columns: Sequence[str]) -> pa.Table | None:
    """The rows of a file and of its parts, one a key.

    Parts are read before the file into which they may be merged meanwhile; where one has gone, all are read again.
    """
    wanted = [*columns, *(name for name in _DECIDING if name not in columns)]
    while True:
        there = sorted(path.parent.glob(f"{path.stem}{_PART}*.parquet"))
        read = [_open_or_warn(each, wanted) for each in [*there, path]]
        if all(each.exists() for each in there):
            break
    tables = [table for table in read if table is not None]
    return _newest(pa.concat_tables(tables)).select(list(columns)) if tables else None


def _newest(table: pa.Table) -> pa.Table:
    """The row of each key that was made last; of those made in the same second, one that is ok."""
    rows = zip(*(table[name].to_pylist() for name in _DECIDING), strict=True)
    chosen: dict[str, tuple[str, bool, int]] = {}
    for index, (key, created, status) in enumerate(rows):
        chosen[key] = max(chosen.get(key, ("", False, -1)), (created or "", status == "ok", index))
    return table.take(sorted(index for _, _, index in chosen.values()))


def of_method(results: Path, task: str, method: str) -> pa.Table:
    """The rows of one file and its parts."""
    table = _with_parts(path_of(results, task, method), SCHEMA.names)
    return SCHEMA.empty_table() if table is None else table


def version_of(results: Path, task: str, method: str) -> tuple[tuple[str, int, int], ...]:
    """Changes when the file or one of its parts does."""
    path = path_of(results, task, method)
    found = []
    for each in [path, *sorted(path.parent.glob(f"{path.stem}{_PART}*.parquet"))]:
        with suppress(FileNotFoundError):
            stat = each.stat()
            found.append((each.name, stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def merge_parts(results: Path) -> None:
    """Puts every part into the file it belongs to; who still writes one goes on with another.

    A part takes another name first, so that what its writer adds meanwhile lands in a new one. Raises DabenchError as
    `write` does.
    """
    for path, parts in _files(results).items():
        for part in parts:
            mine = part.with_name(f"{path.stem}{_PART}merging-{os.getpid()}-{part.stem.partition(_PART)[2]}.parquet")
            try:
                part.rename(mine)
            except FileNotFoundError:  # another process merges it
                continue
            with named_errors(path, "--results"), locked(path):
                new, old = _open_or_set_aside(mine), _open_or_set_aside(path)
                if new is not None:
                    both = [new] if old is None else [old, new]
                    _merge(path, _newest(pa.concat_tables(both, promote_options="default")))
                mine.unlink(missing_ok=True)


def frame(results: Path, columns: Iterable[str] = SCHEMA.names) -> pd.DataFrame:
    """`load` as a data frame; a map column becomes a list of pairs."""
    return load(results, columns).to_pandas()


def statuses(results: Path) -> dict[str, str]:
    """The status of every stored cell by its key."""
    table = load(results, ["key", "status"])
    return dict(zip(table["key"].to_pylist(), table["status"].to_pylist(), strict=True))


def of_keys(results: Path, keys: Collection[str], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Columns of the stored rows of these keys; `key` is one of the columns."""
    table = load(results, columns)
    rows: list[dict[str, Any]] = table.filter(
        pa.compute.is_in(table["key"], pa.array(list(keys), pa.string()))
    ).to_pylist()
    return rows


def made(results: Path, keys: Collection[str]) -> dict[str, str]:
    """When the stored rows of these keys were made, by key."""
    return {row["key"]: row["created"] or "" for row in of_keys(results, keys, ("key", "created"))}


def classes(answers: bytes, n_test: float) -> np.ndarray:
    """Stored predictions or labels of `n_test` test images as numbers: a byte each, or two above 256 classes."""
    return np.frombuffer(answers, "<u1" if len(answers) == n_test else "<u2")
