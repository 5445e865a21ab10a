"""First drafts: a commented file that works as it stands, for whoever begins a method or a task."""

from __future__ import annotations

import keyword
from collections.abc import Collection
from pathlib import Path

from dabench import registry
from dabench.core import DabenchError

_METHOD = '''\
"""One line that claims what the method does: the prediction entropy on unlabelled target images is minimised.

Authors: Title, Venue Year, arXiv:0000.00000.

    min over all weights of  mean H(f(x_t)) - H(mean f(x_t))     certain on each image, varied over all

Say here where the code departs from the paper.
"""

from dataclasses import dataclass

import torch

from dabench.core import Needs, between, register
from dabench.nn import diversity, entropy


# `needs` decides what `target_data` holds, and by that the leaderboard's group: here unlabelled target images,
# so "source-free". Needs.SOURCE | Needs.TARGET_IMAGES adds labelled source images ("unsupervised").
@register(needs=Needs.TARGET_IMAGES, paper="Authors, Venue Year")
@dataclass(frozen=True, kw_only=True)
class {title}:
    # Hyper-parameters: a default, and the range that a person may give. `--methods ./{name}.py[lr=0.003]`.
    lr: float = between(1e-3, 1e-6, 1.0, log=True)
    varied: float = between(1.0, 0.0, 10.0)

    def adapt(self, model, target_data):
        # `model` is your own copy of the source model, in train mode. It takes images in [0, 1] and gives logits;
        # model.features(images) and model.head(features) are its two parts.
        optimizer = torch.optim.SGD(model.parameters(), lr=self.lr, momentum=0.9)
        # The harness owns the loop: it ends when the budget is spent. `batch.progress` runs from 0 to 1.
        for batch in target_data.batches(model):
            logits = model(batch.target_images)
            loss = entropy(logits).mean() - self.varied * diversity(logits)
            batch.minimise(loss, optimizer)
        return model
'''

_TOML = """\
# A task of your own pictures. Every class has a folder of pictures, of the same name in source and target:
#
#     {name}/source/<class>/*.jpg      what the model learns from
#     {name}/target/<class>/*.jpg      what the new camera sees

name = "{name}"
source = "{name}/source"        # folders are relative to this file
target = "{name}/target"
# camera = "rotated"            # instead of target: the source's pictures behind a simulated camera
# angle = 90                    # its parameter; camera = "power" takes exponents = [2, 2, 0.5]

backbone = "resnet18"           # any of timm's classifiers, or lenet, lenet_bn, dtn, resnet8, resnet20
image_size = 224
# checkpoint = "model.safetensors"   # your own source model instead of one trained here; see docs/tasks.md

source_steps = 1500             # training steps of the source model
steps = 2000                    # adaptation steps that every method gets
batch_size = 32
"""

_TASK = '''\
"""One line that says what shifts: handwritten digits, then the same kind of digits in poor light.

A task file is almost pure data: TASKS, and the few lines that load the pictures.
"""

import numpy as np

from dabench.core import Domain, Domains, Protocol, Recipe, Task


def load(task, root, cache, protocol):
    """uint8 images (n, channels, height, width) and int64 labels (n,); own files would be read from `root`."""
    from sklearn.datasets import load_digits

    stored = load_digits()
    images = (stored.images * 15.9375).astype(np.uint8).repeat(2, axis=1).repeat(2, axis=2)[:, None]
    labels = stored.target.astype(np.int64)
    dark = 160 + images // 8  # little contrast on a grey ground
    # No picture of the source comes back in the target, and none that adapts is scored.
    return Domains(
        source_train=Domain(images[:700], labels[:700]),
        source_test=Domain(images[700:900], labels[700:900]),
        target_train=Domain(dark[900:1500], labels[900:1500]),
        target_test=Domain(dark[1500:], labels[1500:]),
    )


TASKS = (
    Task(
        name="{name}",
        family="own",  # tasks of one family share a table
        source="digits",
        target="dark digits",
        class_names=tuple("0123456789"),
        image_shape=(1, 16, 16),
        backbone="lenet_bn",
        recipe=Recipe(source_steps=200, steps=200, batch_size=64),  # the same for every method
        protocols=(Protocol("holdout", adapts_on="600 dark digits", scores_on="297 others"),),
        load=load,
        licence="CC BY 4.0",
        citation="Alpaydin and Kaynak, Optical recognition of handwritten digits, UCI repository 1998",
        note="what a reader of its numbers must know",
    ),
)
'''


def method(name: str, folder: Path) -> Path:
    """Writes `name`.py, a method that works; raises DabenchError for a name that cannot be or is taken."""
    _check_name(name, "method", registry.method_files())
    title = "".join(part.capitalize() for part in name.split("_"))
    return _write(folder / f"{name}.py", _METHOD.format(name=name, title=title))


def toml_task(name: str, folder: Path) -> Path:
    """Writes `name`.toml, a task of two folders of pictures; raises DabenchError as `method` does."""
    _check_name(name, "task", registry.known_tasks())
    return _write(folder / f"{name}.toml", _TOML.format(name=name))


def python_task(name: str, folder: Path) -> Path:
    """Writes `name`.py, a task that works as it stands; raises DabenchError as `method` does."""
    _check_name(name, "task", registry.known_tasks())
    return _write(folder / f"{name}.py", _TASK.format(name=name))


def _check_name(name: str, kind: str, known: Collection[str]) -> None:
    if not name.isascii() or not name.isidentifier() or keyword.iskeyword(name):
        raise DabenchError(f"'{name}' cannot name a {kind}: use letters, digits and '_', as in my_{kind}")
    if name in known:
        raise DabenchError(f"a {kind} named '{name}' exists already; choose another name")


def _write(file: Path, text: str) -> Path:
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        raise DabenchError(f"{file} exists already; choose another name, or remove it first") from None
    except OSError as error:
        raise DabenchError(f"cannot write {file}: {error.strerror}; go to a folder that you may write in") from error
    return file
