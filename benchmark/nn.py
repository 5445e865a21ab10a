"""Building blocks that methods share; they import nothing of dabench but `core` and this module."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cosine_similarity, grid_sample, softplus

from dabench.core import NotApplicable

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class Classifier(nn.Module):
    """A feature extractor and a head that take plain images and give plain float32 logits.

    Normalisation, memory layout and precision happen inside, so that methods need not think of them: the
    backbone computes in `precision` (float32 or bfloat16), the head in float32.
    """

    forward_passes: ClassVar[int] = 0  # of every classifier in this process, for the record of what a run did
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        feature_dim: int,
        num_classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.feature_dim = feature_dim
        self.num_classes = num_classes
        self.precision = precision
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        for weight in self.parameters():
            if weight.ndim == 4:  # a network may hold weights of five dimensions, for which there is no such format
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)

    def features(self, images: Tensor) -> Tensor:
        """Float32 features (batch, feature_dim) of images in [0, 1], (batch, channels, height, width).

        Frozen features (batch, dim) may come in the images' place and are not normalised.
        """
        Classifier.forward_passes += 1
        if images.ndim == 2:
            normalised = images
        else:
            normalised = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        reduced = self.precision != torch.float32
        with torch.autocast(images.device.type, self.precision if reduced else None, enabled=reduced):
            return cast(Tensor, self.backbone(normalised).flatten(1).float())

    def forward(self, images: Tensor) -> Tensor:
        """Float32 logits (batch, num_classes) of images in [0, 1], (batch, channels, height, width)."""
        return cast(Tensor, self.head(self.features(images)))

    def layers(self) -> list[nn.ModuleList]:
        """The trainable layers from input to output: each a convolution or linear map and its norms.

        Parameters that belong to no such layer (a position embedding) are in none.
        """
        layers: list[nn.ModuleList] = []
        for module in self.modules():
            own = list(module.parameters(recurse=False))
            if not own or len(own) < len(list(module.parameters())):
                continue
            if any(parameter.ndim > 1 for parameter in own):
                layers.append(nn.ModuleList([module]))
            elif layers:
                layers[-1].append(module)
        return layers


class InputAdapted(nn.Module):
    """A classifier behind a transform of its input; the transform comes off as `adapter`."""

    def __init__(self, adapter: nn.Module, model: Classifier) -> None:
        super().__init__()
        self.adapter = adapter
        self.model = model

    @property
    def head(self) -> nn.Module:
        return self.model.head

    def features(self, images: Tensor) -> Tensor:
        return self.model.features(self.adapter(images))

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.features(images)))


class DomainCritic(nn.Sequential):
    """Tells source from target by features: (batch, feature_dim) to one logit each (batch,), positive for source."""

    def __init__(self, feature_dim: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__(
            nn.Linear(feature_dim, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, 1),
            nn.Flatten(0),
        )


class JointFeatures(nn.Module):
    """Features times predictions: (batch, feature_dim) and (batch, classes) to (batch, width).

    All products where these are 4,096 at most; else `width` = 1,024 random ones, fixed from the start, whose inner
    products are those of all in expectation (Long et al., NeurIPS 2018).
    """

    of_features: Tensor
    of_predictions: Tensor

    def __init__(self, feature_dim: int, num_classes: int) -> None:
        super().__init__()
        every = feature_dim * num_classes
        self.width = every if every <= 4096 else 1024
        if self.width != every:
            self.register_buffer("of_features", torch.randn(feature_dim, self.width))
            self.register_buffer("of_predictions", torch.randn(num_classes, self.width))

    def forward(self, features: Tensor, predictions: Tensor) -> Tensor:
        if hasattr(self, "of_features"):
            return (features @ self.of_features) * (predictions @ self.of_predictions) / math.sqrt(self.width)
        return (predictions[:, :, None] * features[:, None, :]).flatten(1)


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, features: Tensor, scale: float) -> Tensor:
        context.scale = scale
        return features.view_as(features)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -context.scale * gradient, None


def reverse_gradient(features: Tensor, scale: float) -> Tensor:
    """The features as they are; on the way back their gradient times `-scale` (Ganin & Lempitsky, ICML 2015)."""
    return cast(Tensor, _ReverseGradient.apply(features, scale))


def anneal(optimizer: torch.optim.Optimizer, progress: float) -> None:
    """Sets every group's rate to its initial one over (1 + 10 progress)^0.75 (Ganin et al., JMLR 2016)."""
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) / (1 + 10 * progress) ** 0.75


