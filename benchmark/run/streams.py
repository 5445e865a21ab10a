"""The order in which the test images come, and how many at once: what a test-time method lives in.

A stream is written as its order, with the batch's size in brackets where it is not 200: `shuffled`,
`shuffled[batch_size=64]`. It passes once; who adapts on it sees each image a single time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np

from dabench.core import DabenchError, Stream, nearest

Order = Callable[[np.ndarray], np.ndarray]


def parse(spec: str) -> Stream:
    """The stream that the text names; raises DabenchError for an unknown order or a batch of no image."""
    match = re.fullmatch(r"([\w-]+)(?:\[batch_size=(\d{1,6})\])?", spec.strip())
    if match is None or match[2] == "0":
        raise DabenchError(f"cannot read the stream '{spec}'; write shuffled, or shuffled[batch_size=64]")
    if match[1] not in ORDERS:
        raise DabenchError(f"no stream '{match[1]}'; {nearest(match[1], ORDERS)}")
    return Stream(match[1]) if match[2] is None else Stream(match[1], int(match[2]))


def order(stream: Stream, labels: np.ndarray) -> np.ndarray:
    """The indices of the test images as they come, the same for everyone."""
    return ORDERS[stream.order](labels)


def _shuffled(labels: np.ndarray) -> np.ndarray:
    """At random: folders come sorted by class, a stream does not."""
    return np.random.default_rng(0).permutation(len(labels))


ORDERS: Mapping[str, Order] = {"shuffled": _shuffled}
