"""The colour and the shape of each setting, the same in every figure and on every page of the site.

The hues are those of Okabe and Ito, which the colour-blind tell apart; where two settings are of one hue, the shape
tells them apart. Every colour has a contrast of 3 to 1 with its page, as marks need.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dabench.core import Setting


class Shape(StrEnum):
    """A mark; the value is its name on the site."""

    CIRCLE = "circle"
    SQUARE = "square"
    DIAMOND = "diamond"
    TRIANGLE = "triangle"
    DOWN = "down"
    CROSS = "cross"
    STAR = "star"


MARKERS = {  # matplotlib's names
    Shape.CIRCLE: "o",
    Shape.SQUARE: "s",
    Shape.DIAMOND: "D",
    Shape.TRIANGLE: "^",
    Shape.DOWN: "v",
    Shape.CROSS: "P",
    Shape.STAR: "*",
}


@dataclass(frozen=True)
class Look:
    """A colour on a light page, the same hue on a dark one, and the shape of the mark."""

    light: str
    dark: str
    shape: Shape


LOOKS = {
    Setting.SOURCE_ONLY: Look("#767c86", "#9aa1ab", Shape.CIRCLE),
    Setting.GENERALIZATION: Look("#2f8fcc", "#8fd0ff", Shape.CROSS),
    Setting.TEST_TIME: Look("#b87400", "#e69f00", Shape.TRIANGLE),
    Setting.TEST_TIME_SOURCE: Look("#b87400", "#e69f00", Shape.DOWN),
    Setting.BLACK_BOX: Look("#00805d", "#1fb88a", Shape.STAR),
    Setting.SOURCE_FREE: Look("#00805d", "#1fb88a", Shape.SQUARE),
    Setting.UNSUPERVISED: Look("#0060a0", "#4da6e8", Shape.DIAMOND),
    Setting.SEMI_SUPERVISED: Look("#b4558a", "#e39ac9", Shape.CIRCLE),
    Setting.SEMI_SUPERVISED_SOURCE: Look("#b4558a", "#e39ac9", Shape.CROSS),
    Setting.SUPERVISED: Look("#d55e00", "#f07f3c", Shape.STAR),
    Setting.UPPER_BOUND: Look("#000000", "#e8eaed", Shape.SQUARE),
}
