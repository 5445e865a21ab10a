"""The suite: the tasks that the leaderboard's first tables are about, each under its one condition.

It is what `dabench run --tasks suite` computes and what the leaderboard and the site show first. Everything else that
is stored (other networks, sizes, budgets, streams) stands on the page of its task.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING

from dabench.core import Setting, Stream

if TYPE_CHECKING:
    import pandas as pd

NAME = "suite"  # what --tasks calls it


class Change(StrEnum):
    """What is different in the target domain."""

    CAMERA = "camera"
    CORPUS = "corpus"
    STYLE = "style"
    CORRUPTION = "corruption"


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A task of the suite under its one condition; the fields are named as the columns of a row, `change` aside.

    Methods that use target labels may be given any number of them.
    """

    task: str
    change: Change
    protocol: str
    backbone: str
    image_size: int
    budget: float = 1.0
    target_images: int = -1
    start: str = "source-model"
    stream: str = Stream().spec
    frozen: bool = False

    @property
    def condition(self) -> str:
        """Network, size, budget and stream in words, for the head of a column."""
        words = [self.backbone, f"{self.image_size} px"]
        words += [] if self.budget == 1 else [f"{100 * self.budget:g} % of the steps"]
        words += ["frozen features"] if self.frozen else []
        words += [] if self._is_shuffled else [f"{self.stream} stream"]
        return ", ".join(words)

    @property
    def _is_shuffled(self) -> bool:
        return self.stream == Stream().spec

    def takes(self, setting: Setting) -> bool:
        """Whether methods of the setting have a place here: a stream of its own is for who lives in it alone."""
        return self._is_shuffled or setting in (Setting.SOURCE_ONLY, Setting.TEST_TIME, Setting.TEST_TIME_SOURCE)

    def among(self, rows: pd.DataFrame) -> pd.Series:
        """Which of some rows or entries are of this scenario."""
        return (rows[_CONDITION] == [getattr(self, name) for name in _CONDITION]).all(axis=1)


_CONDITION = [each.name for each in fields(Scenario) if each.name != "change"]


def _digits(source: str, target: str, protocol: str, backbone: str) -> Scenario:
    return Scenario(
        task=f"{source}-{target}", change=Change.CORPUS, protocol=protocol, backbone=backbone, image_size=28
    )


def _camera(task: str, protocol: str, backbone: str, image_size: int, budget: float = 1.0) -> Scenario:
    return Scenario(
        task=task, change=Change.CAMERA, protocol=protocol, backbone=backbone, image_size=image_size, budget=budget
    )


# LeNet as it was, without batch norm, is the network of the founding papers on MNIST and USPS. Where a full training
# would take hours a cell on a processor, the share of the steps that every method is given is part of the condition, or
# the features of a published network stand still and what follows them is adapted.
SUITE: tuple[Scenario, ...] = (
    _camera("shapes-rotated", "holdout", "resnet8", 32),
    _camera("shapes-power", "holdout", "resnet8", 32),
    _camera("cifar10-rotated", "official", "resnet20", 32, 0.25),
    _camera("cifar10-power", "official", "resnet20", 32, 0.25),
    _digits("optdigits", "fonts", "holdout", "lenet_bn"),
    _digits("fonts", "optdigits", "holdout", "lenet_bn"),
    _digits("mnist", "usps", "full", "lenet"),
    _digits("usps", "mnist", "full", "lenet"),
    *(
        Scenario(
            task=f"pacs-art-{style}",
            change=Change.STYLE,
            protocol="holdout",
            backbone="tf_efficientnet_lite0",
            image_size=224,
            frozen=True,
        )
        for style in ("cartoon", "photo", "sketch")
    ),
    Scenario(
        task="cifar10-c",
        change=Change.CORRUPTION,
        protocol="severity5",
        backbone="resnet20",
        image_size=32,
        budget=0.25,
        stream="reset",
    ),
)


def within(rows: pd.DataFrame) -> pd.Series:
    """Which of some rows or entries are of the suite."""
    found = rows["task"].isin({scenario.task for scenario in SUITE})
    wanted = {tuple(getattr(scenario, name) for name in _CONDITION) for scenario in SUITE}
    exact = found.to_numpy(dtype=bool, copy=True)
    exact[exact] = [each in wanted for each in rows.loc[found, _CONDITION].itertuples(index=False, name=None)]
    return found & exact
