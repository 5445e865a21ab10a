"""What every method promises, as checks on a tiny task made in memory: for the tests, and for `dabench check`.

Each check takes a method's variant and raises DabenchError where the promise is broken; a check of a method that has
nothing to do on the tiny network (NotApplicable) passes.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dabench import models
from dabench.core import ALL, DabenchError, Domain, Domains, Needs, NotApplicable, Protocol, Recipe, Stream, Task
from dabench.registry import Variant
from dabench.run.devices import seeded
from dabench.run.failures import caught, reason
from dabench.run.images import Pictures, predict
from dabench.run.plan import Cell
from dabench.run.source_model import train_source
from dabench.run.target_data import Granted, TargetData
from dabench.run.task_data import TaskData, grant, labels_of, task_data

STEPS, IMAGES, CLASSES, SIDE = 10, 96, 4, 16
_CPU = torch.device("cpu")
_PROTOCOL = Protocol("tiny", adapts_on="its training pictures", scores_on="its test pictures")
_CELL = Cell("tiny", Variant("", Path()), "tiny", "lenet_bn", SIDE, budget=1, labels=ALL, target_images=ALL, seed=0)

Check = Callable[[Variant], None]


# --------------------------------------------------------------------------------------------- the tiny task


def _domain(seed: int, shift: int) -> Domain:
    """Noisy pictures whose bright quadrant is the class; `shift` darkens and moves them."""
    chance = np.random.default_rng(seed)
    labels = np.arange(IMAGES) % CLASSES
    images = chance.integers(0, 120, (IMAGES, 3, SIDE, SIDE), dtype=np.uint8)
    half = SIDE // 2
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[:, row * half : (row + 1) * half, column * half : (column + 1) * half] += np.uint8(130 - shift)
    return Domain(np.roll(images, shift // 10, axis=3), labels)


def _load(task: Task, root: Path, cache: Path, protocol: Protocol) -> Domains:
    return Domains(_domain(0, 0), _domain(1, 0), _domain(2, 30), _domain(3, 30))


TINY = Task(
    name="tiny",
    family="tiny",
    source="bright",
    target="dark",
    class_names=("top left", "top right", "bottom left", "bottom right"),
    image_shape=(3, SIDE, SIDE),
    backbone="lenet_bn",
    recipe=Recipe(steps=STEPS, source_steps=STEPS, batch_size=16),
    protocols=(_PROTOCOL,),
    load=_load,
)


@cache
def _data() -> TaskData:
    return task_data(TINY, TINY.read(Path(), Path(), _PROTOCOL), _CPU, Stream())


@cache
def _source_model() -> nn.Module:
    """The tiny network after a few steps on the source."""
    with seeded(0, _CPU):
        model = models.build(TINY.backbone, CLASSES, TINY.image_shape)
        train_source(model, _data(), _CELL, lambda stage, step, steps, loss: None)
    return model


def _adapt(variant: Variant, data: TaskData) -> nn.Module:
    """What the method makes of a fresh copy of the source model, given exactly what the harness would grant."""
    method = variant.load()
    needs = method.declaration.needs
    domains, answers = grant(needs, data, _CELL), None
    model = copy.deepcopy(_source_model()).train()
    if needs & Needs.SOURCE_ANSWERS:
        answers = predict(model, domains["target"])[0].softmax(1)
        model = models.build(TINY.backbone, CLASSES, TINY.image_shape).train()
    target_data = TargetData(
        method.declaration,
        TINY.recipe,
        Granted(answers=answers, **domains),
        num_classes=CLASSES,
        seed=0,
        device=_CPU,
    )
    adapted: nn.Module = method.adapt(model, target_data)
    return adapted


def _adapted(variant: Variant, data: TaskData | None = None) -> nn.Module:
    with seeded(0, _CPU):
        return _adapt(variant, data or _data())


def _answers(variant: Variant, adapted: nn.Module) -> Tensor:
    """Logits on the tiny test images, in the method's own batches."""
    if not variant.load().declaration.needs & Needs.TEST_STREAM:
        return predict(adapted, _data().target_test, Stream.batch_size)[0]
    with seeded(0, _CPU):  # what learns from the stream may draw from chance there, as it may in `adapt`
        return predict(adapted, _data().target_test, Stream.batch_size)[0]


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _first_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> str:
    """The name of the first tensor that is not the same bit for bit, or nothing."""
    if one.keys() != other.keys():
        return ", ".join(sorted(one.keys() ^ other.keys()))
    return next((name for name in one if not torch.equal(one[name], other[name])), "")


def _settings() -> dict[str, object]:
    return {
        "number of threads": torch.get_num_threads(),
        "default dtype": torch.get_default_dtype(),
        "grad mode": torch.is_grad_enabled(),
        "deterministic mode": torch.are_deterministic_algorithms_enabled(),
    }


@dataclass(frozen=True)
class _Run:
    """A method's run on the tiny task: the weights it made, what they answer, and what else it touched."""

    state: dict[str, Tensor]
    answers: Tensor
    settings: tuple[str, ...]
    source_model: str


