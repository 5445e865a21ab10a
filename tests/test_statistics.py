import math
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats

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


def test_paired_p_value_agrees_with_scipy():
    a, b = [0.80, 0.82, 0.79, 0.85], [0.78, 0.81, 0.79, 0.80]
    assert statistics.paired_p_value(a, b) == pytest.approx(stats.ttest_rel(a, b).pvalue)


def test_paired_p_value_uses_only_the_seeds_both_have():
    a, b = [0.80, 0.82, 0.79, 0.5], [0.78, 0.81, 0.77, math.nan]
    assert statistics.paired_p_value(a, b) == pytest.approx(stats.ttest_rel(a[:3], b[:3]).pvalue)


def test_one_seed_proves_nothing():
    assert math.isnan(statistics.paired_p_value([0.9], [0.1], n_images=10_000))


def test_equal_accuracies_are_no_difference():
    assert statistics.paired_p_value([0.8, 0.8], [0.8, 0.8]) == 1


def test_where_seeds_do_not_vary_the_test_images_decide():
    near, far = (
        statistics.paired_p_value([0.80] * 3, [0.79] * 3, 100),
        statistics.paired_p_value([0.8] * 3, [0.4] * 3, 100),
    )
    z = 0.01 / math.sqrt(0.8 * 0.2 / 100 + 0.79 * 0.21 / 100)
    assert near == pytest.approx(2 * stats.norm.sf(z))
    assert far < 1e-6
    assert math.isnan(statistics.paired_p_value([0.8] * 3, [0.4] * 3))


def test_holm_by_hand():
    adjusted = statistics.holm([0.01, 0.04, 0.03, math.nan])
    assert adjusted[:3] == pytest.approx([0.03, 0.06, 0.06])
    assert math.isnan(adjusted[3])
    assert statistics.holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])


def test_a_method_better_on_every_seed_stands_alone():
    a = np.array([0.90, 0.91, 0.92, 0.89, 0.90])
    matrix = np.stack([a - 0.1 + [0.001, -0.001, 0.002, 0, -0.002], a])
    assert statistics.tie_groups(matrix) == ["b", "a"]


def test_a_difference_within_the_noise_shares_the_letter():
    matrix = np.array([[0.90, 0.95, 0.91], [0.94, 0.90, 0.93]])
    assert statistics.tie_groups(matrix) == ["a", "a"]


def test_an_untested_method_has_no_letter():
    matrix = np.array([[0.9, math.nan, math.nan], [0.8, 0.81, 0.8], [0.8, 0.80, 0.81]])
    assert statistics.tie_groups(matrix) == ["", "a", "a"]


def test_compact_letters_by_hand():
    apart = np.zeros((3, 3), dtype=bool)
    apart[0, 2] = apart[2, 0] = True
    assert statistics.compact_letters(apart) == ["a", "ab", "b"]
    assert statistics.compact_letters(np.ones((3, 3), dtype=bool)) == ["a", "b", "c"]
    assert statistics.compact_letters(np.zeros((0, 0), dtype=bool)) == []


@pytest.mark.parametrize("seed", range(20))
def test_letters_are_shared_exactly_by_those_not_told_apart(seed):
    draw = np.random.default_rng(seed).random((8, 8)) < 0.4
    apart = np.triu(draw, 1) | np.triu(draw, 1).T
    letters = statistics.compact_letters(apart)
    for i in range(8):
        for j in range(i):
            assert bool(set(letters[i]) & set(letters[j])) != apart[i, j]


def test_gap_closed_by_hand_and_blank_within_the_noise():
    assert statistics.gap_closed(0.85, 0.75, 0.95) == pytest.approx(0.5)
    assert np.isnan(statistics.gap_closed(0.85, 0.75, 0.95, noise=0.25))
    assert np.isnan(statistics.gap_closed(0.85, 0.75, 0.75))
    assert np.isnan(statistics.gap_closed(0.85, 0.75, 0.70))


def test_mean_ranks_by_hand():
    accuracy = np.array([[0.9, 0.8, 0.8], [0.7, 0.9, 0.6]])
    first, second, third = statistics.mean_rank_interval(accuracy)
    assert (first.mean, second.mean, third.mean) == (1.5, 1.75, 2.75)
    assert (first.low, first.high) == (1.0, 2.0)
    assert statistics.mean_rank_interval(accuracy) == [first, second, third]


def test_a_single_task_gives_ranks_without_an_interval():
    (only, _) = statistics.mean_rank_interval(np.array([[0.9, 0.8]]))
    assert only.mean == 1
    assert math.isnan(only.low)


def test_image_bootstrap_of_one_seed_is_the_binomial_interval():
    correct = np.arange(1000)[None] < 800
    mean, low, high = statistics.image_bootstrap(correct)
    assert mean == pytest.approx(0.8)
    assert (high - low) / 2 == pytest.approx(1.96 * math.sqrt(0.8 * 0.2 / 1000), rel=0.1)


def test_image_bootstrap_widens_where_seeds_disagree():
    correct = np.zeros((4, 1000), dtype=bool)
    for seed, share in enumerate((0.6, 0.7, 0.9, 1.0)):
        correct[seed, : int(1000 * share)] = True
    _, low, high = statistics.image_bootstrap(correct)
    assert high - low > 0.2


def wins(tasks=10):
    noise = np.random.default_rng(0).normal(0, 0.01, (tasks, 4))
    return pd.DataFrame(noise + np.array([0.9, 0.5, 0.5, 0.7]), columns=["dann", "adabn", "tent", "nogrl"])


def test_critical_difference_separates_the_clear_winner_alone():
    diagram = statistics.critical_difference(wins())
    assert list(diagram.mean_ranks.index[:2]) == ["dann", "nogrl"]
    assert diagram.friedman_p < 0.001
    assert diagram.p_values.loc["dann", "nogrl"] < 0.05
    assert diagram.p_values.loc["adabn", "tent"] > 0.05


def test_critical_difference_without_any_difference():
    diagram = statistics.critical_difference(pd.DataFrame([[0.5] * 3] * 4, columns=list("abc")))
    assert diagram.friedman_p == 1
    assert (diagram.p_values == 1).all(axis=None)


def test_too_few_tasks_for_a_critical_difference_are_refused():
    with pytest.raises(ValueError, match="2 tasks and 3 methods"):
        statistics.critical_difference(pd.DataFrame([[0.5, 0.6]]))


def test_the_critical_difference_diagram_is_byte_stable_and_names_its_methods():
    svg = statistics.critical_difference_svg(statistics.critical_difference(wins()))
    assert svg == statistics.critical_difference_svg(statistics.critical_difference(wins()))
    assert all(name in svg for name in ("dann", "adabn", "tent", "nogrl"))
    assert "<dc:date>" not in svg


def test_the_diagram_is_the_same_in_every_process():
    program = """
import numpy as np, pandas as pd
from dabench.evaluation import statistics
accuracy = pd.DataFrame(np.random.default_rng(0).random((4, 7)), columns=list("abcdefg"))
print(statistics.critical_difference_svg(statistics.critical_difference(accuracy)))
"""
    drawn = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(drawn) == 1


def test_a_mean_over_tasks_leaves_out_what_is_missing_and_has_bounds_from_three_tasks_on():
    values = [[0.1, 0.4], [0.3, np.nan], [0.2, 0.6]]
    (first, low, high), (second, *bounds) = statistics.mean_over_tasks(values)
    assert first == pytest.approx(0.2)
    assert 0.1 <= low < first < high <= 0.3
    assert second == pytest.approx(0.5)
    assert np.isnan(bounds).all()
