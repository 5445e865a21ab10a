"""What changes a number changes a key, or marks the rows: each test here fails under one mutation of the harness."""

import ast
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dabench import fingerprints, registry
from dabench.core import Domain, Domains, Stream
from dabench.data.cameras import Rotated
from dabench.results import store
from dabench.run import plan, sweep
from dabench.run.plan import Environment, Request
from dabench.run.source_model import source_key
from dabench.run.task_data import task_data


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Environment("cpu", 1, tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("cache"))


def planned(task, methods, place, results=Path(), **wishes):
    request = Request(
        tasks=registry.tasks(str(task)), methods=registry.methods(methods), **{"seeds": (0,), "budget": 0.5, **wishes}
    )
    return plan.plan(request, place.data, place.cache, results)


HARNESS = [str(file.relative_to(fingerprints.PACKAGE)) for file in fingerprints.harness()]


def core_code_where(tmp_path, name, old, new):
    """The harness's fingerprint in a copy of the package in which a line reads otherwise."""
    package = tmp_path / "benchmark"
    shutil.copytree(fingerprints.PACKAGE, package, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    file = package / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    return fingerprints.core_code(package)


@pytest.mark.parametrize("name", HARNESS)
def test_a_line_more_in_the_harness_makes_rows_stale(tmp_path, name):
    future = "from __future__ import annotations\n"
    head = future if future in (fingerprints.PACKAGE / name).read_text() else '"""\n\nfrom'
    changed = core_code_where(tmp_path, name, head, head.replace("from", "CHANGED = 1\nfrom", 1))
    assert changed != fingerprints.core_code()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("run/metrics.py", "CALIBRATION_BINS = 15", "CALIBRATION_BINS = 10"),
        ("run/validators.py", "SND_TEMPERATURE = 0.05", "SND_TEMPERATURE = 0.1"),
        ("run/target_data.py", "CHECKPOINTS = 10", "CHECKPOINTS = 5"),
        ("models/networks.py", "nn.Dropout2d(dropout)", "nn.Dropout2d(0)"),
        ("nn/classifier.py", "images - self.mean", "images + self.mean"),
    ],
)
def test_a_changed_number_in_the_harness_makes_rows_stale(tmp_path, name, old, new):
    assert core_code_where(tmp_path, name, old, new) != fingerprints.core_code()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("run/metrics.py", '"""What a classifier', '"""How much a classifier'),
        ("run/metrics.py", "-> float:", "-> object:"),
        ("run/plan.py", "· seed {", "· number {"),
        ("nn/alignment.py", "(4 * source.shape[1] ** 2)", "source.shape[1] ** 2"),
    ],
    ids=["a docstring", "a type", "the plan", "a building block of methods alone"],
)
def test_what_changes_no_number_of_every_cell_leaves_them_fresh(tmp_path, name, old, new):
    assert core_code_where(tmp_path, name, old, new) == fingerprints.core_code()


PLAIN = """
import torch
from torch import nn

from dabench.core import Needs, register


@register(needs=Needs.NOTHING, paper="none")
@dataclass(frozen=True)
class Own:
    rate: float = 0.1

    def adapt(self, model, target_data):
        masks = []
        torch.relu(masks)
        return nn.Sequential(model)
"""
TYPED = """
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy
import torch
from torch import Tensor, nn

from dabench import Classifier, TargetData
from dabench.core import Needs, register

if TYPE_CHECKING:
    from torch import Size

    numpy.array(Tensor)


@register(needs=Needs.NOTHING, paper="none")
@dataclass(frozen=True)
class Own:
    rate: numpy.float32 = 0.1

    def adapt(self, model: Classifier, target_data: TargetData) -> nn.Module:
        shape: Size
        masks: list[Tensor] = []
        torch.relu(masks)
        return nn.Sequential(model)
"""


def method_code(tmp_path, text):
    file = tmp_path / "own.py"
    file.write_text(text)
    fingerprints.method_code.cache_clear()
    return fingerprints.method_code(file)