@cache
def _first_run(variant: Variant) -> _Run:
    """The run on which most checks look, made once; an error is raised anew for each of them."""
    settings, original = _settings(), _source_model()
    before = _state(original)
    adapted = _adapted(variant)
    _fail_where(not isinstance(adapted, nn.Module), variant, f"returns {type(adapted).__name__}; return a torch module")
    state, answers = _state(adapted), _answers(variant, adapted)
    changed = tuple(name for name, value in _settings().items() if value != settings[name])
    return _Run(state, answers, changed, _first_difference(before, _state(original)))


def _fail_where(broken: object, variant: Variant, message: str) -> None:
    if broken:
        raise DabenchError(f"'{variant.label}' {message}")


# ------------------------------------------------------------------------------------------------ the checks


def hyper_parameters_are_keyword_only_and_plain(variant: Variant) -> None:
    """hyper-parameters are keyword-only fields of a frozen dataclass, each a plain value"""
    method = variant.load()
    kind = type(method)
    _fail_where(
        not is_dataclass(kind), variant, "is no dataclass; decorate it with @dataclass(frozen=True, kw_only=True)"
    )
    _fail_where(not kind.__dataclass_params__.frozen, variant, "can be changed; give its dataclass frozen=True")
    loose = [field.name for field in fields(kind) if not field.kw_only]
    _fail_where(loose, variant, f"takes {', '.join(loose)} by position; give its dataclass kw_only=True")
    try:
        json.dumps(asdict(method))
    except TypeError as error:
        raise DabenchError(f"'{variant.label}' has a parameter that JSON cannot hold: {error}") from error


def constructs_by_default(variant: Variant) -> None:
    """constructs without arguments"""
    try:
        replace(variant, given=()).load()
    except TypeError as error:
        raise DabenchError(f"'{variant.name}' needs arguments: {error}; give each field a default") from error


def gives_finite_logits(variant: Variant) -> None:
    """adapts a tiny task, and gives finite logits of shape (batch, classes) in eval mode"""
    logits = _first_run(variant).answers
    expected = (IMAGES, CLASSES)
    _fail_where(tuple(logits.shape) != expected, variant, f"gives logits {tuple(logits.shape)}, not {expected}")
    _fail_where(not logits.isfinite().all(), variant, "gives logits that are not finite; lower its lr")


def same_seed_gives_the_same_weights(variant: Variant) -> None:
    """gives the same weights and answers, bit for bit, from the same seed"""
    first, second = _first_run(variant), _adapted(variant)
    differs = _first_difference(first.state, _state(second))
    _fail_where(differs, variant, f"gives another '{differs}' from the same seed; draw from torch's own random state")
    same = torch.equal(first.answers, _answers(variant, second))
    _fail_where(not same, variant, "answers differently from the same weights; keep chance out of eval mode")


def leaves_the_random_state_to_the_harness(variant: Variant) -> None:
    """seeds nothing: different seeds of the harness reach its random numbers"""
    ends = []
    for seed in (1, 2):
        with seeded(seed, _CPU):
            _adapt(variant, _data())
            ends.append((torch.rand(1).item(), random.random(), np.random.random()))
    for name, one, other in zip(("torch", "random", "numpy"), *ends, strict=True):
        _fail_where(one == other, variant, f"seeds {name}; the harness seeds, so leave its random state alone")


def keeps_the_settings_of_the_process(variant: Variant) -> None:
    """leaves torch's threads, default type and grad mode as they were"""
    changed = _first_run(variant).settings
    _fail_where(changed, variant, f"changes torch's {', '.join(changed)} for all who come after; put it back")


def _permuted(pictures: Pictures) -> Pictures:
    return replace(pictures, labels=labels_of(pictures).roll(1))


def labels_it_may_not_see_change_nothing(variant: Variant) -> None:
    """permuted target labels change nothing, unless it declares that it sees them"""
    if variant.load().declaration.needs & (Needs.TARGET_LABELS | Needs.ALL_TARGET_LABELS):
        return
    data = _data()
    permuted = replace(data, target_train=_permuted(data.target_train), target_test=_permuted(data.target_test))
    first, second = _first_run(variant), _adapted(variant, permuted)
    differs = _first_difference(first.state, _state(second))
    _fail_where(differs, variant, f"gives another '{differs}' when target labels it may not see are permuted")
    same = torch.equal(first.answers, _answers(variant, second))
    _fail_where(not same, variant, "answers differently when target labels it may not see are permuted")


def leaves_the_source_model_alone(variant: Variant) -> None:
    """leaves the cached source model as it was: what it is given is a copy"""
    differs = _first_run(variant).source_model
    _fail_where(differs, variant, f"changes '{differs}' of the source model; keep no module or tensor between runs")


CHECKS: tuple[Check, ...] = (
    constructs_by_default,
    hyper_parameters_are_keyword_only_and_plain,
    gives_finite_logits,
    same_seed_gives_the_same_weights,
    leaves_the_random_state_to_the_harness,
    keeps_the_settings_of_the_process,
    labels_it_may_not_see_change_nothing,
    leaves_the_source_model_alone,
)


def outcome(check: Check, variant: Variant) -> tuple[bool, str]:
    """Whether the variant passes, and the words that say why not, or that there was nothing to do."""
    raised = caught(lambda: check(variant), (Exception, SystemExit))
    if raised is None:
        return True, ""
    if isinstance(raised, NotApplicable):
        return True, f"not applicable here: {raised}"
    return False, reason(raised, variant.file)


def title(check: Check) -> str:
    """The promise in words."""
    return check.__doc__ or check.__name__
