"""The contracts: what a task, a protocol and a method are, and what a method may see.

Nothing here imports torch or a sibling, so that listing names stays instant.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Callable, Iterable
from dataclasses import Field, dataclass, field, fields, replace
from enum import Flag, StrEnum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    import numpy as np

MethodClass = TypeVar("MethodClass", bound=type[Any])


class DabenchError(Exception):
    """A mistake the user can mend: the message names the thing, the value and the remedy."""


class MissingData(DabenchError):
    """A task's files are not on this machine; the sweep goes on with the other tasks."""


class AccessError(DabenchError):
    """A method asked for data that its setting does not grant."""


class NotApplicable(DabenchError):
    """A method has nothing to do on this task or backbone; the reason becomes the row."""


class Diverged(DabenchError):
    """A loss, a weight or a logit stopped being a finite number."""


ALL = -1  # every one there is, where a number of target labels or target images is asked for


def nearest(name: str, known: Iterable[str]) -> str:
    """Words for the end of an error: the known name that `name` was perhaps meant to be, then all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    return (f"did you mean '{close[0]}'? " if close else "") + f"known: {', '.join(known)}"


class Needs(Flag):
    """What a method declares it must see; the declaration decides its setting.

    TARGET_LABELS grants `--labels N` labelled images a class, and these images alone; UNLABELLED_REST the other
    target images beside them. SOURCE_ANSWERS grants the source model's probabilities for the target images, and
    not the source model.
    """

    NOTHING = 0
    SOURCE = auto()
    TARGET_IMAGES = auto()
    TARGET_LABELS = auto()
    ALL_TARGET_LABELS = auto()
    TEST_STREAM = auto()
    UNLABELLED_REST = auto()
    SOURCE_ANSWERS = auto()


class Setting(StrEnum):
    """The leaderboard's groups; methods are ranked inside one setting only."""

    SOURCE_ONLY = "source-only"
    GENERALIZATION = "generalization"
    TEST_TIME = "test-time"
    TEST_TIME_SOURCE = "test-time-source"
    BLACK_BOX = "black-box"
    SOURCE_FREE = "source-free"
    UNSUPERVISED = "unsupervised"
    SEMI_SUPERVISED = "semi-supervised"
    SEMI_SUPERVISED_SOURCE = "semi-supervised-source"
    SUPERVISED = "supervised"
    UPPER_BOUND = "upper-bound reference"


_FEW_LABELS = Needs.TARGET_IMAGES | Needs.TARGET_LABELS
_SETTINGS = {
    Needs.NOTHING: Setting.SOURCE_ONLY,
    Needs.SOURCE: Setting.GENERALIZATION,
    Needs.TEST_STREAM: Setting.TEST_TIME,
    Needs.TEST_STREAM | Needs.SOURCE: Setting.TEST_TIME_SOURCE,
    Needs.TARGET_IMAGES | Needs.SOURCE_ANSWERS: Setting.BLACK_BOX,
    Needs.TARGET_IMAGES: Setting.SOURCE_FREE,
    Needs.SOURCE | Needs.TARGET_IMAGES: Setting.UNSUPERVISED,
    _FEW_LABELS: Setting.SUPERVISED,
    _FEW_LABELS | Needs.UNLABELLED_REST: Setting.SEMI_SUPERVISED,
    _FEW_LABELS | Needs.UNLABELLED_REST | Needs.SOURCE: Setting.SEMI_SUPERVISED_SOURCE,
    Needs.TARGET_IMAGES | Needs.ALL_TARGET_LABELS: Setting.UPPER_BOUND,
}


def setting_of(needs: Needs) -> Setting:
    """The setting that grants exactly `needs`; raises DabenchError where none does."""
    if needs not in _SETTINGS:
        allowed = "; ".join(str(known).removeprefix("Needs.") for known in _SETTINGS)
        raise DabenchError(f"no setting grants {needs}; declare one of: {allowed}")
    return _SETTINGS[needs]


class Reach(StrEnum):
    """The lowest part of the classifier that a method works on; where the features are frozen there is none below."""

    FEATURES = "features"
    BACKBONE = "the backbone's layers"
    PIXELS = "pixels"


