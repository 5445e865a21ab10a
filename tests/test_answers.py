import pandas as pd
import pytest

from dabench.core import Setting
from dabench.evaluation import answers
from dabench.evaluation.leaderboard import Leaderboard
from dabench.results.suite import SUITE, Change

SETTINGS = {
    **{"source_only": "source-only", "dann": "unsupervised", "mcc": "unsupervised", "adabn": "source-free"},
    **{
        "tent": "test-time",
        "bn1": "test-time",
        "finetune_all": "supervised",
        "target_supervised": "upper-bound reference",
    },
}
CORPUS = [scenario.task for scenario in SUITE if scenario.change == Change.CORPUS]
CONDITION = ("task", "protocol", "backbone", "image_size", "budget", "stream", "frozen")
NOISE = [0.0, 0.004, -0.003]


def rows(method, accuracy, tasks=CORPUS, **values):
    """Three seeds of a method on tasks of the suite, where the source model is right on half of the images."""
    made = []
    for scenario in SUITE:
        for seed, noise in enumerate(NOISE if scenario.task in tasks else ()):
            row = {name: getattr(scenario, name) for name in CONDITION}
            row |= {"method": method, "setting": SETTINGS[method], "seed": seed, "status": "ok", "n_test": 1000}
            row |= {"accuracy": accuracy + noise, "accuracy_before": 0.5, "labels": -1, "family": "f", **values}
            made.append({**row, "key": f"{method} {scenario.task} {seed} {row['labels']}"})
    return made


def board(*groups, stale=()):
    return Leaderboard(pd.DataFrame([row for group in groups for row in group]), stale=stale)


def answer(board, have, change=Change.CORPUS):
    (found,) = [each for each in answers.answers(board) if each.have.words == have and each.change == change]
    return found


UNLABELLED, SOURCE = "unlabelled target images", "the source and unlabelled target images"


def test_a_method_is_named_only_to_those_who_have_what_it_needs():
    found = board(rows("dann", 0.9), rows("adabn", 0.7))
    assert answer(found, SOURCE).method == "dann"
    assert answer(found, SOURCE).gain == pytest.approx(0.4, abs=0.001)
    assert answer(found, UNLABELLED).method == "adabn"
    assert answer(found, "the test stream alone").method is None


def test_a_method_that_harms_one_task_is_not_named():
    harmful = rows("dann", 0.9, CORPUS[1:]), rows("dann", 0.3, CORPUS[:1])
    assert answer(board(*harmful, rows("mcc", 0.6)), SOURCE).method == "mcc"
    assert answer(board(*harmful), SOURCE).method == ""


def test_a_method_that_lacks_a_task_is_not_compared_over_the_others():
    assert answer(board(rows("dann", 0.99, CORPUS[:2]), rows("mcc", 0.6)), SOURCE).method == "mcc"


def test_a_gain_on_few_tasks_is_enough_where_it_is_a_gain_on_average():
    mixed = rows("dann", 0.9, CORPUS[:1]), rows("dann", 0.5, CORPUS[1:])
    assert answer(board(*mixed), SOURCE).method == "dann"
    assert answer(board(rows("dann", 0.501)), SOURCE).method == ""


def test_methods_that_nothing_tells_apart_are_named_together():
    together = answer(board(rows("dann", 0.8), rows("mcc", 0.8005), rows("adabn", 0.6)), SOURCE)
    assert (together.method, together.alike) == ("mcc", ("dann",))


def test_each_number_of_labels_is_answered_from_its_own_rows():
    found = board(rows("finetune_all", 0.95), rows("finetune_all", 0.6, labels=3), rows("adabn", 0.7))
    assert answer(found, "3 target labels a class").method == "adabn"  # what needs no labels is open to those who have
    assert answer(found, "all target labels").method == "finetune_all"
    assert answer(found, "10 target labels a class").method is None


def test_a_number_of_labels_is_asked_over_the_tasks_on_which_it_was_tried():
    found = answer(
        board(rows("finetune_all", 0.9, CORPUS[:2], labels=3), rows("adabn", 0.95)), "3 target labels a class"
    )
    assert (found.method, found.tasks) == ("adabn", 2)


def test_what_one_seed_says_is_no_answer():
    one = [row for row in rows("dann", 0.9) if row["seed"] == 0]
    assert answer(board(one), SOURCE).method is None


def test_an_answer_from_rows_of_older_code_says_so():
    made = list(rows("dann", 0.9))
    assert answer(board(made, stale={made[0]["key"]}), SOURCE).stale
    assert not answer(board(made), SOURCE).stale


def test_rows_of_another_condition_change_no_answer_and_no_line_of_the_matrix():
    found = board(rows("dann", 0.7), rows("mcc", 0.9, budget=0.5), rows("finetune_all", 0.9, labels=3))
    assert answer(found, SOURCE).method == "dann"
    assert answers.matrix(found).methods["method"].tolist() == ["dann"]


def test_the_matrix_has_the_mean_and_the_worst_gain_and_marks_what_is_cheap():
    found = board(
        rows("dann", 0.9, CORPUS[:2], seconds=9.0),
        rows("dann", 0.6, CORPUS[2:], seconds=9.0),
        rows("mcc", 0.7, seconds=20.0),
        rows("source_only", 0.5),
        rows("target_supervised", 0.95),
    )
    matrix = answers.matrix(found)
    assert matrix.methods["method"].tolist() == ["dann", "mcc", "target_supervised"]
    dann, mcc, _ = matrix.methods.itertuples()
    assert (round(dann.gain, 2), round(dann.worst, 2), dann.tasks) == (0.25, 0.1, len(CORPUS))
    assert (dann.cheap, mcc.cheap) == (True, False)
    entries = found.entries.loc[matrix.entry.loc[0]]
    assert entries["task"].tolist() == [scenario.task for scenario in SUITE if scenario.task in CORPUS]
    assert set(entries["method"]) == {"dann"}


def test_a_test_time_method_costs_its_time_for_an_image_and_lacks_only_what_it_could_have():
    all_of_them = [scenario.task for scenario in SUITE]
    found = board(
        rows("tent", 0.7, all_of_them, ms_per_image=2.0, seconds=1.0),
        rows("dann", 0.7, all_of_them[:-1], ms_per_image=1.0, seconds=9.0),
        rows("mcc", 0.7, all_of_them[:-2], ms_per_image=1.0, seconds=5.0),
    )
    methods = answers.matrix(found).methods.set_index("method")
    assert SUITE[-1].stream != "shuffled"
    assert methods["by_image"].to_dict() == {"tent": True, "dann": False, "mcc": False}
    assert methods["incomplete"].to_dict() == {"tent": False, "dann": False, "mcc": True}


def test_of_two_test_time_methods_the_front_has_the_one_that_takes_less_time_an_image():
    quick, slow = rows("tent", 0.7, ms_per_image=1.0, seconds=9.0), rows("bn1", 0.7, ms_per_image=2.0, seconds=0.0)
    methods = answers.matrix(board(quick, slow)).methods.set_index("method")
    assert methods["cheap"].to_dict() == {"tent": True, "bn1": False}


def test_what_somebody_has_grows_and_no_setting_is_forgotten():
    asked = {setting for have in answers.HAVES for setting in have.settings}
    assert asked == set(Setting) - {Setting.SOURCE_ONLY, Setting.UPPER_BOUND}
    stream, unlabelled, source = (set(have.settings) for have in answers.HAVES[:3])
    assert stream < unlabelled < source
