import math

import pandas as pd
import pytest

from dabench.evaluation.leaderboard import Leaderboard
from dabench.report import advice

SETTINGS = {
    "source_only": "source-only",
    "tent": "test-time",
    "adabn": "source-free",
    "adapternet": "supervised",
    "target_supervised": "upper-bound reference",
}


def rows(labels=10, before=(0.60, 0.62, 0.61), **accuracies):
    """Rows of one task: the accuracies of each method, a value a seed."""
    lines = [
        {
            "key": f"{method}-{seed}-{labels}",
            "task": "hall-yard",
            "family": "own",
            "protocol": "holdout",
            "backbone": "resnet18",
            "image_size": 64,
            "budget": 1.0,
            "target_images": -1,
            "labels": {"supervised": labels, "upper-bound reference": -1}.get(SETTINGS[method], 0),
            "setting": SETTINGS[method],
            "method": method,
            "variant": method,
            "seed": seed,
            "status": "ok",
            "reason": "",
            "accuracy": accuracy,
            "accuracy_before": before[seed],
            "partial": "",
            "created": "2026-01-01",
            "ms_per_image": 1.3,
            "seconds": 20.0,
            "n_test": 500,
            "per_class": [0.5, 0.6],
            "checkpoint_accuracy": [],
            "checkpoint_scores": [],
        }
        for method, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]
    return pd.DataFrame(lines)


def advise(rows):
    return advice.advise(Leaderboard(rows), set(rows["key"]))


FLOOR, CEILING = (0.60, 0.62, 0.61), (0.95, 0.96, 0.94)


def test_the_share_of_the_gap_is_said_with_its_labels_and_its_cost():
    said = advise(
        rows(
            source_only=FLOOR,
            target_supervised=CEILING,
            tent=(0.74, 0.76, 0.75),
            adapternet=(0.90, 0.91, 0.89),
        )
    )
    assert said == [
        "On hall-yard the source model is right on 61.0 % of the target's test pictures, and training on every "
        "target label reaches 95.0 %.",
        "With no target labels: tent closed 41 % of the gap (75.0 ± 2.5 %, +14.0 points), seeing nothing but the "
        "pictures it answers, at 1.3 ms an image after 20 s of adaptation.",
        "Use tent.",
        "With 10 labels a class: adapternet closed 85 % of the gap (90.0 ± 2.5 %, +29.0 points), at 1.3 ms an image "
        "after 20 s of adaptation.",
        "Use adapternet.",
    ]


def test_methods_within_the_noise_are_not_told_apart():
    said = advise(rows(source_only=FLOOR, tent=(0.74, 0.78, 0.75), adabn=(0.75, 0.74, 0.76)))
    assert said[-1].startswith("tent cannot be told apart from adabn (75.0 ± 2.5 %, +14.0 points)")


def test_a_clear_winner_is_named_as_such():
    said = advise(rows(source_only=FLOOR, tent=(0.84, 0.86, 0.85), adabn=(0.74, 0.76, 0.75)))
    assert said[-1] == "Use tent. It is surely better than the other."


def test_without_a_ceiling_gains_are_points_and_the_remedy_is_named():
    said = advise(rows(source_only=FLOOR, tent=(0.74, 0.76, 0.75)))
    assert "add target_supervised to --methods" in said[0]
    assert "tent brought 75.0 ± 2.5 %, +14.0 points" in said[1]


@pytest.mark.parametrize("accuracies", [(0.55, 0.58, 0.56), (0.605, 0.622, 0.611)], ids=["harm", "noise"])
def test_no_sure_gain_means_keep_the_source_model(accuracies):
    said = advise(rows(source_only=FLOOR, target_supervised=CEILING, tent=accuracies))
    assert said[-1].endswith("with no target labels, keep the source model.")


def test_a_gap_within_the_noise_is_no_gap():
    said = advise(rows(source_only=FLOOR, target_supervised=(0.61, 0.62, 0.62), tent=FLOOR))
    assert "that gap is within the noise" in said[0]
    assert not any(" of the gap" in sentence for sentence in said)


def test_one_seed_recommends_nothing():
    said = advise(rows(source_only=FLOOR[:1], tent=(0.75,)))
    assert "run with --seeds 3" in said[-1]
    assert not any(sentence.startswith("Use") for sentence in said)


def test_each_label_budget_is_advised_by_itself():
    few = rows(labels=3, source_only=FLOOR, adapternet=(0.70, 0.71, 0.69))
    many = rows(labels=10, adapternet=(0.90, 0.91, 0.89))
    said = advise(pd.concat([few, many]))
    assert sum("is right on" in sentence for sentence in said) == 1
    assert [sentence.partition(":")[0] for sentence in said[1:] if sentence.startswith("With")] == [
        "With 3 labels a class",
        "With 10 labels a class",
    ]


def test_nothing_to_compare_says_nothing():
    assert advise(rows(source_only=FLOOR)) == []
    failed = rows(tent=(math.nan,)).assign(status="failed")
    assert advise(failed) == []