@dataclass(frozen=True)
class Declaration:
    """What `register` records on a method's class."""

    name: str
    needs: Needs
    paper: str
    reach: Reach = Reach.FEATURES

    @property
    def setting(self) -> Setting:
        return setting_of(self.needs)


def register(*, needs: Needs, paper: str, reach: Reach = Reach.FEATURES) -> Callable[[MethodClass], MethodClass]:
    """Declares a frozen dataclass to be the method named as its file.

    `needs` decides what `target_data` will hold; `paper` is the reference shown beside it;
    `reach` keeps it from frozen features where it works on what lies below them.
    """
    setting_of(needs)

    def declare(method: MethodClass) -> MethodClass:
        name = method.__module__.rpartition(".")[2]
        method.declaration = Declaration(name, needs, paper, reach)
        return method

    return declare


def between(default: Any, low: float, high: float, *, log: bool = False) -> Any:
    """A hyper-parameter that is a number: its default and the range a person may give and a search explores."""
    return field(default=default, metadata={"low": low, "high": high, "log": log})


def one_of(default: Any, *others: Any) -> Any:
    """A hyper-parameter with few values, the default first."""
    return field(default=default, metadata={"choices": (default, *others)})


@dataclass(frozen=True)
class Domain:
    """Labelled images: uint8 (n, channels, height, width), possibly memory-mapped, and int64 labels (n,).

    Frozen features, float32 (n, feature_dim), may stand in the images' place.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Any) -> Domain:
        return Domain(self.images[index], self.labels[index])


@dataclass(frozen=True)
class Domains:
    """Everything a task loads; the runner hands each part only to those who may see it.

    `source_train` is None where the source is a pretrained network alone; `source_test` then holds the
    undistorted pictures. `target_validation` is None where the release has no such split.
    `partial` says in words what is missing from the official data ("" where nothing is). `parts` are the lengths of
    the consecutive parts of `target_test` where each is a shift of its own.
    """

    source_train: Domain | None
    source_test: Domain
    target_train: Domain
    target_test: Domain
    target_validation: Domain | None = None
    partial: str = ""
    parts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Protocol:
    """Which target images adapt and which score. Results of two protocols are never averaged.

    `transductive` means that the adapting images are the scored ones: methods that see target labels
    are refused there. `source_images` and `target_images` bound the training images drawn (None: all).
    With several `folds` each seed scores one of them and adapts on the others, so that as many seeds as folds score
    every picture once: fair to a copy too small to be cut once for all.
    """

    name: str
    adapts_on: str
    scores_on: str
    transductive: bool = False
    source_images: int | None = None
    target_images: int | None = None
    folds: int = 1
    fold: int = 0

    @property
    def spec(self) -> str:
        """The text by which `Task.protocol` finds it again, its fold included."""
        return self.name if self.folds == 1 else f"{self.name}[{self.fold}]"

    def of_seed(self, seed: int) -> Protocol:
        """The protocol as that seed has it: itself, or one of its folds."""
        return replace(self, fold=seed % self.folds)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How much training a task grants, the same for every method: steps of `batch_size` images a domain.

    `source_steps` and `source_lr` train the source model (AdamW, one cycle); `steps` is the adaptation budget
    at --budget 1. `flip` and `crop` (pixels of padding) augment training images on the device.
    """

    steps: int
    source_steps: int = 0
    source_lr: float = 1e-3
    batch_size: int = 64
    flip: bool = False
    crop: int = 0


@dataclass(frozen=True)
class Stream:
    """How the test images come to a test-time method: once, in an order that dabench.run.streams knows, in batches."""

    order: str = "shuffled"
    batch_size: int = 200
    delta: float = 0.1  # of a correlated one

    @property
    def spec(self) -> str:
        """The text that stands in a row, and that `--stream` reads."""
        numbers = {"delta": self.delta, "batch_size": self.batch_size}
        given = [f"{name}={number:g}" for name, number in numbers.items() if number != getattr(Stream, name)]
        return self.order + (f"[{','.join(given)}]" if given else "")


