import pandas as pd
import pytest

from dabench.core import Setting
from dabench.evaluation import choosing
from dabench.evaluation.choosing import Have
from dabench.evaluation.leaderboard import Leaderboard
from dabench.results.suite import SUITE, Change

NOISE = (0.0, 0.004, -0.003)


def rows_of(task, method, setting, gain, labels=-1):
    """Three seeds of a method on a task of the suite, which gains that much over the source model's 60 %."""
    (scenario,) = (each for each in SUITE if each.task == task)
    where = {name: getattr(scenario, name) for name in ("task", "protocol", "backbone", "image_size", "budget")}
    return [
        {
            **where,
            **{"key": f"{task} {method} {labels} {seed}", "method": method, "setting": str(setting), "labels": labels},
            **{"seed": seed, "status": "ok", "family": "made", "n_test": 2000},
            **{"accuracy": 0.6 + gain + NOISE[seed], "accuracy_before": 0.6},
        }
        for seed in range(3)
    ]


def choice(rows, have, change=None, labels=None):
    found = choosing.choices(Leaderboard(pd.DataFrame(rows)))
    (one,) = (each for each in found if (each.have, each.change, each.labels) == (have, change, labels))
    return one


CAMERA = "shapes-rotated"
TENT = rows_of(CAMERA, "tent", Setting.TEST_TIME, 0.10)
SHOT = rows_of(CAMERA, "shot", Setting.SOURCE_FREE, 0.20)
DANN = rows_of(CAMERA, "dann", Setting.UNSUPERVISED, 0.30)
BASELINE = rows_of(CAMERA, "source_only", Setting.SOURCE_ONLY, 0.0)
TUNED = [
    row for labels in (3, -1) for row in rows_of(CAMERA, "finetune_all", Setting.SUPERVISED, 0.4 + labels / 100, labels)
]


@pytest.mark.parametrize(
    ("have", "labels", "best"),
    [
        (Have.STREAM, None, "tent"),
        (Have.TARGET, None, "shot"),
        (Have.BOTH, None, "dann"),
        (Have.LABELS, 3, "finetune_all"),
    ],
)
def test_the_best_of_what_the_data_at_hand_allows_is_named(have, labels, best):
    chosen = choice([*BASELINE, *TENT, *SHOT, *DANN, *TUNED], have, Change.CAMERA, labels)
    assert chosen.best is not None
    assert chosen.best["method"] == best


def test_a_gain_within_the_noise_keeps_the_source_model():
    assert choice([*BASELINE, *rows_of(CAMERA, "tent", Setting.TEST_TIME, 0.002)], Have.STREAM).best is None


def test_each_number_of_labels_has_its_own_answer():
    gains = [choice([*BASELINE, *TUNED], Have.LABELS, labels=labels).table["gain"].iloc[0] for labels in (3, -1)]
    assert gains == [pytest.approx(0.43, abs=0.001), pytest.approx(0.39, abs=0.001)]


def test_methods_are_compared_on_the_tasks_that_all_have():
    other = rows_of("shapes-power", "dann", Setting.UNSUPERVISED, 0.1)
    chosen = choice([*BASELINE, *SHOT, *DANN, *other], Have.BOTH)
    assert chosen.tasks == [CAMERA]


def test_the_source_model_stands_in_the_suite_once():
    board = Leaderboard(pd.DataFrame([*BASELINE, *TUNED]))
    inside = choosing.of_suite(board.entries) >= 0
    assert board.entries[inside].groupby("method").size().to_dict() == {"source_only": 1, "finetune_all": 2}
