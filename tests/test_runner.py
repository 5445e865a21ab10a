import ctypes
import os
import resource
from dataclasses import replace

import numpy as np
import pytest
import torch

from dabench import registry
from dabench.core import DabenchError
from dabench.results import store
from dabench.run import adaptation, cell, devices, plan, recorder, streams, sweep
from dabench.run.plan import Environment, Request, State
from dabench.run.task_data import label_budget

MEASURED = ("accuracy", "nll", "predictions", "checkpoint_accuracy", "checkpoint_loss", "source_after")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One thread, and a cache of source models that the tests of this file share."""
    return Environment("cpu", 1, tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("cache"))


def planned(task, methods, place, results, **wishes):
    request = Request(
        tasks=registry.tasks(str(task)),
        methods=registry.methods(methods),
        **{"seeds": (0,), "budget": 0.5, **wishes},
    )
    return plan.plan(request, place.data, place.cache, results)


def swept(task, methods, place, results, workers=1, **wishes):
    """Runs what is not stored; gives every stored row by its variant and seed."""
    cells = planned(task, methods, place, results, **wishes)
    sweep.run(cells, place, results, workers=workers, listen=lambda word: None)
    return {(row["variant"], row["seed"]): row for row in store.load(results).to_pylist()}


def states(cells):
    return [each.state for each in cells]


def test_the_source_models_own_row_comes_first(tiny_task, place, tmp_path):
    cells = planned(tiny_task, "adabn,source_only,dann", place, tmp_path, seeds=(0, 1))
    names = [each.cell.variant.name for each in cells]
    assert names == ["source_only"] * 2 + ["adabn"] * 2 + ["dann"] * 2


def test_a_plan_tells_before_it_reads_a_tasks_data_and_reads_none_that_are_known(tiny_task, place, tmp_path):
    request = Request(tasks=registry.tasks(str(tiny_task)), methods=registry.methods("tent"))
    keys, told = set(), []
    for _ in range(2):
        cells = plan.plan(request, place.data, tmp_path, tmp_path, before_reading=lambda: told.append("reads"))
        keys.add(cells[0].key)
    assert (len(keys), told) == (1, ["reads"])


def test_a_method_that_raises_becomes_a_row_and_the_sweep_goes_on(tiny_task, place, tmp_path, own_method):
    broken = own_method("broken", "raise ValueError('no luck')")
    rows = swept(tiny_task, f"{broken},source_only", place, tmp_path)
    assert rows["broken", 0]["status"] == "failed"
    assert rows["broken", 0]["reason"] == "ValueError: no luck (broken.py, line 14)"
    assert rows["broken", 0]["accuracy"] is None
    assert rows["source_only", 0]["status"] == "ok"


def test_a_failed_cell_is_tried_again_and_a_finished_one_is_not(tiny_task, place, tmp_path, own_method):
    broken = own_method("broken", "raise ValueError('no luck')")
    swept(tiny_task, f"{broken},source_only", place, tmp_path)
    assert states(planned(tiny_task, f"{broken},source_only", place, tmp_path)) == [State.CACHED, State.RUN]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("next(model.parameters()).data.fill_(float('nan'))", "logits"),
        (
            "import torch\nweight = next(model.parameters())\n"
            "optimizer = torch.optim.SGD([weight], lr=1)\n"
            "for batch in target_data.batches(model):\n    batch.minimise((weight * float('nan')).sum(), optimizer)",
            "the loss of 'diverging_1' became nan",
        ),
    ],
    ids=["0", "1"],
)
def test_numbers_that_are_not_finite_fail_with_a_remedy(tiny_task, place, tmp_path, own_method, request, body, reason):
    method = own_method(f"diverging_{request.node.callspec.id}", body)
    (row,) = swept(tiny_task, str(method), place, tmp_path).values()
    assert row["status"] == "failed"
    assert reason in row["reason"]
    assert "lower lr" in row["reason"]


def test_what_was_not_granted_fails_with_the_remedy(tiny_task, place, tmp_path, own_method):
    greedy = own_method("greedy", "for batch in target_data.batches(model): batch.source_images")
    (row,) = swept(tiny_task, str(greedy), place, tmp_path).values()
    assert row["status"] == "failed"
    assert "'greedy' asked for source_images" in row["reason"]


def test_nothing_to_do_is_a_refused_row_that_is_not_tried_again(tiny_task, place, tmp_path, own_method):
    idle = own_method("idle", "from dabench.core import NotApplicable; raise NotApplicable('no batch norm')")
    (row,) = swept(tiny_task, str(idle), place, tmp_path).values()
    assert (row["status"], row["reason"]) == ("refused", "no batch norm")
    assert states(planned(tiny_task, str(idle), place, tmp_path)) == [State.CACHED]


def test_the_same_cell_gives_the_same_bits_alone_and_beside_others(tiny_task, place, tmp_path):
    methods = "dann,tent"
    first = swept(tiny_task, methods, place, tmp_path / "first", seeds=(0, 1))
    elsewhere = replace(place, cache=tmp_path / "cache")
    second = swept(tiny_task, methods, elsewhere, tmp_path / "second", workers=2, seeds=(0, 1))
    assert first.keys() == second.keys()
    for key, row in first.items():
        # In words, because a NaN equals no other.
        assert repr([row[name] for name in MEASURED]) == repr([second[key][name] for name in MEASURED])
    assert first["dann", 0]["predictions"] != first["dann", 1]["predictions"]


def test_label_budgets_multiply_the_methods_that_see_labels(tiny_task, place, tmp_path):
    cells = planned(tiny_task, "finetune_last1,dann,target_supervised", place, tmp_path, labels=(1, 3, plan.ALL))
    assert [(each.cell.variant.name, each.cell.labels) for each in cells] == [
        ("finetune_last1", 1),
        ("finetune_last1", 3),
        ("finetune_last1", plan.ALL),
        ("dann", 0),
        ("target_supervised", plan.ALL),
    ]
    swept(tiny_task, "finetune_last1,dann", place, tmp_path, labels=(3,))
    again = planned(tiny_task, "finetune_last1,dann", place, tmp_path, labels=(5,))
    assert states(again) == [State.RUN, State.CACHED]


def test_a_transductive_protocol_refuses_who_sees_the_labels(tiny_task, place, tmp_path):
    cells = planned(tiny_task, "finetune_last1,tent", place, tmp_path, protocol="same")
    assert states(cells) == [State.REFUSED, State.RUN]
    assert "labels the method would have seen" in cells[0].reason
    sweep.run(cells[:1], place, tmp_path, workers=1, listen=lambda word: None)
    assert states(planned(tiny_task, "finetune_last1", place, tmp_path, protocol="same")) == [State.CACHED]


def test_a_start_from_the_initial_weights_is_granted_the_sources_steps_too(tiny_task, place, tmp_path):
    wish = {"start": plan.Start.INITIAL_WEIGHTS}
    rows = swept(tiny_task, "dann,tent,eata", place, tmp_path, **wish)
    dann = rows["dann", 0]
    assert (dann["start"], dann["steps"], dann["steps_taken"]) == ("initial-weights", 16, 16)
    assert {rows[name, 0]["status"] for name in ("tent", "eata")} == {"refused"}
    assert "does not train on source images" in rows["tent", 0]["reason"]
    usual = swept(tiny_task, "dann", place, tmp_path / "usual")["dann", 0]
    assert usual["steps"] == 6
    assert usual["accuracy_before"] == dann["accuracy_before"]


def test_a_stream_of_another_batch_size_is_another_cell(tiny_task, place, tmp_path):
    rows = [
        swept(tiny_task, "tent", place, tmp_path / spec, stream=spec)["tent", 0]
        for spec in ("shuffled", "shuffled[batch_size=20]")
    ]
    assert rows[0]["key"] != rows[1]["key"]
    assert [row["optimizer_steps"] for row in rows] == [1, 5]
    assert [len(row["curve"]) for row in rows] == [10, 10]
    assert rows[0]["predictions"] != rows[1]["predictions"]


@pytest.mark.parametrize("spec", ["sorted_by_magic", "shuffled[batch_size=0]", "shuffled[", ""])
def test_a_stream_that_cannot_be_is_refused(spec):
    with pytest.raises(DabenchError, match="stream"):
        streams.parse(spec)


@pytest.mark.parametrize(
    "wish",
    [{"budget": 0.25}, {"seeds": (1,)}, {"backbone": "lenet"}, {"protocol": "same"}, {"target_images": 50}],
    ids=lambda wish: next(iter(wish)),
)
def test_another_wish_is_another_cell(tiny_task, place, tmp_path, wish):
    (usual,) = planned(tiny_task, "dann", place, tmp_path)
    (other,) = planned(tiny_task, "dann", place, tmp_path, **wish)
    assert usual.key != other.key


def test_the_rows_say_how_they_were_made(tiny_task, place, tmp_path):
    (row,) = swept(tiny_task, "adapternet[depth=2]", place, tmp_path).values()
    assert row["variant"] == "adapternet[depth=2]"
    assert '"depth": 2' in row["params"]
    assert row["steps"] == 6
    assert len(row["checkpoint_progress"]) == len(row["checkpoint_accuracy"]) > 1
    assert row["checkpoint_progress"][-1] == 1.0
    assert row["n_target"] == 245  # of 300: every fifth image of a class validates
    assert row["n_test"] == len(row["predictions"]) == 100
    assert row["trained_parameters"] == 4  # two 1x1 convolutions of one channel, each a weight and a bias
    assert row["threads"] == 1
    assert "torch" in row["version"]


def measured_here(planned, place):
    """A cell's measured columns, its method run in this very process."""

    def ask(job):
        told = []
        adaptation.run(job, lambda word, facts, tensors: told.append((word, facts, tensors)))
        return iter(told)

    return cell.measure(planned.cell, place, lambda *progress: None, ask)