def domain_loss(source: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of the critic's logits, (batch,) each: source is 1, target is 0."""
    return cross_entropy_of(source, True) / 2 + cross_entropy_of(target, False) / 2


def cross_entropy_of(logits: Tensor, truth: bool) -> Tensor:
    """Mean binary cross-entropy of logits (batch,) that all have the same label."""
    return softplus(-logits if truth else logits).mean()


def entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of each prediction, (batch,)."""
    return -(logits.softmax(1) * logits.log_softmax(1)).sum(1)


def diversity(logits: Tensor) -> Tensor:
    """Entropy of the mean prediction: high where all classes are predicted."""
    mean = logits.softmax(1).mean(0)
    return -(mean * mean.clamp_min(1e-8).log()).sum()


def entropy_of_sure_and_new(
    logits: Tensor, seen: Tensor | None, margin: float, distance: float
) -> tuple[Tensor | None, Tensor | None]:
    """EATA's weighted entropy of the chosen test images, and the moving mean of chosen predictions (Niu et al., 2022).

    Chosen are the sure, H < margin ln C, that are new, |cos(p, seen)| < distance; each counts exp(margin ln C - H).
    The loss is None where none is chosen. `seen` (classes,) is None before the first.
    """
    uncertainty, limit = entropy(logits), margin * math.log(logits.shape[1])
    predictions = logits.detach().softmax(1)
    chosen = uncertainty.detach() < limit
    if seen is not None:
        chosen &= cosine_similarity(predictions, seen[None]).abs() < distance
    if not chosen.any():
        return None, seen
    weight, mean = (limit - uncertainty[chosen].detach()).exp(), predictions[chosen].mean(0)
    return (weight * uncertainty[chosen]).mean(), mean if seen is None else 0.9 * seen + 0.1 * mean


def freeze(module: AnyModule) -> AnyModule:
    """Fixes every weight, and by eval mode the batch-norm statistics too."""
    return module.requires_grad_(False).eval()


def unfreeze(module: AnyModule) -> AnyModule:
    """Lets every weight and the batch-norm statistics move again."""
    return module.requires_grad_(True).train()


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


def coral(source: Tensor, target: Tensor) -> Tensor:
    """Squared distance of the covariances over 4 d^2, of (batch, d) each (Sun & Saenko, ECCV workshops 2016)."""
    difference = source.T.cov() - target.T.cov()
    return difference.square().sum() / (4 * source.shape[1] ** 2)


def squared_distances(points: Tensor) -> Tensor:
    """Between all pairs, (n, n), of points (n, d)."""
    norms = points.square().sum(1)
    return (norms[:, None] + norms - 2 * points @ points.T).clamp_min(0)


def gaussian_kernels(points: Tensor) -> Tensor:
    """The sum of five Gaussian kernels between all pairs, (n, n), of points (n, d).

    Their variances are 2^-3 ... 2^1 times the mean squared distance of two different points, held constant
    for the gradient (Long et al., ICML 2015).
    """
    squared = squared_distances(points)
    count = len(points)
    mean = squared.detach().sum().clamp_min(1e-12) / (count * (count - 1))
    return torch.stack([(-squared / (2 * mean * 2.0**k)).exp() for k in range(-3, 2)]).sum(0)


def mmd(kernel: Tensor) -> Tensor:
    """Squared maximum mean discrepancy from a kernel between all pairs, half of the points from each domain."""
    half = len(kernel) // 2
    return kernel[:half, :half].mean() + kernel[half:, half:].mean() - 2 * kernel[:half, half:].mean()


def strong(images: Tensor) -> Tensor:
    """A strong view of each image in [0, 1]: turned, sheared, scaled and shifted, lit otherwise, a square cut out.

    Each image by its own chance from torch's global random state, on the device: the operations of RandAugment and
    Cutout (Cubuk et al., 2020; DeVries & Taylor, 2017) that keep a digit's and an object's class, without flips.
    Features, (batch, feature_dim), get noise of a tenth of their spread and a tenth of their entries put to zero.
    """
    count, device = len(images), images.device

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(count, device=device).uniform_(low, high)

    if images.ndim == 2:
        noisy = images + 0.1 * images.std() * torch.randn_like(images)
        return noisy * torch.empty_like(images).bernoulli_(0.9)
    angle, shear, scale = uniform(-0.35, 0.35), uniform(-0.2, 0.2), uniform(0.85, 1.15)
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    rows = [cosine, shear - sine, uniform(-0.15, 0.15), sine, cosine, uniform(-0.15, 0.15)]
    grid = affine_grid(torch.stack(rows, 1).view(count, 2, 3), list(images.shape), align_corners=False)
    moved = grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    grey = moved.mean((1, 2, 3), keepdim=True)
    contrast, light = uniform(0.6, 1.4).view(-1, 1, 1, 1), uniform(-0.15, 0.15).view(-1, 1, 1, 1)
    lit = (grey + contrast * (moved - grey) + light).clamp(0, 1)
    height, width = images.shape[2:]
    from_row = (torch.arange(height, device=device) - uniform(0, height)[:, None]).abs() < height / 8
    from_column = (torch.arange(width, device=device) - uniform(0, width)[:, None]).abs() < width / 8
    cut = (from_row[:, None, :, None] & from_column[:, None, None, :]).to(lit)
    return (lit * (1 - cut) + 0.5 * cut).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def predict_target(model: Classifier, target_data: Any) -> tuple[Tensor, Tensor]:
    """Features (n, feature_dim) and softmax predictions (n, classes) of all target images, in order and in eval mode.

    Leaves the model in training mode: where that is forgotten, the batch norms stand still for the rest of the run.
    """
    model.eval()
    features = torch.cat([model.features(images) for images in target_data.target_images()])
    predictions = model.head(features).softmax(1)
    model.train()
    return features, predictions


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Moves the teacher's weights to their exponential moving average over the student's; buffers are copied."""
    for mine, theirs in zip(teacher.parameters(), student.parameters(), strict=True):
        mine.lerp_(theirs, 1 - momentum)
    for kept, current in zip(teacher.buffers(), student.buffers(), strict=True):
        kept.copy_(current)
