"""The one test of a difference: whether two entries on a task differ in accuracy. Every page asks here.

The comparison is paired. Both entries are taken over the seeds they share, which share a source model, and over the
same test images. The variance of the mean difference is the sum of two parts:

- of the seeds: three seeds say little of a variance, so the pair's own is averaged with the mean of its comparison
  group's (all pairs of default methods there), each with n - 1 degrees of freedom: a moderated t-test (Smyth, Stat.
  Appl. Genet. Mol. Biol. 2004). The group's alone would call a method that swings by 8 points as sure as one that
  swings by 0.1. Where neither entry varies over seeds (a published network, a method without randomness) it is 0;
- of the test images: the variance of the difference image by image; without stored predictions, that of two
  independent draws of as many images.

Degrees of freedom are Satterthwaite's. A method is compared with the k - 1 other default methods of its group,
source-only among them, so Holm's correction runs over these; of the two values that a pair gets, from either side, the
larger counts. A pair of which one is outside of the group (a variant, another number of labels) is multiplied by k - 1.
Two entries differ where that p is below 5 %. Fewer than two shared seeds are never tested.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from scipy import special

from dabench.evaluation.statistics import ALPHA, STILL, holm, image_error, paired_image_errors


class Verdict(StrEnum):
    """What is said of the first of two entries."""

    BETTER = "better than"
    WORSE = "worse than"
    TIED = "not told apart from"
    UNTESTED = "not tested against"


@dataclass(frozen=True)
class Difference:
    """The first entry's mean less the second's over `n` shared seeds, as a fraction.

    `ci` is half of its own 95 % interval, `p` is corrected for the number of methods; nan where nothing is tested.
    """

    mean: float
    ci: float
    p: float
    n: int

    @property
    def verdict(self) -> Verdict:
        """Better or worse only where the corrected p says so."""
        if np.isnan(self.p):
            return Verdict.UNTESTED
        if self.p >= ALPHA:
            return Verdict.TIED
        return Verdict.BETTER if self.mean > 0 else Verdict.WORSE


@dataclass(frozen=True)
class Lines:
    """What is compared, a line each: entries, and a source model for each contest that has no entry of it.

    A contest is a task in a comparison group. `values` is accuracy (lines, seeds), nan where a line lacks a seed;
    `contest` the number of each line's; `core` marks the default methods and the source models; `right` holds by line
    each test image's share of right answers, of lines with the same `images` comparable; `n_test` their number.
    """

    values: np.ndarray
    contest: np.ndarray
    core: np.ndarray
    n_test: np.ndarray
    right: Mapping[int, np.ndarray]
    images: Mapping[int, object]


@dataclass(frozen=True)
class Contest:
    """The core lines of a contest with every pair's mean, interval, corrected p and seeds, (k, k) each."""

    slot: Mapping[int, int]
    mean: np.ndarray
    ci: np.ndarray
    p: np.ndarray
    n: np.ndarray

    @property
    def verdicts(self) -> np.ndarray:
        """1 where the line of the row is better, -1 worse, 0 not told apart, nan not tested."""
        return np.where(np.isnan(self.p), np.nan, np.where(self.p < ALPHA, np.sign(self.mean), 0.0))