def test_a_process_of_its_own_changes_no_number(tiny_task, place, tmp_path):
    cells = planned(tiny_task, "dann,tent,eata", place, tmp_path)
    rows = swept(tiny_task, "dann,tent,eata", place, tmp_path)
    for each in cells:
        here, there = measured_here(each, place), rows[each.cell.variant.name, 0]
        assert repr([here[name] for name in MEASURED]) == repr([there[name] for name in MEASURED])


def test_a_checkpoint_of_few_images_agrees_with_the_returned_model_on_all(tiny_task, place, monkeypatch):
    (dann,) = planned(tiny_task, "dann", place, place.cache)
    monkeypatch.setattr(recorder, "_FEWEST_SCORED", 20)
    few = measured_here(dann, place)
    monkeypatch.setattr(recorder, "_FEWEST_SCORED", 1000)
    every = measured_here(dann, place)
    assert (few["checkpoint_images"], every["checkpoint_images"]) == (20, 100)
    assert few["accuracy"] == every["accuracy"] == pytest.approx(every["checkpoint_accuracy"][-1])
    assert few["checkpoint_accuracy"][-1] == pytest.approx(few["accuracy"])
    assert few["checkpoint_accuracy"] != every["checkpoint_accuracy"]


def test_every_fifth_labelled_image_of_a_class_validates_up_to_two_hundred():
    labels = np.repeat([0, 1, 2], [4, 30, 3000])
    train, held_out = label_budget(labels, plan.ALL, seed=0)
    assert np.bincount(labels[held_out], minlength=3).tolist() == [0, 6, 200]
    assert sorted([*train, *held_out]) == list(range(len(labels)))
    small, _ = label_budget(labels, 3, seed=0)
    large, held_out = label_budget(labels, 10, seed=0)
    assert set(small) <= set(large) | set(held_out)


