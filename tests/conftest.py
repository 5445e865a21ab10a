import os
from pathlib import Path

import pytest
import torch

TINY_TASK = '''
"""Real handwritten digits, upright and upside down, so small that a cell takes a second."""
from sklearn.datasets import load_digits

from dabench.core import Domain, Domains, Protocol, Recipe, Task


def load(task, root, cache, protocol):
    stored = load_digits()
    images = (stored.images * 15.9).astype("uint8").repeat(2, axis=1).repeat(2, axis=2)[:, None]
    digits = Domain(images, stored.target.astype("int64"))
    turned = Domain(images[:, :, ::-1].copy(), digits.labels)
    return Domains(digits[:300], digits[300:400], turned[400:700], turned[700:800])


TASKS = (
    Task(
        name="digits-turned",
        family="tiny",
        source="digits",
        target="turned",
        class_names=tuple("0123456789"),
        image_shape=(1, 16, 16),
        backbone="lenet_bn",
        recipe=Recipe(steps=12, source_steps=20, batch_size=16),
        protocols=(
            Protocol("holdout", adapts_on="300 turned digits", scores_on="100 others"),
            Protocol("same", adapts_on="the scored digits", scores_on="100 digits", transductive=True),
        ),
        load=load,
    ),
)
'''

METHOD = '''
"""{claim}"""
from dataclasses import dataclass

from dabench.core import Needs, between, one_of, register


@register(needs=Needs.TARGET_IMAGES, paper="none")
@dataclass(frozen=True, kw_only=True)
class Own:
    strength: float = between(1.0, 0.0, 10.0)

    def adapt(self, model, target_data):
{body}
        return model
'''


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Small networks are slower on many threads, and tests share the machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_task(tmp_path_factory):
    """The path of a task file whose cells take a second."""
    file = tmp_path_factory.mktemp("tasks") / "turned.py"
    file.write_text(TINY_TASK)
    return file


@pytest.fixture
def own_method(tmp_path):
    """Writes a method file: own_method("boom", "raise ValueError('no')") gives its path."""

    def write(name, body="pass", claim="Does what the test wants."):
        lines = "\n".join(" " * 8 + line for line in body.splitlines())
        file = tmp_path / f"{name}.py"
        file.write_text(METHOD.format(claim=claim, body=lines))
        return file

    return write


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets; a test that needs it is skipped without."""
    root = os.environ.get("DABENCH_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("set DABENCH_DATA to the folder of the real data sets")
    return Path(root).resolve()
