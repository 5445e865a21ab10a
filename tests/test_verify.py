import re

import pytest

from dabench import cli, registry
from dabench.core import DabenchError
from dabench.results import store
from dabench.run import plan, sweep
from dabench.run import verify as verification
from dabench.run.plan import Environment, Request
from dabench.run.verify import Agreement


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Environment("cpu", 1, tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def swept(tiny_task, place, tmp_path_factory):
    """A results folder of three real cells."""
    results = tmp_path_factory.mktemp("results")
    request = Request(
        tasks=registry.tasks(str(tiny_task)),
        methods=registry.methods("source_only,finetune_last1[lr=0.01]"),
        seeds=(0,),
        budget=0.5,
    )
    planned = plan.plan(request, place.data, place.cache, results)
    sweep.run(planned, place, results, workers=1, listen=lambda word: None)
    return results


@pytest.fixture
def results(swept, tmp_path):
    """A copy that a test may tamper with."""
    store.write(tmp_path / "results", store.load(swept).to_pylist())
    return tmp_path / "results"


@pytest.fixture
def verify(tiny_task, place):
    def call(results, **wishes):
        tasks, files = registry.tasks(str(tiny_task)), registry.method_files()
        return {
            check.label.split(" · ")[1]: check
            for check in verification.verify(results, place, tasks, files, **{"sample": 9, **wishes})
        }

    return call


def tamper(results, method, **values):
    (row,) = (row for row in store.load(results).to_pylist() if row["method"] == method)
    store.write(results, [{**row, **{name: change(row[name]) for name, change in values.items()}}])


def test_the_same_place_gives_the_same_bits(results, verify):
    checks = verify(results)
    assert set(checks) == {"source_only", "finetune_last1[lr=0.01]"}
    assert {check.verdict for check in checks.values()} == {Agreement.IDENTICAL}


@pytest.mark.parametrize(
    ("column", "change", "words"),
    [
        ("accuracy", lambda value: value + 1e-9, r"accuracy: stored 0\.\d+, now 0\.\d+"),
        ("nll", lambda value: value * 1.001, r"nll: stored \d\.\d+, now \d\.\d+"),
        (
            "predictions",
            lambda value: bytes([(value[0] + 1) % 10]) + value[1:],
            r"predictions: .* 1\.00% .* changed",
        ),
    ],
)
def test_a_tampered_number_is_named(results, verify, column, change, words):
    tamper(results, "source_only", **{column: change})
    checks = verify(results)
    assert checks["source_only"].verdict is Agreement.DIFFERENT
    assert re.fullmatch(words, checks["source_only"].words)
    assert checks["finetune_last1[lr=0.01]"].verdict is Agreement.IDENTICAL


def test_another_machine_is_held_to_a_tolerance(results, verify):
    tamper(results, "source_only", device=lambda name: "an abacus", accuracy=lambda value: value + 0.01)
    found = verify(results)["source_only"]
    assert found.verdict is Agreement.WITHIN
    assert found.words.startswith("other device; accuracy -1.00 points")
    tamper(results, "source_only", accuracy=lambda value: value + 0.4)
    found = verify(results)["source_only"]
    assert found.verdict is Agreement.DIFFERENT
    assert found.words.startswith("accuracy: stored")


@pytest.mark.parametrize("column", ["method_code", "task_code", "core_code", "data"])
def test_a_row_of_other_code_is_stale_and_not_run(results, verify, column):
    tamper(results, "source_only", **{column: lambda value: "0123456789abcdef"})
    found = verify(results)["source_only"]
    assert found.verdict is Agreement.STALE
    assert column in found.words
    assert found.label == "digits-turned · source_only · seed 0"


def test_hyper_parameters_that_were_changed_in_a_row_are_named(results, verify):
    tamper(results, "finetune_last1", params=lambda text: text.replace("0.01", "0.02"))
    found = verify(results)["finetune_last1[lr=0.01]"]
    assert found.verdict is Agreement.DIFFERENT
    assert found.words == "variant: stored finetune_last1[lr=0.01], now finetune_last1[lr=0.02]"


def test_a_sample_is_drawn_anew_by_its_number_and_only_then(swept, verify):
    draws = [tuple(verify(swept, sample=1, draw=draw)) for draw in range(4)]
    assert all(len(draw) == 1 for draw in draws)
    assert len(set(draws)) == 2
    assert tuple(verify(swept, sample=1, draw=0)) == draws[0]


def test_one_task_and_method_can_be_named(swept, verify):
    assert set(verify(swept, task="digits-turned", variant="source_only")) == {"source_only"}
    with pytest.raises(DabenchError, match="no finished cells of digits-turned/dann"):
        verify(swept, task="digits-turned", variant="dann")


def test_a_task_that_is_not_here_is_said_to_be_so(swept, place):
    (found, *_) = verification.verify(swept, place, (), registry.method_files(), sample=1)
    assert found.verdict is Agreement.NOT_HERE
    assert "no task 'digits-turned'" in found.words


def test_exit_codes_tell_agreement_difference_and_nothing_to_compare(results, tiny_task, place, capsys):
    command = ["verify", "--tasks", tiny_task, "--results", results, "--cache", place.cache, "--data", place.data]

    def code(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main([str(part) for part in (*command, "--device", "cpu", *arguments)])
        return ended.value.code or 0

    assert code("digits-turned/source_only") == 0
    assert "identical" in capsys.readouterr().out
    tamper(results, "source_only", nll=lambda value: value + 1)
    assert code() == 1
    assert "DIFFERENT        digits-turned · source_only · seed 0: nll: stored" in capsys.readouterr().out
    for method in ("source_only", "finetune_last1"):
        tamper(results, method, core_code=lambda value: "old")
    assert code() == 2
    assert "stale            digits-turned · source_only" in capsys.readouterr().out