def test_the_oracle_and_the_floor_are_rows(tiny_task, place, tmp_path):
    rows = swept(tiny_task, "source_only,target_supervised", place, tmp_path, budget=5.0)
    floor, ceiling = rows["source_only", 0], rows["target_supervised", 0]
    assert floor["accuracy"] == floor["accuracy_before"] == ceiling["accuracy_before"]
    assert floor["trained_parameters"] == 0
    assert ceiling["accuracy"] > floor["accuracy"] + 0.1


def test_past_rows_tell_how_long_a_sweep_takes(tiny_task, place, tmp_path):
    waiting = planned(tiny_task, "dann", place, tmp_path, seeds=(0, 1))
    assert plan.seconds_expected(waiting, tmp_path) is None
    swept(tiny_task, "dann", place, tmp_path)
    waiting = planned(tiny_task, "dann", place, tmp_path, seeds=(0, 1, 2))
    (past,) = store.load(tmp_path).to_pylist()
    assert plan.seconds_expected(waiting, tmp_path) == pytest.approx(2 * (past["seconds"] + past["seconds_scoring"]))
    assert plan.seconds_expected(waiting[:1], tmp_path) == 0


def test_a_cell_is_expected_to_take_as_long_as_its_method_did_on_another_task(tiny_task, place, tmp_path):
    (cell,) = planned(tiny_task, "dann", place, tmp_path)
    past = dict(backbone=cell.cell.backbone, image_size=cell.cell.image_size, budget=0.5, status="ok")
    rows = [
        dict(past, key="a", task="elsewhere", method="source_only", seconds=0.0, seconds_scoring=1.0),
        dict(past, key="b", task="elsewhere", method="dann", seconds=30.0, seconds_scoring=2.0),
        dict(past, key="c", task="large", method="dann", seconds=900.0, seconds_scoring=1.0, backbone="vgg16"),
    ]
    store.write(tmp_path, rows[:1])
    assert plan.seconds_expected((cell,), tmp_path) == pytest.approx(2 * cell.cell.budget)
    store.write(tmp_path, rows[1:])
    assert plan.seconds_expected((cell,), tmp_path) == pytest.approx(64 * cell.cell.budget)


def test_the_listener_hears_each_cell_start_and_end(tiny_task, place, tmp_path):
    heard = []
    cells = planned(tiny_task, "source_only", place, tmp_path, seeds=(0, 1))
    sweep.run(cells, place, tmp_path, workers=1, listen=heard.append)
    ends = [word for word in heard if isinstance(word, sweep.Finished)]
    assert [word.planned.key for word in ends] == [each.key for each in cells]
    assert isinstance(heard[0], sweep.Progress)
    assert len({word.worker for word in heard} - {os.getpid()}) == 1


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc alone gives large tensors back at once")
def test_the_memory_of_a_step_serves_the_next():
    devices.keep_freed_memory()
    pages = torch.ones(2**24).nbytes // resource.getpagesize()
    for _ in range(5):
        torch.ones(2**24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(2**24)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 3 * pages
