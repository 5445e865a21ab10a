import math

import numpy as np
import pytest

from dabench.evaluation import statistics


def test_interval_is_the_t_interval_by_hand():
    mean, half = statistics.interval([0.7, 0.8, 0.9])
    assert mean == pytest.approx(0.8)
    assert half == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)  # t(0.975, 2 degrees of freedom)


def test_interval_leaves_missing_values_out():
    assert statistics.interval([0.7, float("nan"), 0.9]) == pytest.approx(statistics.interval([0.7, 0.9]))


def test_one_value_has_no_interval():
    mean, half = statistics.interval([0.5])
    assert mean == 0.5
    assert math.isnan(half)
    assert math.isnan(statistics.interval([])[0])


def test_holm_by_hand():
    adjusted = statistics.holm([0.01, 0.04, 0.03, math.nan])
    assert adjusted[:3] == pytest.approx([0.03, 0.06, 0.06])
    assert math.isnan(adjusted[3])
    assert statistics.holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])


def test_gap_closed_by_hand_and_blank_within_the_noise():
    assert statistics.gap_closed(0.1, 0.2) == pytest.approx(0.5)
    assert np.isnan(statistics.gap_closed(0.1, 0.2, noise=0.25))
    assert np.isnan(statistics.gap_closed(0.1, 0.0))
    assert np.isnan(statistics.gap_closed(0.1, -0.05))


def test_paired_image_errors_by_hand():
    right = np.array([[1, 1, 0, 0], [1, 0, 1, 0]], dtype=float)
    errors = statistics.paired_image_errors(right)
    assert errors[0, 1] == pytest.approx(np.std([0, 1, -1, 0]) / 2)
    assert errors[0, 0] == 0


def test_tasks_of_one_family_are_drawn_together():
    counts = statistics.task_draws(["pacs"] * 12 + ["digits"])
    assert (counts[:, :12].sum(axis=1) % 12 == 0).all()  # a family comes with as many draws as it has tasks
    assert set(np.unique(counts[:, 12])) == {0, 1, 2}


def test_twelve_tasks_of_one_family_say_less_than_twelve_families():
    effects = np.array([0.1] * 12 + [-0.1])[None, :, None].repeat(statistics.RESAMPLES, axis=0)
    low, _ = statistics.percentiles(effects, statistics.task_draws(["pacs"] * 12 + ["digits"]))
    apart, _ = statistics.percentiles(effects, statistics.task_draws([f"f{at}" for at in range(13)]))
    assert low[0] < apart[0]


def test_seeds_are_drawn_anew_where_the_methods_share_two():
    values = np.array([[0.8, 0.9, np.nan], [0.5, 0.5, 0.1]])
    drawn = statistics.seed_draws(values)
    assert set(np.round(np.unique(drawn[:, 0]), 3)) == {0.8, 0.85, 0.9}
    assert (drawn[:, 1] == 0.5).all()
    single = statistics.seed_draws(np.array([[0.8, np.nan], [np.nan, 0.5]]))
    assert (single == [0.8, 0.5]).all()
