"""Intervals, corrections and resampling. Accuracies are fractions, intervals are of 95 %."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special  # not scipy.stats, which takes longer to import than most reports to write

ALPHA = 0.05
STILL = 1e-9  # a spread over seeds below this is rounding, not randomness
RESAMPLES = 1000


def half_width(std: ArrayLike, n: ArrayLike) -> np.ndarray:
    """Half of the 95 % t-interval of a mean of `n` values; nan for fewer than two."""
    std, n = np.asarray(std, dtype=float), np.asarray(n, dtype=float)
    freedom = np.where(n > 1, n - 1, np.nan)
    half: np.ndarray = special.stdtrit(freedom, 1 - ALPHA / 2) * std / np.sqrt(np.where(n > 1, n, np.nan))
    return half


def interval(values: ArrayLike) -> tuple[float, float]:
    """Mean and half of its 95 % t-interval, missing values left out; of one value the latter is nan."""
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    if not len(known):
        return float("nan"), float("nan")
    std = known.std(ddof=1) if len(known) > 1 else np.nan
    return float(known.mean()), float(half_width(std, len(known)))


def ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each number among its column, from 1, ties shared; for a few lines quicker than sorting."""
    twice = np.ones(values.shape, dtype=np.int16)
    for line in values:
        twice += line < values
        twice += line <= values
    return twice / 2


def image_error(accuracy: ArrayLike, n_images: ArrayLike) -> np.ndarray:
    """Standard error that the draw of the test images gives to an accuracy; nan without images."""
    accuracy, n_images = np.asarray(accuracy, dtype=float), np.asarray(n_images, dtype=float)
    error: np.ndarray = np.sqrt(accuracy * (1 - accuracy) / np.where(n_images > 0, n_images, np.nan))
    return error


def both_levels(ci: ArrayLike, error: ArrayLike) -> np.ndarray:
    """Half of the 95 % interval over seeds and test images together.

    `ci` is that over seeds (nan for one seed: the images alone vary), `error` the standard error over test images of
    each image's mean over seeds, which is what a bootstrap over images converges to.
    """
    of_images = special.ndtri(1 - ALPHA / 2) * np.asarray(error)
    half: np.ndarray = np.hypot(np.nan_to_num(np.asarray(ci, dtype=float)), of_images)
    return half


def paired_image_errors(right: np.ndarray) -> np.ndarray:
    """The standard error over test images of each two methods' difference, (methods, methods).

    `right` is (methods, images): each image's share of right answers over seeds.
    """
    covariance = np.atleast_2d(np.cov(right, ddof=0))
    own = np.diag(covariance)
    errors: np.ndarray = np.sqrt(np.maximum(own[:, None] + own[None, :] - 2 * covariance, 0) / right.shape[1])
    return errors


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's step-down correction (Scand. J. Statist. 1979); a nan stays nan and is not counted."""
    p = np.asarray(p_values, dtype=float)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    corrected = np.full(p.shape, np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return corrected


def gap_closed(gain: ArrayLike, upper_bound: ArrayLike, noise: ArrayLike = 0.0) -> np.ndarray:
    """Share of the way from source-only to the upper bound, both as gains; nan where that gap is not above `noise`."""
    gain, gap = np.asarray(gain, dtype=float), np.asarray(upper_bound, dtype=float)
    return gain / np.where(gap > np.maximum(noise, 0), gap, np.nan)


def task_draws(families: Sequence[str], *, seed: int = 0) -> np.ndarray:
    """How often each of RESAMPLES bootstrap draws takes each task: families are drawn, then tasks inside each.

    Tasks of one family share data (the twelve pairs of PACS are not twelve experiments), so they are drawn together.
    Gives counts (RESAMPLES, tasks).
    """
    chance = np.random.default_rng(seed)
    names, family = np.unique(np.asarray(families, dtype=str), return_inverse=True)
    times = chance.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
    counts = np.zeros((RESAMPLES, len(family)))
    for at in range(len(names)):
        members = np.flatnonzero(family == at)
        equal = np.full(len(members), 1 / len(members))
        counts[:, members] = chance.multinomial(times[:, at] * len(members), equal)
    return counts


def seed_draws(values: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Bootstrap means (RESAMPLES, methods) of `values` (methods, seeds), over the seeds that all methods have.

    Where the methods share no two seeds, their own means stand RESAMPLES times.
    """
    shared = values[:, ~np.isnan(values).any(axis=0)]
    n = shared.shape[1]
    if n < 2:
        known = ~np.isnan(values)
        own = np.where(known, values, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        return np.tile(own, (RESAMPLES, 1))
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    means: np.ndarray = counts @ shared.T / n
    return means


def percentiles(draws: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 2.5 and 97.5 percentiles of means over drawn tasks: `draws` (RESAMPLES, tasks, methods), nan left out."""
    known = ~np.isnan(draws)
    total = np.einsum("rt,rtm->rm", counts, known.astype(float))
    summed = np.einsum("rt,rtm->rm", counts, np.where(known, draws, 0.0))
    means = np.where(total > 0, summed / np.maximum(total, 1), np.nan)
    bounds = np.full((2, means.shape[1]), np.nan)
    usable = ~np.isnan(means).all(axis=0)
    bounds[:, usable] = np.nanquantile(means[:, usable], [ALPHA / 2, 1 - ALPHA / 2], axis=0)
    return bounds[0], bounds[1]
