import json
import sys

import numpy as np
import pytest

from dabench import cli, registry
from dabench.core import DabenchError
from dabench.results import searches, store
from dabench.run import tune as tuning
from dabench.run.plan import Environment, Request


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Environment("cpu", 1, tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("cache"))


@pytest.fixture
def tune(tiny_task, place, tmp_path):
    """A search with two seeds; gives its studies and the cells that it ran."""

    def call(methods, trials=4, select="snd", **wishes):
        ran = []
        request = Request(
            tasks=registry.tasks(str(tiny_task)),
            methods=registry.methods(methods),
            **{"seeds": (0, 1), "budget": 0.25, **wishes},
        )
        found = tuning.tune(
            request, place, tmp_path / "results", trials=trials, select=select, workers=1, listen=ran.append
        )
        return found, [word for word in ran if hasattr(word, "row")]

    return call


def rows(tmp_path):
    return store.frame(tmp_path / "results")


def test_every_method_gets_as_many_trials_its_default_first(tune):
    found, ran = tune("tent,finetune_last1,source_only")
    assert {study.method: len(study.trials) for study in found} == {"tent": 4, "finetune_last1": 4, "source_only": 1}
    for study in found:
        assert study.trials[0].variant == study.method
        assert len({trial.variant for trial in study.trials}) == len(study.trials)
        assert all(len(trial.keys) == 2 for trial in study.trials)
    assert len(ran) == 2 * (4 + 4 + 1)


def test_the_same_study_twice_runs_nothing_new(tune, tmp_path):
    first, ran = tune("finetune_last1")
    assert len(ran) == 8
    file = searches.path_of(tmp_path / "results", "digits-turned", "finetune_last1")
    written = file.read_bytes()
    second, ran = tune("finetune_last1")
    assert ran == []
    assert second == first
    assert file.read_bytes() == written


def test_a_study_goes_on_where_it_stopped(tune, tmp_path):
    (short,), _ = tune("finetune_last1", trials=2)
    (long,), ran = tune("finetune_last1", trials=4)
    assert long.trials[:2] == short.trials
    assert len(ran) == 4
    assert searches.read(tmp_path / "results") == (long,)
    tune("finetune_last1", trials=2)
    assert searches.read(tmp_path / "results") == (long,)  # a replay of its first trials takes none away


def test_values_have_three_digits_and_lie_in_the_declared_range(tune):
    (study,), _ = tune("tent", trials=6, seeds=(0,))
    declared = registry.describe(registry.method_files()["tent"])
    for trial in study.trials:
        (variant,) = registry.methods(trial.variant)
        assert variant.label == trial.variant
        for name, value in variant.given:
            allowed = declared.allowed[name]
            assert value in allowed.choices or allowed.low <= value <= allowed.high
            assert not isinstance(value, float) or value == float(f"{value:.3g}")


def test_a_small_space_is_tried_once_and_no_more(tune, own_method):
    file = own_method("switch")
    text = file.read_text().replace("strength: float = between(1.0, 0.0, 10.0)", 'kind: str = one_of("a", "b", "c")')
    file.write_text(text)
    (study,), _ = tune(str(file), trials=20, seeds=(0,))
    assert sorted(trial.variant for trial in study.trials) == ["switch", "switch[kind=b]", "switch[kind=c]"]


def test_what_a_person_gives_is_not_searched(tune):
    (study,), _ = tune("tent[lr=0.01]", trials=3, seeds=(0,))
    assert study.variant == study.trials[0].variant == "tent[lr=0.01]"
    assert all("lr=0.01" in trial.variant for trial in study.trials)


def test_log_ranges_are_read_from_the_declaration():
    allowed = registry.describe(registry.method_files()["dann"]).allowed
    assert allowed["lr"].log
    assert not allowed["momentum"].log


# ------------------------------------------------------------------------------------------- who may be asked


def test_accuracy_takes_no_part_in_the_choice(tune, tmp_path):
    (study,), _ = tune("finetune_last1", trials=4)
    stored = rows(tmp_path)
    chosen = searches.chosen(study, stored)
    generator = np.random.default_rng(0)
    for column in ("accuracy", "checkpoint_accuracy", "per_class", "nll", "predictions"):
        stored[column] = generator.permutation(stored[column].to_numpy())
    assert searches.chosen(study, stored) == chosen
    assert searches.chosen(study, stored[["key", "status", "checkpoint_scores"]]) == chosen