@dataclass(frozen=True)
class Reference:
    """A published accuracy in percent, shown beside ours under the same protocol and backbone only."""

    task: str
    method: str
    accuracy: float
    std: float | None
    protocol: str
    backbone: str
    source: str


class Camera(typing.Protocol):
    """A frozen dataclass which sees the world its own way; those of its fields that are numbers can be varied."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def apply(self, images: np.ndarray) -> np.ndarray:
        """The uint8 images (n, 3, height, width) as this camera takes them, in the same form."""
        ...


class TargetShift(typing.Protocol):
    """A choice among the target's images by their labels, which changes how often each class is there."""

    def kept(self, labels: np.ndarray, num_classes: int) -> np.ndarray:
        """The indices of the images that stay, of labels (n,)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Task:
    """One shift scenario: a name, its facts, and the function that loads its domains.

    `load(task, root, cache, protocol)` reads from the data root, keeps decoded pictures under `cache`,
    gives images of the task's `image_shape` (channels, height, width), and raises MissingData with a
    remedy. The first entry of `protocols` is the default; `backbone` is the default network. `datasets`
    names what `dabench data` would fetch, `folders` the user's own pictures. `note` is shown wherever the
    task's numbers are. The order of `class_names` is the order of the class indices. `pretrained` means
    that the source model is the published network itself, its logits cut to `logit_indices` where those
    are given; or the user's own, where there are `folders`. `class_mean` means that accuracy is the mean over
    classes, whatever their sizes. Where there is a `camera`, the target is what it sees of
    the source's pictures; `target_shifts` choose among the target's images. Where the
    task is not `scored` the target's pictures have no labels: they are -1, and rows hold no accuracy.
    `shifts` names the parts of the test images where each is a shift of its own.
    """

    name: str
    family: str
    source: str
    target: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    backbone: str
    recipe: Recipe
    protocols: tuple[Protocol, ...]
    load: Callable[[Task, Path, Path, Protocol], Domains]
    datasets: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    camera: Camera | None = None
    target_shifts: tuple[TargetShift, ...] = ()
    pretrained: bool = False
    logit_indices: tuple[int, ...] | None = None
    class_mean: bool = False
    scored: bool = True
    shifts: tuple[str, ...] = ()
    licence: str = ""
    citation: str = ""
    note: str = ""

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def protocol(self, name: str | None) -> Protocol:
        """The protocol of that name or spec, the first for None; raises DabenchError for an unknown one."""
        if name is None:
            return self.protocols[0]
        for protocol in self.protocols:
            if protocol.name == name:
                return protocol
            for fold in range(protocol.folds):
                if protocol.of_seed(fold).spec == name:
                    return protocol.of_seed(fold)
        names = ", ".join(protocol.name for protocol in self.protocols)
        raise DabenchError(f"task '{self.name}' has no protocol '{name}'; it has: {names}")

    def read(self, root: Path, cache: Path, protocol: Protocol) -> Domains:
        """The task's images and labels under one protocol."""
        domains = self.load(self, root, cache, protocol)
        for shift in self.target_shifts:
            # Where the images that adapt are those that score, they stay one domain.
            shifted = {
                id(domain): domain[shift.kept(domain.labels, self.num_classes)]
                for domain in (domains.target_train, domains.target_validation, domains.target_test)
                if domain is not None
            }
            domains = replace(
                domains,
                target_train=shifted[id(domains.target_train)],
                target_validation=shifted.get(id(domains.target_validation)),
                target_test=shifted[id(domains.target_test)],
            )
        return domains

    def vary(self, parameter: str, value: float) -> Task:
        """The task with one parameter of its camera changed, as its name then says."""
        if self.camera is None:
            raise DabenchError(f"task '{self.name}' has no camera to vary; a curve needs one, as imagenet-rotated")
        known = [entry.name for entry in fields(self.camera) if entry.type != "str"]
        if parameter not in known:
            raise DabenchError(f"the camera of '{self.name}' has no '{parameter}'; {nearest(parameter, known)}")
        camera = replace(self.camera, **{parameter: value})
        return replace(self, name=f"{self.name}[{parameter}={value:g}]", camera=camera)
