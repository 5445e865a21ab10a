import errno
import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dabench.core import DabenchError
from dabench.results import store


def row(seed=0, **values):
    return {"key": f"k{seed}", "task": "a-b", "method": "dann", "seed": seed, "status": "ok", **values}


def test_a_row_comes_back_as_it_was_written(tmp_path):
    store.write(
        tmp_path,
        [
            row(
                accuracy=0.5,
                per_class=[0.25, float("nan")],
                predictions=b"\x01\x02",
                checkpoint_scores={"entropy": [0.1, 0.2]},
            )
        ],
    )
    (back,) = store.load(tmp_path).to_pylist()
    assert back["accuracy"] == 0.5
    assert back["per_class"][0] == 0.25
    assert back["predictions"] == b"\x01\x02"
    assert dict(back["checkpoint_scores"]) == {"entropy": [0.1, 0.2]}


def test_the_same_key_replaces_its_row(tmp_path):
    store.write(tmp_path, [row(0, status="failed"), row(1)])
    store.write(tmp_path, [row(0, status="ok")])
    assert store.statuses(tmp_path) == {"k0": "ok", "k1": "ok"}


def test_an_unknown_column_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(DabenchError, match="colour"):
        store.write(tmp_path, [row(colour="red")])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1 not parquet at all PAR1", os.urandom(512)])
def test_a_corrupt_file_is_set_aside_and_named(tmp_path, content):
    store.write(tmp_path, [row(0)])
    store.path_of(tmp_path, "c-d", "dann").parent.mkdir()
    store.path_of(tmp_path, "c-d", "dann").write_bytes(content)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    with pytest.warns(UserWarning, match=r"c-d.dann\.parquet is left out"):
        assert store.statuses(tmp_path) == {"k0": "ok"}
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")} == before, "a reader changes nothing"
    store.write(tmp_path, [row(1, task="c-d")])
    assert [path.read_bytes() for path in store.corrupt(tmp_path)] == [content]
    assert store.statuses(tmp_path) == {"k0": "ok", "k1": "ok"}


def test_a_second_corrupt_file_does_not_take_the_place_of_the_first(tmp_path):
    path = store.path_of(tmp_path, "a-b", "dann")
    for content in (b"first", b"second", b"third"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        store.write(tmp_path, [row(0)])
    assert {path.read_bytes() for path in store.corrupt(tmp_path)} == {b"first", b"second", b"third"}


HOSTILE = ["..", ".", "", "/tmp", "../up", "a/b", "a\\b", ".hidden", "a\nb", "a\0b", "<script>", "-rf", "x" * 200]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("column", ["task", "method"])
def test_a_name_that_leads_elsewhere_is_refused_before_anything_is_written(tmp_path, name, column):
    with pytest.raises(DabenchError, match="is no name of a"):
        store.write(tmp_path / "results", [row(0), row(1, **{column: name})])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("column", ["key", "family", "variant", "setting", "protocol", "backbone", "stream"])
def test_markup_and_line_breaks_reach_no_page(tmp_path, column):
    for text in ("<script>alert(1)</script>", "a\n# b", "`a`"):
        with pytest.raises(DabenchError, match=f"is no name of a {column} "):
            store.write(tmp_path / "results", [row(0, **{column: text})])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["../up", "<script>"])
def test_a_file_whose_rows_bear_such_a_name_is_left_out(tmp_path, name):
    column = pa.array([name])
    rewritten(tmp_path, lambda table: table.set_column(table.column_names.index("task"), "task", column))
    with pytest.warns(UserWarning, match="is no name of a"):
        assert len(store.load(tmp_path)) == 0


def test_a_truncated_file_is_set_aside_and_its_cells_run_again(tmp_path):
    store.write(tmp_path, [row(seed) for seed in range(20)])
    path = store.path_of(tmp_path, "a-b", "dann")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="is left out"):
        assert store.statuses(tmp_path) == {}
    store.write(tmp_path, [row(20)])
    assert len(store.corrupt(tmp_path)) == 1
    assert store.statuses(tmp_path) == {"k20": "ok"}


def test_a_file_that_the_system_will_not_open_is_not_taken_for_corrupt(tmp_path):
    path = store.path_of(tmp_path, "a-b", "dann")
    path.parent.mkdir()
    path.symlink_to(path)
    with pytest.raises(DabenchError, match=r"dann\.parquet: Too many levels of symbolic links"):
        store.load(tmp_path)
    assert path.is_symlink()


WRITER = """
import os, sys
from itertools import count
from pathlib import Path
from dabench.results import store

folder, first, rows = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
for seed in range(first, first + rows) if rows else count(first):
    row = {"key": f"k{seed}", "task": "a-b", "method": "dann", "seed": seed, "status": "ok"}
    store.write(folder, [{**row, "predictions": os.urandom(100_000)}])
"""


