"""Which cells a curve needs: one number varies, a camera's severity, labels, target images or a hyper-parameter.

They are ordinary cells, so what is stored is not computed again; `dabench.report.curves` draws the curve from the rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

from dabench import registry
from dabench.core import ALL, DabenchError, Needs, Task, nearest
from dabench.registry import Variant
from dabench.results.curve import COUNTED, LABELS, TARGET_IMAGES, Curve, CurveCell
from dabench.run.plan import Planned, Request

DEFAULT_VALUES = {"angle": "0:360:10", LABELS: "1,3,10,30,all", TARGET_IMAGES: "30,100,300,1000,all"}
_LABELLED = "adapternet,finetune_last1,finetune_last2,finetune_last3,finetune_all,lp_ft"
_UNLABELLED = "source_only,adabn,tent,adapternet_unlabelled"
DEFAULT_METHODS = {
    LABELS: f"{_LABELLED},{_UNLABELLED}",
    TARGET_IMAGES: f"{_UNLABELLED},dann,adapternet,finetune_last1",
}
_MOST_VALUES = 1000


@dataclass(frozen=True)
class Point:
    """One value of a curve and the cells that stand at it; None is the cells that stand at every value."""

    value: float | None
    request: Request


def values(text: str, parameter: str) -> tuple[float, ...]:
    """`0.05,0.2,0.6`, or `0:360:10` (first, last and step, both ends inside); `all` for a count, which is ALL."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        found = [number for part in parts for number in _numbers(part, parameter)]
    except (ValueError, OverflowError):
        found = []
    counted = parameter in COUNTED
    if not found or (counted and not all(value == ALL or value >= 1 for value in found)):
        wanted = (
            f"counts such as {DEFAULT_VALUES[parameter]}" if counted else "numbers such as 0:360:10 or 0.05,0.2,0.6"
        )
        raise DabenchError(f"--values {text}: give {wanted}")
    return tuple(dict.fromkeys(found))


def _numbers(part: str, parameter: str) -> list[float]:
    if parameter in COUNTED:
        return [ALL if part == "all" else int(part)]
    numbers = [float(number) for number in part.split(":")]
    if not all(map(math.isfinite, numbers)) or len(numbers) not in (1, 3):
        raise ValueError
    if len(numbers) == 1:
        return numbers
    first, last, step = numbers
    count = math.floor((last - first) / step + 1e-9) + 1 if step else 0
    if not 0 < count <= _MOST_VALUES:
        raise ValueError
    return [round(first + index * step, 10) for index in range(count)]


def points(
    found: tuple[str, Task], methods: tuple[Variant, ...], parameter: str, values: Sequence[float], request: Request
) -> tuple[Point, ...]:
    """What to plan at each value of one task, as `registry.tasks` found it; `request` says seeds, budget and the like.

    The parameter is `labels`, `target_images`, a number of the task's camera, or a hyper-parameter of a method; methods
    that it does not touch stand at every value. Raises DabenchError for a parameter that is none of these.
    """
    camera = found[1].camera
    known = [field.name for field in fields(camera)] if camera else []
    here = replace(request, tasks=(found,), methods=methods)
    if parameter == LABELS:
        return (Point(None, replace(here, labels=tuple(int(value) for value in values))),)
    if parameter in known:
        return tuple(Point(value, replace(here, tasks=(_seen(found, parameter, value),))) for value in values)
    if parameter == TARGET_IMAGES:
        varied = tuple(each for each in methods if registry.describe(each.file).needs & Needs.TARGET_IMAGES)
        moving = [Point(value, replace(here, methods=varied, target_images=int(value))) for value in values]
    else:
        varied = tuple(each for each in methods if parameter in registry.describe(each.file).parameters)
        moving = [
            Point(value, replace(here, methods=tuple(_with(each, parameter, value) for each in varied)))
            for value in values
        ]
    if not varied:
        hyper = {name for variant in methods for name in registry.describe(variant.file).parameters}
        choices = nearest(parameter, [*COUNTED, *known, *hyper])
        raise DabenchError(f"no parameter '{parameter}' to vary here; {choices}")
    level = tuple(variant for variant in methods if variant not in varied)
    return (*moving, Point(None, replace(here, methods=level))) if level else tuple(moving)


def _seen(found: tuple[str, Task], parameter: str, value: float) -> tuple[str, Task]:
    """The task behind another camera, with the words that find it; at the camera's own value the task itself."""
    words, task = found
    if getattr(task.camera, parameter) == value:
        return found
    if "::" in words:
        raise DabenchError(f"cannot vary the camera of {words} from outside; write its {parameter} in the task's file")
    name, _, given = words.rstrip("]").partition("[")
    kept = [pair for pair in given.split(",") if pair and pair.partition("=")[0].strip() != parameter]
    return registry.tasks(f"{name}[{','.join([*kept, f'{parameter}={value:g}'])}]")[0]


def _with(variant: Variant, parameter: str, value: float) -> Variant:
    """The variant with one hyper-parameter more; raises DabenchError for a value out of its range."""
    given = {**dict(variant.given), parameter: f"{value:g}"}
    where = variant.name if variant.name in registry.method_files() else str(variant.file)
    return registry.methods(f"{where}[{','.join(f'{name}={text}' for name, text in given.items())}]")[0]


@dataclass(frozen=True)
class PlannedCurve:
    """A curve and the planned cells behind it, once each."""

    curve: Curve
    cells: tuple[Planned, ...]


def curve(
    found: tuple[str, Task],
    methods: tuple[Variant, ...],
    parameter: str,
    values: tuple[float, ...],
    request: Request,
    plan: Callable[[Request], tuple[Planned, ...]],
) -> PlannedCurve:
    """The curve of one task, as `registry.tasks` found it; `plan` plans its cells."""
    cells: list[CurveCell] = []
    every: list[Planned] = []
    for point in points(found, methods, parameter, values, request):
        for planned in plan(point.request):
            at = point.value
            if parameter == LABELS and planned.identity["labels"] in values:
                at = planned.identity["labels"]
            cells.append(CurveCell(at, planned.key, _line_name(planned, parameter)))
            every.append(planned)
    first = every[0].identity
    conditions = (
        f"Protocol `{first['protocol']}`, backbone `{first['backbone']}`, {first['image_size']} px, "
        f"budget {first['budget']:g}"
    )
    return PlannedCurve(Curve(found[1].name, parameter, values, tuple(cells), conditions), tuple(every))


def _line_name(planned: Planned, parameter: str) -> str:
    given = tuple(pair for pair in planned.cell.variant.given if pair[0] != parameter)
    return Variant(planned.cell.variant.name, planned.cell.variant.file, given).label
