"""A curve as plain data: which stored cells stand at which value of one number."""

from __future__ import annotations

from dataclasses import dataclass

LABELS, TARGET_IMAGES = "labels", "target_images"
COUNTED = {LABELS: "target labels a class", TARGET_IMAGES: "target images"}


@dataclass(frozen=True)
class CurveCell:
    """A cell's key, the line it belongs to, and the value it stands at; None is every value of the curve."""

    value: float | None
    key: str
    line: str


@dataclass(frozen=True)
class Curve:
    """A task, the number that varies, its values, its cells, and the conditions that these share, in words."""

    task: str
    parameter: str
    values: tuple[float, ...]
    cells: tuple[CurveCell, ...]
    conditions: str
