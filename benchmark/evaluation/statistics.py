"""The statistics of the report: intervals, paired tests, tie groups and ranks.

Accuracies are fractions. Seeds are the replicates; where every seed gives the same number (a published source
model, a method without randomness) the test images decide instead.
"""

from __future__ import annotations

import io
import string
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALPHA = 0.05
_STILL = 1e-9  # a spread over seeds below this is rounding, not randomness


def half_width(std: ArrayLike, n: ArrayLike) -> np.ndarray:
    """Half of the 95 % t-interval of a mean of `n` values; nan for fewer than two."""
    std, n = np.asarray(std, dtype=float), np.asarray(n, dtype=float)
    freedom = np.where(n > 1, n - 1, np.nan)
    return stats.t.ppf(1 - ALPHA / 2, freedom) * std / np.sqrt(np.where(n > 1, n, np.nan))


def interval(values: ArrayLike) -> tuple[float, float]:
    """Mean and half-width of its 95 % t-interval, missing values left out; one value has half-width nan."""
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    if not len(known):
        return float("nan"), float("nan")
    std = known.std(ddof=1) if len(known) > 1 else np.nan
    return float(known.mean()), float(half_width(std, len(known)))


def image_error(accuracy: ArrayLike, n_images: ArrayLike) -> np.ndarray:
    """Standard error that the draw of the test images gives to an accuracy."""
    accuracy = np.asarray(accuracy, dtype=float)
    return np.sqrt(accuracy * (1 - accuracy) / np.asarray(n_images, dtype=float))


def both_levels(half: ArrayLike, error: ArrayLike) -> np.ndarray:
    """Half of the 95 % interval over seeds and test images together.

    `half` is that of the t-interval over seeds (nan for one seed: the images alone vary), `error` the standard
    error over test images of each image's mean over seeds, which is what a bootstrap over images converges to.
    """
    return np.hypot(np.nan_to_num(np.asarray(half, dtype=float)), stats.norm.ppf(1 - ALPHA / 2) * np.asarray(error))


def difference_p_value(
    mean: ArrayLike, std: ArrayLike, n: ArrayLike, error: ArrayLike = np.nan, paired_error: ArrayLike = np.nan
) -> np.ndarray:
    """Two-sided p of a mean paired difference over `n` seeds, elementwise; nan for fewer than two seeds.

    `paired_error` is the standard error of the difference over the same test images: where it is known, seeds and
    images both count (Satterthwaite's degrees of freedom). Where it is not and the seeds do not vary, `error` (of
    images that are not paired) takes their place; without it such a difference cannot be judged and is nan.
    """
    mean, std, n, error, paired_error = np.broadcast_arrays(
        *(np.asarray(value, dtype=float) for value in (mean, std, n, error, paired_error))
    )
    of_seeds = np.where(std > _STILL, std**2 / np.maximum(n, 1), 0.0)
    of_images = np.nan_to_num(paired_error) ** 2
    variance = of_seeds + of_images
    scale = np.where(variance > 0, np.sqrt(variance), np.where(error > 0, error, np.nan))
    ratio = np.where(of_seeds > 0, variance / np.where(of_seeds > 0, of_seeds, 1), np.inf)
    p = 2 * stats.t.sf(np.abs(mean) / scale, np.maximum(n - 1, 1) * ratio**2)
    p = np.where((variance == 0) & (np.abs(mean) <= _STILL), 1.0, p)
    return np.where(n > 1, p, np.nan)


def paired_p_value(a: ArrayLike, b: ArrayLike, n_images: float = np.nan) -> float:
    """Two-sided p of the paired t-test of accuracies over the same seeds on `n_images` test images."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    both = ~(np.isnan(a) | np.isnan(b))
    if both.sum() < 2:
        return float("nan")
    difference = a[both] - b[both]
    error = np.hypot(image_error(a[both].mean(), n_images), image_error(b[both].mean(), n_images))
    return float(difference_p_value(difference.mean(), difference.std(ddof=1), both.sum(), error))


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's step-down adjustment (Scand. J. Statist. 1979); a nan stays nan and is not counted."""
    p = np.asarray(p_values, dtype=float)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return adjusted


