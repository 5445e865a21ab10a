import pandas as pd
import pytest

from dabench import registry
from dabench.core import DabenchError, Setting
from dabench.evaluation import tables
from dabench.models import check_name
from dabench.results.suite import SUITE, within
from dabench.run import plan

ROW = {"key": "a", "method": "dann", "setting": "unsupervised", "seed": 0, "status": "ok"}


def row_of(scenario, **values):
    names = ("task", "protocol", "backbone", "image_size", "budget", "stream")
    named = {name: getattr(scenario, name) for name in names}
    return {**ROW, **named, **values}


@pytest.mark.parametrize("scenario", SUITE, ids=lambda scenario: scenario.task)
def test_each_task_of_the_suite_is_known_with_its_protocol_and_network(scenario):
    task = registry.known_tasks()[scenario.task]
    protocol = task.protocol(scenario.protocol)
    # Methods that see labels could not stand beside the others where the scored images adapt.
    assert not (protocol.transductive and scenario.takes(Setting.SUPERVISED))
    check_name(scenario.backbone)
    assert (task.camera is not None) == (scenario.change == "camera")


def test_a_task_stands_in_the_suite_once():
    assert len({scenario.task for scenario in SUITE}) == len(SUITE)


@pytest.mark.parametrize(
    "other",
    [{"budget": 0.05}, {"image_size": 64}, {"backbone": "dtn"}, {"stream": "sorted"}, {"frozen": True}, {"task": "x"}],
    ids=str,
)
def test_rows_of_another_condition_are_not_of_the_suite(other):
    rows = tables.complete(pd.DataFrame([row_of(SUITE[0]), row_of(SUITE[0], **other), row_of(SUITE[0], labels=3)]))
    assert within(rows).tolist() == [True, False, True]


def planned(methods="source_only", **conditions):
    request = plan.Request(tasks=(), methods=registry.methods(methods), seeds=(0,), **conditions)
    return plan.of_suite(request)


def test_the_suite_is_planned_under_the_conditions_by_which_its_rows_are_found(tmp_path):
    request = next(each for each in planned() if each.tasks[0][0] == "optdigits-fonts")
    (cell,) = plan.plan(request, tmp_path, tmp_path, tmp_path / "results")
    assert within(tables.complete(pd.DataFrame([{**cell.identity, "status": "ok"}]))).all()


def test_who_does_not_live_in_the_test_stream_has_no_place_on_a_stream():
    of_task = {each.tasks[0][0]: [one.name for one in each.methods] for each in planned("source_only,tent,eata,dann")}
    assert of_task["cifar10-c"] == ["source_only", "tent", "eata"]
    assert of_task["mnist-usps"] == ["source_only", "tent", "eata", "dann"]


def test_a_condition_that_the_suite_fixes_cannot_be_chosen():
    with pytest.raises(DabenchError, match=r"fixes the image size of each task; leave out --image-size"):
        planned(image_size=64)


def test_the_command_line_knows_the_suite(monkeypatch, capsys, tmp_path):
    from dabench.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DABENCH_DATA", "none")
    monkeypatch.setenv("DABENCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SystemExit):
        main(["run", "--tasks", "suite", "--methods", "source_only", "--seeds", "0,", "--dry-run"])
    out = capsys.readouterr().out
    assert "run      shapes-rotated: source_only" in out
    assert "pacs-art-photo" in out