class Comparison:
    """The test between any two lines; pairs of default methods are computed at once, others when asked for."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        known = ~np.isnan(lines.values)
        self._mean = np.where(known, lines.values, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        spread = np.where(known, lines.values - self._mean[:, None], 0)
        self._still = (known.sum(axis=1) > 1) & (np.abs(spread).max(axis=1, initial=0) < STILL)
        members = self._members()
        pairs = [np.triu_indices(len(each), 1) for each in members]
        first, second, owner = (
            np.concatenate([np.empty(0, dtype=int), *parts])
            for parts in (
                [each[one] for each, (one, _) in zip(members, pairs, strict=True)],
                [each[two] for each, (_, two) in zip(members, pairs, strict=True)],
                [np.full(len(one), at) for at, (one, _) in enumerate(pairs)],
            )
        )
        self._pool(first, second, owner, len(members))
        errors = np.concatenate(
            [np.empty(0), *(self._all_image_errors(each)[pair] for each, pair in zip(members, pairs, strict=True))]
        )
        tested = self._tested(first, second, errors)
        ends: Any = np.cumsum([len(one) for one, _ in pairs])[:-1] if pairs else []
        by_contest = zip(*(np.split(each, ends) for each in tested), strict=True)
        self._contests = [_contest(*each) for each in zip(members, pairs, by_contest, strict=False)]

    def _members(self) -> list[np.ndarray]:
        """The core lines of each contest."""
        core = np.flatnonzero(self._lines.core)
        order = core[np.argsort(self._lines.contest[core], kind="stable")]
        count = int(self._lines.contest.max(initial=-1)) + 1
        return np.split(order, np.searchsorted(self._lines.contest[order], np.arange(1, count))) if count else []

    def _pool(self, first: np.ndarray, second: np.ndarray, owner: np.ndarray, contests: int) -> None:
        """The mean variance over seeds of each contest's pairs, and how many methods have one."""
        _, variance, n, still = self._seeds(first, second)
        usable = (n > 1) & ~still
        weight = np.where(usable, n - 1, 0)
        total = np.bincount(owner, weight, contests)
        summed = np.bincount(owner, np.where(usable, weight * variance, 0), contests)
        self._pooled = np.where(total > 0, summed / np.maximum(total, 1), 0.0)
        tested = (~np.isnan(self._lines.values)).sum(axis=1) > 1
        core = self._lines.core & tested
        self._count = np.bincount(self._lines.contest[core], minlength=contests)
        self._pools = np.bincount(self._lines.contest[core & ~self._still], minlength=contests) > 1
        self._pools &= self._count > 2

    def _seeds(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of pairs: mean difference, its variance over seeds, shared seeds, and whether neither line varies."""
        difference = self._lines.values[first] - self._lines.values[second]
        known = ~np.isnan(difference)
        n = known.sum(axis=1)
        mean = np.where(known, difference, 0).sum(axis=1) / np.maximum(n, 1)
        squares = np.where(known, difference - mean[:, None], 0) ** 2
        return mean, squares.sum(axis=1) / np.maximum(n - 1, 1), n, self._still[first] & self._still[second]

    def _tested(
        self, first: np.ndarray, second: np.ndarray, image_errors: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of pairs: mean difference, half of its interval, p without correction, shared seeds."""
        mean, own, n, still = self._seeds(first, second)
        contests = self._lines.contest[first], self._lines.contest[second]
        pooled = np.maximum(*(self._pooled[each] for each in contests))
        freedom = np.maximum(n - 1, 1) * np.where(self._pools[contests[0]] & self._pools[contests[1]], 2, 1)
        moderated = np.where(freedom > np.maximum(n - 1, 1), (own + pooled) / 2, own)
        of_seeds = np.where(still, 0.0, moderated / np.maximum(n, 1))
        variance = of_seeds + np.nan_to_num(image_errors) ** 2
        scale = np.sqrt(np.where(variance > 0, variance, np.nan))
        ratio = np.where(of_seeds > 0, variance / np.where(of_seeds > 0, of_seeds, 1), np.inf)
        freedom = freedom * ratio**2
        p = 2 * special.stdtr(freedom, -np.abs(mean) / scale)
        p = np.where((variance == 0) & (np.abs(mean) <= STILL), 1.0, p)
        ci = special.stdtrit(freedom, 1 - ALPHA / 2) * scale
        tested = n > 1
        return np.where(n > 0, mean, np.nan), np.where(tested, ci, np.nan), np.where(tested, p, np.nan), n

    def _all_image_errors(self, members: np.ndarray) -> np.ndarray:
        """The standard errors over test images of all differences of a contest, (k, k)."""
        errors = self._independent(members[:, None], members[None, :])
        same: dict[object, list[int]] = {}
        for slot, line in enumerate(members.tolist()):
            if line in self._lines.right:
                same.setdefault(self._lines.images[line], []).append(slot)
        for slots in same.values():
            right = np.array([self._lines.right[int(members[slot])] for slot in slots])
            errors[np.ix_(slots, slots)] = paired_image_errors(right)
        return errors

    def _independent(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        one, two = (image_error(np.clip(self._mean[each], 0, 1), self._lines.n_test[each]) for each in (first, second))
        errors: np.ndarray = np.hypot(one, two)
        return errors

    def _image_errors(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The standard errors over test images of the differences of some pairs."""
        errors = self._independent(first, second)
        right, images = self._lines.right, self._lines.images
        for at, (one, two) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
            if one in right and two in right and images[one] == images[two]:
                errors[at] = (right[one] - right[two]).std() / np.sqrt(len(right[one]))
        return errors

    def contest(self, number: int) -> Contest:
        """All pairs of a contest's core lines."""
        return self._contests[number]

    def differences(self, first: np.ndarray, second: np.ndarray) -> list[Difference]:
        """The differences of pairs of lines."""
        found: list[Difference | None] = []
        for one, two in zip(first.tolist(), second.tolist(), strict=True):
            contest = self._contests[self._lines.contest[one]]
            if one in contest.slot and two in contest.slot:
                at = contest.slot[one], contest.slot[two]
                mean, ci, p = (float(each[at]) for each in (contest.mean, contest.ci, contest.p))
                found.append(Difference(mean, ci, p, int(contest.n[at])))
            else:
                found.append(None)
        outside = np.array([each is None for each in found], dtype=bool)
        others = iter(self._outside(first[outside], second[outside]))
        return [next(others) if each is None else each for each in found]

    def _outside(self, first: np.ndarray, second: np.ndarray) -> list[Difference]:
        """Pairs of which one is no default method of the other's group."""
        tested = self._tested(first, second, self._image_errors(first, second))
        counts = np.maximum(*(self._count[self._lines.contest[each]] for each in (first, second)))
        p = np.minimum(tested[2] * np.maximum(counts - 1, 1), 1)
        return [
            Difference(float(mean), float(ci), float(corrected), int(n))
            for mean, ci, _, n, corrected in zip(*tested, p, strict=True)
        ]


def _contest(members: np.ndarray, pairs: tuple[np.ndarray, np.ndarray], tested: tuple[np.ndarray, ...]) -> Contest:
    """Pairs of the upper triangle as whole matrices, with Holm's correction over each method's comparisons."""
    count = len(members)
    mean, ci, p, n = (np.full((count, count), np.nan) for _ in range(4))
    for matrix, values in zip((mean, ci, p, n), tested, strict=True):
        matrix[pairs] = values
        matrix.T[pairs] = -values if matrix is mean else values
    corrected = np.array([holm(line) for line in p]).reshape(p.shape)
    np.fill_diagonal(mean, 0.0)
    np.fill_diagonal(n, 0)
    return Contest(
        slot={line: slot for slot, line in enumerate(members.tolist())},
        mean=mean,
        ci=ci,
        p=np.fmax(corrected, corrected.T),
        n=n,
    )