def test_a_methods_types_and_their_imports_leave_its_rows_fresh(tmp_path):
    assert method_code(tmp_path, TYPED) == method_code(tmp_path, PLAIN)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("masks: list[Tensor] = []", "masks = [Tensor]"),
        ("nn.Sequential(model)", "Classifier(model)"),
        ("rate: numpy.float32 = 0.1", "rate = 0.1"),
        ("import numpy\n", "import numpy\nimport scipy\n"),
        ("import Tensor, nn", "import Tensor as nn"),
    ],
    ids=["a type in a value", "a building block", "a field no more", "an import that nothing uses", "an alias"],
)
def test_what_a_methods_code_uses_makes_its_rows_stale(tmp_path, old, new):
    assert old in TYPED
    assert method_code(tmp_path, TYPED.replace(old, new)) != method_code(tmp_path, PLAIN)


def test_other_images_under_the_same_name_are_another_cell(tiny_task, place, tmp_path):
    other = tmp_path / "turned.py"
    other.write_text(tiny_task.read_text().replace("turned[700:800]", "turned[701:801]"))
    (one,), (two,) = planned(tiny_task, "dann", place), planned(other, "dann", place)
    assert one.identity["task_code"] == two.identity["task_code"]
    assert one.key != two.key


def test_the_bound_on_target_images_bounds_what_adapts(tiny_task, place, tmp_path):
    cells = planned(tiny_task, "dann", place, tmp_path, target_images=50)
    sweep.run(cells, place, tmp_path, workers=1, listen=lambda word: None)
    (row,) = store.load(tmp_path).to_pylist()
    assert (row["target_images"], row["n_target"]) == (50, 50)


def test_the_test_stream_is_shuffled_whatever_the_order_of_the_files(tiny_task):
    (_, task), *_ = registry.tasks(str(tiny_task))
    by_class = Domain(np.arange(100, dtype=np.uint8).repeat(256).reshape(100, 1, 16, 16), np.arange(100) // 10)
    data = task_data(task, Domains(by_class, by_class, by_class, by_class), torch.device("cpu"), Stream())
    labels = data.target_test.labels
    assert sorted(labels.tolist()) == by_class.labels.tolist()
    assert len(set(labels[:20].tolist())) > 5
    assert data.target_test.images[:, 0, 0, 0].div(10, rounding_mode="floor").tolist() == labels.tolist()


@pytest.mark.parametrize("change", [{"threads": 2}, {"device": "cuda:0"}], ids=["threads", "device"])
def test_a_source_model_is_not_taken_from_another_arithmetic(tiny_task, place, change):
    (one,) = planned(tiny_task, "dann", place)
    (_, task), *_ = registry.tasks(str(tiny_task))
    data = task_data(task, task.read(Path(), Path(), task.protocols[0]), torch.device("cpu"), Stream())
    assert source_key(one.cell, data, place) != source_key(one.cell, data, replace(place, **change))


def test_code_has_one_fingerprint_under_every_python():
    """Python 3.12 gave functions and classes a field more; rows of one version must be found under another."""
    tree = ast.parse("class A:\n  def f(self, x=None): return f'{x!r:>{3}}', 1j\n")
    assert fingerprints.digest(fingerprints._meaning(tree)) == "55ecaefd1683dcdf"


def test_what_stands_in_the_place_of_nothing_counts():
    nothing, none = (fingerprints._meaning(ast.parse(f"def f(): return {what}")) for what in ("", "None"))
    assert nothing != none


def test_a_colour_that_another_processor_rounds_otherwise_is_the_same_cell(tmp_path, monkeypatch):
    """Vector units differ in the last bit of a power, and so do some pixels behind the rotated camera."""
    task = registry.task("shapes-rotated")
    data, protocol = tmp_path / "data", task.protocols[0]
    here = plan.data_print(task, data, tmp_path / "here", protocol)
    monkeypatch.setattr(Rotated, "apply", lambda camera, images: images ^ 1)
    assert plan.data_print(task, data, tmp_path / "there", protocol) == here
    assert plan.data_print(task.vary("angle", 149), data, tmp_path / "there", protocol) != here
    monkeypatch.setattr(fingerprints, "camera_code", lambda: "another transform")
    assert plan.data_print(task, data, tmp_path / "elsewhere", protocol) != here
