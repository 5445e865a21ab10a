"""Norms: which of them a network has, and whose statistics they take."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dabench.core import NotApplicable
from dabench.nn.layers import freeze


def batch_norms(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """Every batch norm of the model; raises NotApplicable where it has none."""
    found = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not found:
        raise NotApplicable("the backbone has no batch norm to adapt; choose one that has (--backbone lenet_bn)")
    return found


def use_batch_statistics(norm: nn.modules.batchnorm._BatchNorm) -> None:
    """From now on the batch norm takes each batch's own mean and variance, in eval mode too.

    Where a channel has one value alone (one image, maps of 1x1) there is no variance: the source's statistics answer.
    """
    stored = norm.running_mean, norm.running_var

    def choose(norm: nn.modules.batchnorm._BatchNorm, inputs: tuple[Tensor]) -> None:
        single = inputs[0].numel() == inputs[0].shape[1]
        norm.running_mean, norm.running_var = stored if single else (None, None)

    norm.track_running_stats = False
    norm.register_forward_pre_hook(choose)


def mix_batch_statistics(norm: nn.modules.batchnorm._BatchNorm, alpha: float) -> None:
    """From now on the batch norm, in eval mode, takes (1 - alpha) of the source's statistics and alpha of the batch's.

    The batch's variance is the unbiased one; no gradient flows through the statistics. Where a channel has one value
    alone (one image, maps of 1x1) the source's statistics answer.
    """
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise NotApplicable("a batch norm of the backbone keeps no statistics of the source; choose another backbone")

    def mix(norm: nn.modules.batchnorm._BatchNorm, inputs: tuple[Tensor]) -> None:
        values = inputs[0].detach().float()
        norm.running_mean, norm.running_var = mean, variance
        if values.numel() > values.shape[1]:
            batch_variance, batch_mean = torch.var_mean(values, [0, *range(2, values.ndim)])
            norm.running_mean, norm.running_var = mean.lerp(batch_mean, alpha), variance.lerp(batch_variance, alpha)

    norm.register_forward_pre_hook(mix)


def norms_of_the_batch(model: nn.Module, share: float = 1.0) -> list[nn.Parameter]:
    """Freezes all but the norms' scales and shifts, which it gives; batch norms take each batch's own statistics.

    Batch, layer and group norms; with `share` the first of them alone, from the input on. Raises NotApplicable where
    the model has none that can be adapted.
    """
    freeze(model)
    kinds = nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm
    norms = [module for module in model.modules() if isinstance(module, kinds)]
    for norm in norms[: math.ceil(share * len(norms))]:
        norm.requires_grad_(True)
    for norm in norms:
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            use_batch_statistics(norm)
    affine = [weight for weight in model.parameters() if weight.requires_grad]
    if not affine:
        raise NotApplicable("the backbone has no norm to adapt; choose one that has (--backbone lenet_bn)")
    return affine
