"""The order in which the test images come, and how many at once: what a test-time method lives in.

A stream is written as its order, with what is not the usual in brackets: `shuffled`, `shuffled[batch_size=64]`,
`correlated[delta=0.5,batch_size=16]`. It passes once; who adapts on it sees each image a single time.

| order | how the images come |
|---|---|
| `shuffled` | at random, those of several shifts too |
| `correlated` | classes in bursts: each class is dealt out over as many slots of time as there are classes (100 at most) by a Dirichlet distribution of concentration `delta`; the smaller, the longer the bursts |
| `sorted` | class by class |
| `reset` | shift by shift, the model begun anew before each; for tasks of several shifts, as are the two below |
| `continual` | shift by shift, the model kept |
| `mixed` | all shifts at random |

`correlated` and `sorted` take the shifts of a task one by one, and no batch holds images of two but of a mixed stream.
"""  # noqa: E501

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from dabench.core import DabenchError, Stream, nearest

_MOST_SLOTS = 100
OF_SHIFTS = ("reset", "continual", "mixed")  # what tasks of several shifts alone can have


@dataclass(frozen=True)
class Arrival:
    """The indices of the test images as they come, the lengths of the parts, and whether each finds a new model."""

    order: np.ndarray
    parts: tuple[int, ...]
    resets: bool = False


def parse(spec: str) -> Stream:
    """The stream that the text names; raises DabenchError for an unknown order or a number it cannot have."""
    match = re.fullmatch(r"([\w-]+)(?:\[([^\]]*)\])?", spec.strip())
    if match is None:
        raise DabenchError(f"cannot read the stream '{spec}'; write shuffled, or shuffled[batch_size=64]")
    order = match[1]
    if order not in ORDERS:
        raise DabenchError(f"no stream '{order}'; {nearest(order, ORDERS)}")
    numbers = dict(_number(spec, order, given) for given in match[2].split(",")) if match[2] else {}
    return Stream(order, int(numbers.get("batch_size", Stream.batch_size)), numbers.get("delta", Stream.delta))


def _number(spec: str, order: str, given: str) -> tuple[str, float]:
    name, _, value = given.strip().partition("=")
    allowed = {"batch_size": r"[1-9]\d{0,5}", **({"delta": r"\d{1,4}(\.\d{1,6})?"} if order == "correlated" else {})}
    if name not in allowed:
        raise DabenchError(f"the stream '{order}' has no '{name}'; {nearest(name, allowed)}")
    if not re.fullmatch(allowed[name], value) or float(value) == 0:
        raise DabenchError(f"stream '{spec}': {name} = '{value}' must be a positive number, as in {order}[{name}=16]")
    return name, float(value)


def arrival(stream: Stream, labels: np.ndarray, parts: tuple[int, ...] = ()) -> Arrival:
    """How images of these labels come, the same for everyone; `parts` are the lengths of a task's several shifts."""
    whole = (len(labels),)
    lengths = whole if not parts or stream.order in ("shuffled", "mixed") else parts
    chance = np.random.default_rng(0)
    starts = np.cumsum([0, *lengths])
    within = ORDERS[stream.order]
    orders = [
        start + within(labels[start : start + length], stream.delta, chance)
        for start, length in zip(starts, lengths, strict=False)
    ]
    return Arrival(np.concatenate(orders), tuple(lengths), stream.order == "reset")


Order = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def _shuffled(labels: np.ndarray, delta: float, chance: np.random.Generator) -> np.ndarray:
    """At random: folders come sorted by class, a stream does not."""
    return chance.permutation(len(labels))


def _sorted(labels: np.ndarray, delta: float, chance: np.random.Generator) -> np.ndarray:
    mixed = chance.permutation(len(labels))
    return mixed[np.argsort(labels[mixed], kind="stable")]


def _correlated(labels: np.ndarray, delta: float, chance: np.random.Generator) -> np.ndarray:
    """Classes in bursts (Yuan et al., CVPR 2023): slot by slot, in each slot class by class."""
    classes = np.unique(labels)
    count = min(len(classes), _MOST_SLOTS)
    slots: list[list[np.ndarray]] = [[] for _ in range(count)]
    for label in classes:
        images = chance.permutation(np.flatnonzero(labels == label))
        cuts = np.cumsum(chance.dirichlet(np.full(count, delta)))[:-1] * len(images)
        for slot, some in zip(slots, np.split(images, cuts.round().astype(int)), strict=True):
            slot.append(some)
    return np.concatenate([slot[place] for slot in slots for place in chance.permutation(len(slot))])


ORDERS: Mapping[str, Order] = {
    "shuffled": _shuffled,
    "correlated": _correlated,
    "sorted": _sorted,
    "reset": _shuffled,
    "continual": _shuffled,
    "mixed": _shuffled,
}
