"""Targets whose classes differ from the source's: the first few alone, or all in other shares."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dabench.core import DabenchError, Task


@dataclass(frozen=True)
class FirstClasses:
    """Partial domain adaptation: the target holds the first `count` of the classes (Cao et al., CVPR 2018)."""

    count: int

    def kept(self, labels: np.ndarray, num_classes: int) -> np.ndarray:
        """The indices of the images of these classes."""
        return np.flatnonzero(labels < self.count)


@dataclass(frozen=True)
class ClassPrior:
    """Label shift: the shares of the target's classes are one fixed draw of a symmetric Dirichlet distribution.

    The smaller `concentration`, the more uneven (as in RLSbench: Garg et al., ICML 2023). Each class keeps as many of
    its images as the shares allow, at least one.
    """

    concentration: float

    def kept(self, labels: np.ndarray, num_classes: int) -> np.ndarray:
        """The indices of a fixed draw of images in these shares, in the order that they had."""
        shares = np.random.default_rng(0).dirichlet(np.full(num_classes, self.concentration))
        present = np.unique(labels)
        most = min(np.sum(labels == label) / max(shares[label], 1e-12) for label in present)
        order = np.random.default_rng(0).permutation(len(labels))
        chosen = [order[labels[order] == label][: max(1, int(most * shares[label]))] for label in present]
        return np.sort(np.concatenate(chosen))


TARGET_SHIFTS = ("classes", "prior")


def with_target_shift(task: Task, parameter: str, value: float) -> Task:
    """The task with a target of its first `classes`, or of the class `prior` that a Dirichlet of that value draws.

    Its family says so, so that its rows are averaged with no others. Raises DabenchError for a value that cannot be.
    """
    if task.shifts:
        raise DabenchError(
            f"{task.name}[{parameter}={value:g}]: take one of its {len(task.shifts)} shifts, as cifar10-fog"
        )
    if parameter == "classes":
        if value != int(value) or not 0 < value <= task.num_classes:
            raise DabenchError(f"{task.name}[classes={value:g}]: give a whole number from 1 to {task.num_classes}")
        shift: FirstClasses | ClassPrior = FirstClasses(int(value))
    else:
        if not 0.01 <= value <= 1000:
            raise DabenchError(f"{task.name}[prior={value:g}]: give a number from 0.01 (uneven) to 1000 (even)")
        shift = ClassPrior(value)
    kind = {"classes": "partial", "prior": "label-shift"}[parameter]
    return replace(
        task,
        name=f"{task.name}[{parameter}={value:g}]",
        family=f"{task.family}-{kind}",
        target_shifts=(*task.target_shifts, shift),
    )
