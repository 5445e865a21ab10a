import json
from pathlib import Path

import pyarrow as pa
import pytest

from dabench import fingerprints, registry
from dabench.results import provenance, store
from dabench.results.row import KEYED

SCHEMA = pa.schema([store.SCHEMA.field(name) for name in provenance.COLUMNS])


def made(**changed):
    task = registry.task("fonts-optdigits")
    row = {
        "key": "k",
        "task": task.name,
        "image_size": task.image_shape[1],
        "method": "dann",
        "method_code": fingerprints.method_code(registry.method_files()["dann"]),
        "task_code": fingerprints.task_code(task, task.image_shape[1]),
        "core_code": fingerprints.core_code(),
        **changed,
    }
    return pa.Table.from_pylist([row], schema=SCHEMA)


def test_a_row_of_todays_code_is_neither_stale_nor_unchecked():
    assert provenance.age_of(made()) == provenance.Age({}, {})


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"core_code": "older"}, "harness"),
        ({"method_code": "older"}, "method"),
        ({"task_code": "older"}, "task"),
        ({"task_code": "older", "core_code": "older"}, "harness and task"),
        ({"core_code": None, "method": "gone"}, "harness"),
    ],
)
def test_a_row_of_other_code_is_stale_and_says_what_changed(changed, what):
    assert provenance.age_of(made(**changed)) == provenance.Age({"k": what}, {})


@pytest.mark.parametrize(
    ("changed", "what"),
    [({"method": "gone"}, "method"), ({"task": "gone"}, "task"), ({"task": "gone[angle=9]"}, "task")],
)
def test_a_row_whose_code_is_not_here_is_unchecked(changed, what):
    assert provenance.age_of(made(**changed)) == provenance.Age({}, {"k": what})


def test_the_parameter_of_a_camera_leaves_a_row_fresh():
    task = registry.task("imagenet-rotated[angle=30]")
    changed = {"task": task.name, "task_code": fingerprints.task_code(task, task.image_shape[1])}
    assert provenance.age_of(made(**changed)) == provenance.Age({}, {})


def test_the_code_of_a_task_is_that_of_the_size_it_ran_at():
    task = registry.task("pacs-art-cartoon")
    small = {"task": task.name, "image_size": 64, "task_code": fingerprints.task_code(task, 64)}
    assert provenance.age_of(made(**small)) == provenance.Age({}, {})
    assert provenance.age_of(made(**small | {"image_size": 224})) == provenance.Age({"k": "task"}, {})


def test_the_key_of_every_committed_row_is_the_digest_of_its_columns():
    rows = store.load(Path(__file__).parents[1] / "results", ("key", *KEYED)).to_pylist()
    assert rows
    for row in rows:
        key = row.pop("key")
        assert fingerprints.digest(json.dumps({name: row[name] for name in KEYED}, sort_keys=True)) == key, row
