import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dabench.results import row
from dabench.results.row import COLUMNS, Level, Part, Row

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_every_column_says_what_it_holds(column):
    assert column.meaning
    assert not (column.level or column.keyed) or column.part is not Part.MEASURED


def test_a_comparison_group_lies_inside_an_entry_and_an_entry_inside_a_cell():
    assert set(row.GROUP) < set(row.ENTRY) < set(row.CELL) <= set(row.IDENTITY)
    assert set(row.CELL) - set(row.ENTRY) == {"seed"}
    assert {"start", "stream", "frozen", "budget", "labels"} <= set(row.GROUP)
    assert all(column.level is not Level.GROUP or column.default is not None for column in COLUMNS)


def test_the_key_is_made_of_the_identity_and_of_the_code_and_data_behind_it():
    assert set(row.KEYED) == {*row.IDENTITY, "method_code", "task_code", "data"}


def test_a_row_read_from_a_mapping_takes_defaults_and_leaves_out_what_no_column_names():
    read = Row.of({"key": "k", "task": "a-b", "method": "dann", "status": "ok", "start": None, "joules": 3})
    assert read.start == "source-model"
    assert read.accuracy is None
    assert set(read.identity) == set(row.IDENTITY)


NEW = '    joules: float | None = _measured("J", "energy of the adaptation", shown=True)\n'
SEEN = """
from pathlib import Path
from dabench.results import store
from dabench.results.row import Row
from dabench.report import schema

results = Path("results")
row = {"key": "k", "task": "a-b", "method": "dann", "status": "ok", "setting": "unsupervised", "accuracy": 0.5}
store.write(results, [{**row, "accuracy_before": 0.4, "n_test": 10, "joules": 7.5}])
import dabench.results.row
assert "joules" in dabench.results.row.NAMES, dabench.__file__
assert "| `joules`" in schema.schema_page()
(back,) = store.load(results).to_pylist()
assert Row.of(back).joules == 7.5

from dabench.evaluation.leaderboard import Leaderboard
from dabench.report import markdown, site

board = Leaderboard(markdown.load(results))
assert board.entries["joules"].tolist() == [7.5]
assert b'"joules":[7.5]' in site.files(board)["data.js"]
"""


def test_a_column_added_in_one_line_is_seen_everywhere(tmp_path):
    shutil.copytree(ROOT / "benchmark", tmp_path / "dabench", ignore=shutil.ignore_patterns("__pycache__"))
    for package in ("methods", "tasks"):
        shutil.copytree(ROOT / package, tmp_path / "dabench" / package, ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "dabench" / "results" / "row.py"
    text = file.read_text()
    at = text.index("    n_source:")
    file.write_text(text[:at] + NEW + text[at:])
    seen = subprocess.run([sys.executable, "-c", SEEN], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert seen.returncode == 0, seen.stderr