def separated(matrix: np.ndarray, n_images: float = np.nan, paired_errors: np.ndarray | None = None) -> np.ndarray:
    """Which pairs of methods the shared seeds tell apart: paired tests, Holm over all pairs, 5 %.

    `matrix` is accuracy (methods, seeds) with nan where a method lacks a seed, `paired_errors` (methods, methods)
    the standard errors of their differences over the same test images; gives bool (methods, methods).
    """
    matrix = np.asarray(matrix, dtype=float)
    first, second = np.triu_indices(len(matrix), 1)
    difference = matrix[first] - matrix[second]
    known = ~np.isnan(difference)
    n = known.sum(axis=1)
    mean = np.where(known, difference, 0).sum(axis=1) / np.maximum(n, 1)
    spread = np.where(known, difference - mean[:, None], 0)
    std = np.sqrt((spread**2).sum(axis=1) / np.maximum(n - 1, 1))
    errors = image_error(_means(matrix), n_images)
    paired = np.nan if paired_errors is None else paired_errors[first, second]
    p = holm(difference_p_value(mean, std, n, np.hypot(errors[first], errors[second]), paired))
    apart = np.zeros((len(matrix), len(matrix)), dtype=bool)
    apart[first, second] = apart[second, first] = p < ALPHA
    return apart


def paired_image_errors(hits: np.ndarray) -> np.ndarray:
    """The standard error over test images of each two methods' difference, (methods, methods).

    `hits` is (methods, images): each image's share of right answers over seeds, nan lines where unknown.
    """
    covariance = np.atleast_2d(np.cov(hits, ddof=0))
    own = np.diag(covariance)
    return np.sqrt(np.maximum(own[:, None] + own[None, :] - 2 * covariance, 0) / hits.shape[1])


def _means(matrix: np.ndarray) -> np.ndarray:
    """The mean of each line, missing values left out."""
    known = ~np.isnan(matrix)
    return np.where(known, matrix, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)


def tie_groups(matrix: np.ndarray, n_images: float = np.nan, paired_errors: np.ndarray | None = None) -> list[str]:
    """Letters for each method: two that share a letter cannot be told apart, `a` goes to the best mean.

    `matrix` and the rest as for `separated`. A method of fewer than two seeds cannot be tested
    and gets no letter. Piepho, "An algorithm for a letter-based representation", JCGS 2004.
    """
    matrix = np.asarray(matrix, dtype=float)
    tested = np.flatnonzero((~np.isnan(matrix)).sum(axis=1) > 1)
    best_first = tested[np.argsort(-_means(matrix[tested]), kind="stable")]
    letters = [""] * len(matrix)
    ordered_errors = None if paired_errors is None else paired_errors[np.ix_(best_first, best_first)]
    apart = separated(matrix[best_first], n_images, ordered_errors)
    for index, letter in zip(best_first, compact_letters(apart), strict=True):
        letters[index] = letter
    return letters


def compact_letters(apart: np.ndarray) -> list[str]:
    """The compact letter display of a symmetric bool matrix, its methods ordered best first."""
    count = len(apart)
    groups = [frozenset(range(count))] if count else []
    for first, second in zip(*np.nonzero(np.triu(apart, 1)), strict=True):
        split = [group for group in groups if first in group and second in group]
        if not split:
            continue
        kept = [group for group in groups if group not in split]
        for part in (group - {member} for group in split for member in (first, second)):
            if not any(part <= group for group in kept):
                kept = [group for group in kept if not group <= part] + [part]
        groups = kept
    groups.sort(key=sorted)
    names = [*string.ascii_letters, *(f"a{number}" for number in range(1, len(groups)))]
    return [
        "".join(name for name, group in zip(names, groups, strict=False) if member in group) for member in range(count)
    ]


def gap_closed(accuracy: ArrayLike, source_only: ArrayLike, oracle: ArrayLike, noise: ArrayLike = 0.0) -> np.ndarray:
    """Share of the way from source-only to the oracle; nan where that gap is not above its `noise`."""
    accuracy, source_only, oracle = (np.asarray(value, dtype=float) for value in (accuracy, source_only, oracle))
    gap = oracle - source_only
    return (accuracy - source_only) / np.where(gap > np.maximum(noise, 0), gap, np.nan)


@dataclass(frozen=True)
class MeanRank:
    """A method's mean rank over tasks and its 95 % bootstrap interval (nan for a single task)."""

    mean: float
    low: float
    high: float


def mean_rank_interval(accuracy: ArrayLike, *, resamples: int = 10_000, seed: int = 0) -> list[MeanRank]:
    """Mean rank (1 is best, ties share) of each method, with a percentile bootstrap over tasks.

    `accuracy` is (tasks, methods) without gaps: a missing cell is the caller's to exclude, never to impute.
    """
    ranks = stats.rankdata(-np.asarray(accuracy, dtype=float), axis=1)
    tasks = len(ranks)
    if tasks < 2:
        return [MeanRank(float(rank), np.nan, np.nan) for rank in ranks.mean(axis=0)]
    counts = np.random.default_rng(seed).multinomial(tasks, np.full(tasks, 1 / tasks), size=resamples)
    low, high = np.quantile(counts @ ranks / tasks, [ALPHA / 2, 1 - ALPHA / 2], axis=0)
    return [MeanRank(*map(float, bounds)) for bounds in zip(ranks.mean(axis=0), low, high, strict=True)]


