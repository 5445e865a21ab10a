"""A person's own trained network as a source model: weights for one of timm's classifiers, or TorchScript.

It is enrolled with timm under a name that holds a hash of the file, so that it is built like any other network and
rows of two checkpoints are never taken for each other.
"""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dabench.core import DabenchError

if TYPE_CHECKING:
    from torch import nn

PREFIX = "own_"
_networks: dict[str, Checkpoint] = {}


@dataclass(frozen=True)
class Checkpoint:
    """The file, what it fills, and how its images are normalised.

    `architecture` is a name of timm's, empty for TorchScript. `mean` and `std` of each channel of images in [0, 1];
    None is what timm publishes for the architecture, and for TorchScript images as they are.
    """

    file: Path
    architecture: str
    num_classes: int
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def build(self) -> nn.Module:
        """The network as timm would give it; raises DabenchError where the file does not fill it."""
        network = self._filled() if self.architecture else _scripted(self)
        channels = self.image_shape[0]
        published = vars(network)["pretrained_cfg"]
        mean, std = self.mean or published["mean"], self.std or published["std"]
        if len(mean) != channels or len(std) != channels:
            raise DabenchError(f"{self.file}: give mean and std as {channels} numbers each")
        vars(network)["pretrained_cfg"] = {**published, "mean": mean, "std": std}
        return network

    def _filled(self) -> nn.Module:
        from dabench.models.networks import timm_network
        from dabench.models.weights import fill

        network = timm_network(self.architecture, self.num_classes, self.image_shape)
        fill(network, self.file, self.architecture, self.num_classes)
        return network


def enrolled(checkpoint: Checkpoint) -> str:
    """The name under which timm now builds the checkpoint; raises DabenchError where it cannot be one."""
    import timm
    from timm.models import generate_default_cfgs, register_model

    if not checkpoint.file.is_file():
        raise DabenchError(f"no checkpoint {checkpoint.file}; give the path of a file, relative to the task's")
    if checkpoint.architecture and not timm.is_model(checkpoint.architecture):
        raise DabenchError(
            f"{checkpoint.file}: a checkpoint fills one of timm's classifiers, and '{checkpoint.architecture}' is "
            "none; set backbone to the one it was trained as, such as resnet18"
        )
    with checkpoint.file.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    facts = (checkpoint.num_classes, checkpoint.image_shape, checkpoint.mean, checkpoint.std)
    digest.update(repr(facts).encode())
    kind = checkpoint.architecture.replace(".", "_") or "torchscript"
    name = f"{PREFIX}{kind}_{digest.hexdigest()[:8]}"
    if name not in _networks:
        checkpoint.build()
        _networks[name] = checkpoint
        default_cfgs.update(generate_default_cfgs({name: {"num_classes": checkpoint.num_classes}}))
        register_model(_entry(name, checkpoint))
    return name


def of_backbone(name: str) -> Checkpoint | None:
    """The checkpoint enrolled under this name in this process."""
    return _networks.get(name)


def is_torchscript(file: Path) -> bool:
    """Whether the file is an archive that torch.jit.save wrote."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


# timm reads what is known of a network from this name in the module of its entry point.
default_cfgs: dict[str, Any] = {}


def _entry(name: str, checkpoint: Checkpoint) -> Callable[..., nn.Module]:
    """timm's entry point; what timm would choose (classes, channels, size) the checkpoint has settled."""

    def build(**_: Any) -> nn.Module:
        return checkpoint.build()

    build.__name__ = name
    return build


def _scripted(checkpoint: Checkpoint) -> nn.Module:
    """A fixed TorchScript network before a layer that changes nothing yet, so that its logits are its features."""
    import torch

    from dabench.models.scripted import Scripted

    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch would rather read its newer format
            network = torch.jit.load(checkpoint.file, map_location="cpu").eval()
            for parameter in network.parameters():
                parameter.requires_grad_(False)
            logits = network(torch.zeros(2, *checkpoint.image_shape))
            shape, finite = tuple(logits.shape), bool(logits.isfinite().all())
    except (RuntimeError, AttributeError, TypeError, ValueError, OSError) as error:
        # TorchScript puts the reason last, below its own traceback.
        reason = str(error).strip().rpartition("\n")[2]
        raise DabenchError(
            f"the TorchScript network {checkpoint.file} cannot be used: {reason}; it must take float images "
            f"(batch, {', '.join(map(str, checkpoint.image_shape))}) and give logits"
        ) from error
    if shape != (2, checkpoint.num_classes):
        raise DabenchError(
            f"the TorchScript network {checkpoint.file} gives {shape[1:]} numbers an image, and the task has "
            f"{checkpoint.num_classes} classes; make one folder for each, sorted by name in the order of its logits"
        )
    if not finite:
        raise DabenchError(
            f"the TorchScript network {checkpoint.file} gives logits that are not finite for a black picture: its "
            "training diverged; give a checkpoint from before"
        )
    return Scripted(network, checkpoint.num_classes, checkpoint.image_shape[0])
