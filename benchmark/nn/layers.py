"""Layers of a network: fixed, found, followed by others, and heard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import Tensor, nn

from dabench.core import NotApplicable

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def freeze(module: AnyModule) -> AnyModule:
    """Fixes every weight, and by eval mode the batch-norm statistics too."""
    return module.requires_grad_(False).eval()


def unfreeze(module: AnyModule) -> AnyModule:
    """Lets every weight and the batch-norm statistics move again."""
    return module.requires_grad_(True).train()


def layers_of(model: nn.Module, kind: str) -> list[nn.Module]:
    """The layers of a kind (conv, batchnorm or activation) in order; raises NotApplicable where there are none.

    An activation that a network applies as a function is no layer. A batch norm with its activation fused in
    (timm's BatchNormAct2d) is found as a batch norm, whose output is the activation's, and as the activation in it.
    """
    activations = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish)
    norms = nn.modules.batchnorm._BatchNorm
    kinds: dict[str, Any] = {"conv": nn.Conv2d, "batchnorm": norms, "activation": activations}
    found = [module for module in model.modules() if isinstance(module, kinds[kind])]
    if not found:
        raise NotApplicable(f"the backbone has no {kind} layer; choose one that has (--backbone lenet_bn)")
    return found


def follow_by(model: nn.Module, layer: nn.Module, follower: nn.Module) -> None:
    """Puts `follower` after `layer`, in place: what the network calls is now both."""
    place = next(name for name, module in model.named_modules() if module is layer)
    parent, _, child = place.rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Sequential(layer, follower))


@contextmanager
def hooked(layers: Sequence[nn.Module], hook: Callable[[nn.Module, Any, Tensor], Tensor | None]) -> Iterator[None]:
    """Inside, each layer's output is what `hook(layer, inputs, output)` gives; afterwards its own again."""
    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def answer_in_binary(layers: Sequence[nn.Module]) -> None:
    """From now on, each layer's output in eval mode is 1 where it is positive and 0 elsewhere."""
    for layer in layers:
        layer.register_forward_hook(lambda layer, inputs, output: None if layer.training else (output > 0).to(output))