def writer(folder, first, rows=0):
    """A process that writes as many rows one by one, for ever where none are asked for."""
    return subprocess.Popen([sys.executable, "-c", WRITER, folder, str(first), str(rows)])


def test_four_writers_at_once_lose_nothing(tmp_path):
    writers = [writer(tmp_path, first, rows=10) for first in (0, 100, 200, 300)]
    assert [each.wait() for each in writers] == [0] * 4
    assert len(store.statuses(tmp_path)) == 40


def test_a_killed_writer_leaves_a_readable_file(tmp_path):
    process = writer(tmp_path, 0)
    while len(store.statuses(tmp_path)) < 5 and process.poll() is None:
        pass
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert len(store.statuses(tmp_path)) >= 5
    assert store.corrupt(tmp_path) == []
    store.write(tmp_path, [row(10_000)])
    assert not list(tmp_path.rglob("*.part"))


def test_a_full_disk_names_the_file_and_keeps_what_was_there(tmp_path, monkeypatch):
    store.write(tmp_path, [row(0)])

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(DabenchError, match=r"dann\.parquet.*No space left.*free some space"):
        store.write(tmp_path, [row(1)])
    monkeypatch.undo()
    assert store.statuses(tmp_path) == {"k0": "ok"}
    assert not list(tmp_path.rglob("*.part"))


def test_rows_of_an_older_schema_still_load(tmp_path):
    store.write(tmp_path, [row(0, accuracy=0.5)])
    path = store.path_of(tmp_path, "a-b", "dann")
    pq.write_table(pq.read_table(path).drop_columns(["ece", "partial"]), path)
    (back,) = store.load(tmp_path).to_pylist()
    assert back["accuracy"] == 0.5
    assert back["ece"] is None


def rewritten(tmp_path, change):
    """The file of one stored row after a change of its table, as another version would have written it."""
    store.write(tmp_path, [row(0, accuracy=0.5, steps=7)])
    path = store.path_of(tmp_path, "a-b", "dann")
    pq.write_table(change(pq.read_table(path)), path)
    return path


def test_a_file_from_before_a_column_reads_as_its_default(tmp_path):
    rewritten(tmp_path, lambda table: table.drop_columns(["start", "stream", "frozen", "scored", "curve"]))
    (back,) = store.load(tmp_path).to_pylist()
    assert [back[name] for name in ("start", "stream", "frozen", "scored", "curve")] == [
        "source-model",
        "shuffled",
        False,
        True,
        None,
    ]


def test_columns_of_a_newer_version_survive_a_write_by_this_one(tmp_path):
    path = rewritten(tmp_path, lambda table: table.append_column("joules", pa.array([12.5])))
    assert "joules" not in store.load(tmp_path).column_names
    store.write(tmp_path, [row(1)])
    store.write(tmp_path, [row(2)])
    assert pq.read_table(path)["joules"].to_pylist() == [12.5, None, None]


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop_columns(["key"]),
        lambda table: pa.table({"a": [1, 2]}),
        lambda table: table.drop_columns(["steps"]).append_column("steps", pa.array(["seven"])),
        lambda table: table.drop_columns(["per_class"]).append_column("per_class", pa.array([0.5])),
    ],
    ids=["no key", "another table", "text for a number", "a number for a list"],
)
def test_a_file_of_another_schema_is_set_aside_like_a_corrupt_one(tmp_path, change):
    rewritten(tmp_path, change)
    with pytest.warns(UserWarning, match="is left out"):
        assert len(store.load(tmp_path)) == 0
    store.write(tmp_path, [row(1)])
    assert len(store.corrupt(tmp_path)) == 1
    assert store.statuses(tmp_path) == {"k1": "ok"}


@pytest.mark.parametrize("kind", ["<u1", "<u2"])
def test_classes_reads_what_a_cell_writes_of_few_and_of_many_classes(kind):
    answers = np.array([0, 3, 255, 7])
    assert (store.classes(answers.astype(kind).tobytes(), len(answers)) == answers).all()


def test_the_points_of_a_curve_lie_with_their_task_and_folders_of_their_own_are_read_too(tmp_path):
    point = row(1, task="a-b[angle=90]", status="failed")
    store.write(tmp_path, [row(0), point])
    assert [path.name for path in tmp_path.iterdir()] == ["a-b"]
    (tmp_path / "a-b").rename(tmp_path / "a-b[angle=90]")
    assert store.statuses(tmp_path) == {"k0": "ok", "k1": "failed"}
    store.write(tmp_path, [{**point, "status": "ok"}])
    assert store.statuses(tmp_path) == {"k0": "ok", "k1": "ok"}