def mean_over_tasks(values: ArrayLike, *, resamples: int = 10_000, seed: int = 0) -> np.ndarray:
    """Mean of each column of (tasks, methods) with a percentile bootstrap over tasks, as (methods, 3).

    A nan is left out of its column; a column of fewer than three tasks has no bounds.
    """
    values = np.asarray(values, dtype=float)
    found = np.full((values.shape[1], 3), np.nan)
    for column, known in enumerate(each[~np.isnan(each)] for each in values.T):
        if len(known):
            found[column, 0] = known.mean()
        if len(known) >= 3:
            drawn = np.random.default_rng(seed).integers(len(known), size=(resamples, len(known)))
            found[column, 1:] = np.quantile(known[drawn].mean(axis=1), [ALPHA / 2, 1 - ALPHA / 2])
    return found


def image_bootstrap(correct: ArrayLike, *, resamples: int = 2_000, seed: int = 0) -> tuple[float, float, float]:
    """Mean accuracy with its 95 % bootstrap interval over seeds and test images, both drawn anew each time.

    `correct` is bool (seeds, images). A single seed leaves the images alone to vary.
    """
    correct = np.asarray(correct, dtype=np.float32)
    seeds, images = correct.shape
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    for index in range(resamples):
        over_seeds = correct[generator.integers(seeds, size=seeds)].mean(axis=0)
        means[index] = over_seeds[generator.integers(images, size=images)].mean()
    low, high = np.quantile(means, [ALPHA / 2, 1 - ALPHA / 2])
    return float(correct.mean()), float(low), float(high)


@dataclass(frozen=True)
class CriticalDifference:
    """What a critical-difference diagram needs: mean ranks best first, and which pairs stay together.

    `friedman_p` asks whether the methods differ at all; `p_values` (methods, methods) are Holm-adjusted.
    """

    mean_ranks: pd.Series
    p_values: pd.DataFrame
    friedman_p: float
    tasks: int


def critical_difference(accuracy: pd.DataFrame) -> CriticalDifference:
    """Friedman's test over tasks and the Conover post-hoc with Holm's correction (Demsar, JMLR 2006).

    `accuracy` is (tasks, methods) without gaps, at least two tasks and three methods; else ValueError.
    """
    import scikit_posthocs

    if accuracy.shape[0] < 2 or accuracy.shape[1] < 3:
        raise ValueError(f"a critical difference needs 2 tasks and 3 methods; there are {accuracy.shape}")
    ranks = accuracy.rank(axis=1, ascending=False)
    if (ranks == ranks.iloc[0, 0]).all(axis=None):
        ones = pd.DataFrame(1.0, accuracy.columns, accuracy.columns)
        return CriticalDifference(ranks.mean(), ones, 1.0, len(ranks))
    order = ranks.mean().sort_values(kind="stable").index
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # ranks that never change divide by a zero spread
        p_values = scikit_posthocs.posthoc_conover_friedman(accuracy.to_numpy(), p_adjust="holm")
    p_values = pd.DataFrame(p_values.to_numpy(), accuracy.columns, accuracy.columns)
    friedman = stats.friedmanchisquare(*accuracy.to_numpy().T)
    return CriticalDifference(ranks.mean()[order], p_values.loc[order, order], float(friedman.pvalue), len(ranks))


def critical_difference_figure(diagram: CriticalDifference) -> Figure:
    """The diagram: methods on an axis of mean ranks, bars joining those not told apart."""
    import scikit_posthocs
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.2 + 0.22 * len(diagram.mean_ranks)))
    axes = figure.subplots()
    # Bars are drawn in the order of a set, which for names changes from one process to the next; for numbers it stays.
    numbers = range(len(diagram.mean_ranks))
    artists = scikit_posthocs.critical_difference_diagram(
        diagram.mean_ranks.set_axis(numbers),
        diagram.p_values.set_axis(numbers).set_axis(numbers, axis=1),
        ax=axes,
        label_fmt_left="{label}",
        label_fmt_right="{label}",
        label_props={"fontsize": 9},
    )
    for text in artists["labels"]:
        number = int(text.get_text())
        text.set_text(f"{diagram.mean_ranks.index[number]} ({diagram.mean_ranks.iloc[number]:.2f})")
    axes.set_title(f"mean rank over {diagram.tasks} tasks (bars join methods not told apart)", fontsize=9)
    return figure


def critical_difference_svg(diagram: CriticalDifference) -> str:
    """The diagram as SVG, byte for byte the same from the same numbers."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "dabench", "svg.fonttype": "none"}):
        figure = critical_difference_figure(diagram)
        figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    return text.getvalue()