def test_the_next_trials_do_not_depend_on_accuracy(tune, tmp_path):
    tune("finetune_last1", trials=3)
    wrong = [{**row, "accuracy": 1 - row["accuracy"]} for row in store.load(tmp_path / "results").to_pylist()]
    (again,), _ = tune("finetune_last1", trials=5)
    for row in wrong:
        store.write(tmp_path / "results", [row])
    (file,) = (tmp_path / "results").glob("tuning/*/*.json")
    file.unlink()
    (replayed,), ran = tune("finetune_last1", trials=5)
    assert ran == []
    assert replayed == again


def test_the_highest_score_is_chosen_and_a_trial_that_lacks_a_seed_is_not(tune, tmp_path):
    (study,), _ = tune("finetune_last1", trials=3)
    stored = rows(tmp_path)
    scores = searches.trial_scores(study, stored)
    by_key = {row.key: dict(row.checkpoint_scores)["snd"][-1] for row in stored.itertuples()}
    assert scores == pytest.approx([np.mean([by_key[key] for key in trial.keys]) for trial in study.trials])
    best = study.trials[int(np.argmax(scores))]
    assert searches.chosen(study, stored) == best
    without = stored[stored["key"] != best.keys[1]]
    assert searches.chosen(study, without) not in (None, best)
    assert searches.chosen(study, stored[:0]) is None


def test_a_score_that_reads_source_is_refused_for_who_may_not_see_it(tune):
    with pytest.raises(DabenchError, match=r"'dev' reads source data, which 'tent' \(test-time\) may not see"):
        tune("tent", select="dev")
    with pytest.raises(DabenchError, match=r"no label-free score 'accuracy'; choose one of: .*snd"):
        tune("tent", select="accuracy")


def test_a_trial_that_fails_counts_and_the_search_goes_on(tune, own_method, tmp_path):
    fragile = own_method("fragile", "if self.strength != 1: raise ValueError('too strong')")
    (study,), _ = tune(str(fragile), trials=3, seeds=(0,))
    assert len(study.trials) == 3
    assert searches.chosen(study, rows(tmp_path)) == study.trials[0]


def test_a_refused_method_has_no_study(tune):
    found, _ = tune("finetune_last1,source_only", protocol="same", trials=3)
    assert [study.method for study in found] == ["source_only"]


def test_searches_under_other_conditions_lie_side_by_side(tune, tmp_path):
    tune("finetune_last1", trials=2)
    tune("finetune_last1", trials=2, budget=0.5)
    tune("finetune_last1", trials=2, select="entropy")
    assert len(searches.read(tmp_path / "results")) == 3


def test_a_study_that_cannot_be_read_is_named(tmp_path):
    file = searches.path_of(tmp_path, "mnist-usps", "dann")
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps([{"task": "mnist-usps"}]))
    with pytest.raises(DabenchError, match=r"dann\.json.*delete it and run `dabench tune` again"):
        searches.read(tmp_path)


def test_the_command_says_what_was_chosen_and_hides_the_trials_in_the_report(tiny_task, place, tmp_path, capsys):
    results = ["--results", tmp_path / "results"]
    command = ["tune", "--tasks", tiny_task, "--methods", "finetune_last1", "--trials", "2", "--seeds", "1"]
    command += ["--budget", "0.25", "--workers", "1", "--cache", place.cache, "--data", place.data, *results]

    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main([str(part) for part in arguments])
        assert not ended.value.code
        return capsys.readouterr().out

    assert "digits-turned  finetune_last1  2 " in call(*command)
    call("report", *results, "--output", tmp_path / "leaderboard.md")
    assert "finetune_last1[" not in (tmp_path / "leaderboard.md").read_text()
    assert "| finetune_last1" in (tmp_path / "leaderboard-pages" / "tuning.md").read_text()


def test_without_optuna_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(DabenchError, match=r"pip install 'dabench\[tune\]'"):
        tuning.optuna()
