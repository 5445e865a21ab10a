"""Rows that processes without a common lock store: each writes its own parts, readers and a merger take them all."""

import subprocess
import sys

import pytest

from dabench.results import store


def row(seed, **changed):
    return {"key": f"k{seed}", "task": "a-b", "method": "m", "variant": "m", "seed": seed, "status": "ok", **changed}


def names(folder):
    return sorted(path.name for path in (folder / "a-b").glob("*.parquet"))


def test_a_part_is_read_with_the_file_it_belongs_to_and_merged_into_it(tmp_path):
    store.write(tmp_path, [row(0)])
    store.write(tmp_path, [row(1)], part="here")
    store.write(tmp_path, [row(2)], part="here")
    store.write(tmp_path, [row(3)], part="there")
    assert names(tmp_path) == ["m.parquet", "m.part-here.parquet", "m.part-there.parquet"]
    before = store.load(tmp_path).sort_by("key")
    assert before["seed"].to_pylist() == [0, 1, 2, 3]
    store.merge_parts(tmp_path)
    assert names(tmp_path) == ["m.parquet"]
    assert store.load(tmp_path).sort_by("key") == before


def test_writing_a_part_takes_no_lock(tmp_path):
    store.write(tmp_path, [row(1)], part="here")
    assert list(tmp_path.rglob("*.lock")) == []


@pytest.mark.parametrize("main", ["first", "last"])
@pytest.mark.parametrize(
    ("lasting", "other"),
    [
        ({"created": "2026-01-02", "status": "failed"}, {"created": "2026-01-01"}),
        ({"created": "2026-01-01"}, {"created": "2026-01-01", "status": "failed"}),
    ],
    ids=["the later one", "the one that is ok"],
)
def test_of_two_rows_of_a_key_one_counts_wherever_it_lies(tmp_path, main, lasting, other):
    rows = [row(1, accuracy=0.9, **lasting), row(1, accuracy=0.1, **other)]
    if main == "last":
        rows.reverse()
    store.write(tmp_path, rows[:1])
    store.write(tmp_path, rows[1:], part="here")
    assert store.load(tmp_path, ["accuracy"])["accuracy"].to_pylist() == [0.9]
    store.merge_parts(tmp_path)
    assert store.load(tmp_path, ["accuracy"])["accuracy"].to_pylist() == [0.9]


def test_a_part_that_a_merger_left_behind_is_read_and_merged_by_the_next(tmp_path):
    store.write(tmp_path, [row(1)], part="merging-17-here")
    assert store.statuses(tmp_path) == {"k1": "ok"}
    store.merge_parts(tmp_path)
    assert names(tmp_path) == ["m.parquet"]


WRITER = """
import sys
from dabench.results import store
from pathlib import Path
part = int(sys.argv[2])
for seed in range(20 * part, 20 * part + 20):
    row = {"key": f"k{seed}", "task": "a-b", "method": "m", "variant": "m", "seed": seed, "status": "ok"}
    store.write(Path(sys.argv[1]), [row], part=f"host-{part}")
"""


def test_writers_without_a_common_lock_lose_nothing_while_another_process_merges(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, str(part)]) for part in range(3)]
    seen = 0
    while any(writer.poll() is None for writer in writers):
        store.merge_parts(tmp_path)
        there = len(store.statuses(tmp_path))
        assert there >= seen, "a reader missed rows that it had seen before"
        seen = there
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    store.merge_parts(tmp_path)
    assert len(store.statuses(tmp_path)) == 60
    assert names(tmp_path) == ["m.parquet"]
