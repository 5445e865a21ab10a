"""Streams: in which order and company the test images come, and what begins anew on the way."""

import textwrap
from itertools import groupby

import numpy as np
import pytest
import torch

from dabench import registry
from dabench.core import DabenchError, Stream
from dabench.run import adaptation, cell, metrics, plan, streams

LABELS = np.repeat(np.arange(10), 50)


def arrival(spec, labels=LABELS, parts=()):
    return streams.arrival(streams.parse(spec), labels, parts)


def bursts(labels):
    """How many images of one class come in a row, on average."""
    return np.mean([len(list(run)) for _, run in groupby(labels)])


@pytest.mark.parametrize("spec", ["shuffled", "correlated[delta=0.5,batch_size=16]", "sorted[batch_size=1]", "reset"])
def test_a_stream_s_text_is_read_back(spec):
    assert streams.parse(spec).spec == spec


def test_numbers_that_are_usual_are_not_written():
    assert streams.parse("correlated[batch_size=200,delta=0.10]").spec == "correlated"
    assert streams.parse("correlated") == Stream("correlated", 200, 0.1)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("correlate", "no stream 'correlate'; did you mean 'correlated'"),
        ("shuffled[delta=0.1]", "'shuffled' has no 'delta'"),
        ("correlated[delta=0]", "delta = '0' must be a positive number"),
        ("correlated[delta=much]", "delta = 'much' must be a positive number"),
        ("sorted[batch=4]", "'sorted' has no 'batch'; did you mean 'batch_size'"),
        ("sorted[batch_size=2.5]", "batch_size = '2.5' must be"),
        ("sorted[", "cannot read the stream"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(spec, complaint):
    with pytest.raises(DabenchError, match=complaint.replace("[", r"\[")):
        streams.parse(spec)


@pytest.mark.parametrize("spec", streams.ORDERS)
@pytest.mark.parametrize("parts", [(), (200, 300)])
def test_every_image_comes_once_and_for_everyone_in_the_same_order(spec, parts):
    come = arrival(spec, parts=parts)
    assert sorted(come.order) == list(range(500))
    assert sum(come.parts) == 500
    assert np.array_equal(come.order, arrival(spec, parts=parts).order)


def test_the_smaller_delta_the_longer_the_bursts_and_sorted_is_the_limit():
    lengths = [bursts(LABELS[arrival(f"correlated[delta={delta}]").order]) for delta in (100, 1, 0.1, 0.01)]
    assert lengths == sorted(lengths)
    assert bursts(LABELS[arrival("shuffled").order]) < lengths[0]
    assert bursts(LABELS[arrival("sorted").order]) == 50


@pytest.mark.parametrize("spec", ["reset", "continual", "correlated", "sorted"])
def test_shifts_come_one_after_the_other(spec):
    come = arrival(spec, parts=(200, 300))
    assert sorted(come.order[:200]) == list(range(200))
    assert come.parts == (200, 300)
    assert come.resets == (spec == "reset")


def test_a_mixed_stream_holds_all_shifts_in_each_batch():
    come = arrival("mixed", parts=(200, 300))
    assert come.parts == (500,)
    assert 4 < (come.order[:20] < 200).sum() < 14


def test_accuracy_over_time_is_by_shift_where_there_are_several():
    logits, labels = torch.eye(2)[[0, 0, 1, 1, 1]], torch.tensor([0, 1, 1, 1, 1])
    assert metrics.accuracy_over_time(logits, labels, (2, 3)) == [0.5, 1.0]
    assert metrics.accuracy_over_time(logits, labels, (5,)) == [1.0, 0.0, 1.0, 1.0, 1.0]


# ------------------------------------------------------------------------------------------------ whole cells

TWO_SHIFTS = """
from dataclasses import replace
from dabench.core import Domain, Domains

_load = load


def two(task, root, cache, protocol):
    one = _load(task, root, cache, protocol)
    again = Domain(one.target_test.images[:60].repeat(2, axis=0)[:90], one.target_test.labels[:60].repeat(2)[:90])
    return replace(one, target_test=again, parts=(30, 60))


TASKS = (replace(TASKS[0], name="two-shifts", load=two, shifts=("first", "second")),)
"""
COUNTING = '''
"""Answers with the number of batches that it has seen, and of images in this one."""
from dataclasses import dataclass

import torch
from dabench.core import Needs, register


@register(needs=Needs.TEST_STREAM, paper="none")
@dataclass(frozen=True, kw_only=True)
class Counting:
    def adapt(self, model, target_data):
        return Stream()


class Stream(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, images):
        self.seen += 1
        return torch.nn.functional.one_hot(torch.full((len(images),), min(self.seen, 9)), 10).float()
'''


@pytest.fixture
def two_shifts(tiny_task, tmp_path):
    file = tmp_path / "two.py"
    file.write_text(tiny_task.read_text() + textwrap.dedent(TWO_SHIFTS))
    return file


def planned(task, method, tmp_path, stream):
    environment = plan.Environment("cpu", 1, tmp_path, tmp_path / "cache")
    request = plan.Request(
        tasks=registry.tasks(str(task)), methods=registry.methods(str(method)), seeds=(0,), budget=0.5, stream=stream
    )
    (cell,) = plan.plan(request, tmp_path, tmp_path / "cache", tmp_path / "results")
    return cell, environment


@pytest.mark.parametrize(
    ("spec", "batches"),
    [
        ("continual[batch_size=20]", [1] * 20 + [2] * 10 + [3] * 20 + [4] * 20 + [5] * 20),
        ("reset[batch_size=20]", [1] * 20 + [2] * 10 + [1] * 20 + [2] * 20 + [3] * 20),
        ("mixed[batch_size=50]", [1] * 50 + [2] * 40),
    ],
)
def test_no_batch_holds_two_shifts_and_a_reset_stream_begins_anew(two_shifts, tmp_path, spec, batches):
    file = tmp_path / "counting.py"
    file.write_text(COUNTING)
    one, environment = planned(two_shifts, file, tmp_path, spec)

    def ask(job):
        told = []
        adaptation.run(job, lambda word, facts, tensors: told.append((word, facts, tensors)))
        # The model at the end of the stream goes on with the source's pictures.
        assert told[-1][2]["source"].argmax(1)[0] == batches[-1] + 1
        return iter(told)

    row = cell.measure(one.cell, environment, lambda *progress: None, ask)
    assert list(row["predictions"]) == batches
    assert len(row["curve"]) == (10 if spec.startswith("mixed") else 2)


def test_a_stream_of_several_shifts_is_refused_where_there_is_one(tiny_task, tmp_path):
    one, _ = planned(tiny_task, "bn1", tmp_path, "continual")
    assert one.state is plan.State.REFUSED
    assert one.reason == "stream 'continual' leads through several shifts, and 'digits-turned' has one; take cifar10-c"
