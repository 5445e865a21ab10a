"""RoTTA: a student learns from a small, balanced, fresh memory of the stream, where a slow teacher labels it.

Longhui Yuan, Binhui Xie, Shuang Li: Robust Test-Time Adaptation in Dynamic Scenarios, CVPR 2023, arXiv:2303.13899.

    every `memory` images:  min over every gamma, beta of  mean over the memory of  w CE(p'(x), p(strong(x)))
    w = exp(-a) / (1 + exp(-a)), a the age over the capacity     teacher <- (1 - nu) teacher + nu student
    batch norm:  mu <- (1 - alpha) mu + alpha mu_batch, and sigma^2 likewise, whenever the memory passes; fixed else

No class holds more than its equal share of the memory; where there is no room, what is oldest and least sure goes
first, by 1 / (1 + exp(-a)) + H / ln C. The teacher answers; each batch is answered before it is learned from, so
batches of any size do. Layer and group norms are adapted likewise. Departs from the authors' code in the view:
`dabench.nn.strong`, without flips.
"""

from collections import Counter
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from math import exp, log

import torch
from torch import nn

from dabench.core import Needs, NotApplicable, Reach, between, register
from dabench.nn import entropy, freeze, strong


@register(needs=Needs.TEST_STREAM, paper="Yuan et al., CVPR 2023", reach=Reach.BACKBONE)
@dataclass(frozen=True, kw_only=True)
class RoTTA:
    lr: float = between(1e-3, 1e-6, 1.0, log=True)
    nu: float = between(0.001, 0.0, 1.0)
    alpha: float = between(0.05, 0.0, 1.0)
    memory: int = between(64, 1, 10_000, log=True)

    def adapt(self, model, target_data):
        freeze(model)
        for name, module in list(model.named_modules()):
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                parent, _, child = name.rpartition(".")
                setattr(model.get_submodule(parent), child, RobustNorm(module, self.alpha))
            if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.LayerNorm | nn.GroupNorm):
                module.requires_grad_(True)
        if not any(weight.requires_grad for weight in model.parameters()):
            raise NotApplicable("the backbone has no norm to adapt; choose one that has (--backbone lenet_bn)")
        return Stream(model, target_data.num_classes, self)


class Stream(nn.Module):
    """A teacher that answers, a memory of what it answered, and a student that learns from it."""

    def __init__(self, model, num_classes, settings):
        super().__init__()
        self.student, self.teacher, self.settings = model, deepcopy(model), settings
        self.affine, self.slow = (
            [weight for weight in network.parameters() if weight.requires_grad] for network in (model, self.teacher)
        )
        self.optimizer = torch.optim.Adam(self.affine, lr=settings.lr)
        self.memory = Memory(settings.memory, num_classes)
        self.seen = 0

    @torch.no_grad()
    def forward(self, images):
        answers = self.teacher(images)
        for image, label, sure in zip(images, answers.argmax(1).tolist(), entropy(answers).tolist(), strict=True):
            self.memory.add(image, label, sure)
            self.seen += 1
            if self.seen % self.settings.memory == 0:
                self.learn()
        return answers

    @torch.enable_grad()
    def learn(self):
        """One step of the student on the memory, and a little of it into the teacher."""
        images, ages = self.memory.held()
        with torch.no_grad(), remembering(self.teacher):
            expected = self.teacher(images).softmax(1)
        with remembering(self.student):
            losses = -(expected * self.student(strong(images)).log_softmax(1)).sum(1)
        self.optimizer.zero_grad(set_to_none=True)
        (torch.sigmoid(-ages) * losses).mean().backward()
        self.optimizer.step()
        with torch.no_grad():
            for slow, weight in zip(self.slow, self.affine, strict=True):
                slow.lerp_(weight, self.settings.nu)


class RobustNorm(nn.Module):
    """A batch norm whose statistics move a little towards each batch it is told to remember, and are fixed else."""

    def __init__(self, norm, alpha):
        super().__init__()
        self.norm, self.alpha, self.remembers = norm, alpha, False
        self.register_buffer("mean", norm.running_mean.clone())
        self.register_buffer("variance", norm.running_var.clone())

    def forward(self, values):
        norm = self.norm
        if not self.remembers:
            norm.running_mean, norm.running_var = self.mean, self.variance
            return norm(values)
        spread, centre = torch.var_mean(values.float(), [0, *range(2, values.ndim)], correction=0)
        mean, variance = self.mean.lerp(centre, self.alpha), self.variance.lerp(spread, self.alpha)
        self.mean, self.variance = mean.detach(), variance.detach()
        shape = [1, -1] + [1] * (values.ndim - 2)
        # What is normalised here, with a gradient through the batch's part, the norm itself leaves as it is.
        norm.running_mean, norm.running_var = torch.zeros_like(self.mean), torch.full_like(self.variance, 1 - norm.eps)
        return norm((values - mean.view(shape)) * (variance + norm.eps).rsqrt().view(shape))


@contextmanager
def remembering(model):
    """Inside, every robust norm remembers what passes."""
    norms = [module for module in model.modules() if isinstance(module, RobustNorm)]
    for norm in norms:
        norm.remembers = True
    yield
    for norm in norms:
        norm.remembers = False


class Memory:
    """At most `capacity` images, shared out equally among the classes they seem to be of."""

    def __init__(self, capacity, num_classes):
        self.capacity, self.num_classes = capacity, num_classes
        self.items = []

    def add(self, image, label, uncertainty):
        """Takes the image in if there is room, or one that is worth less makes room; all grow older."""
        counts = Counter(item.label for item in self.items)
        crowded = {label} if counts[label] >= self.capacity / self.num_classes else set()
        if not crowded and len(self.items) >= self.capacity:
            crowded = {one for one, count in counts.items() if count == max(counts.values())}
        new = Item(image, label, uncertainty)
        worst = max((item for item in self.items if item.label in crowded), key=self.staleness, default=None)
        if worst is not None and self.staleness(worst) > self.staleness(new):
            self.items.remove(worst)
            worst = None
        if worst is None:
            self.items.append(new)
        for item in self.items:
            item.age += 1

    def staleness(self, item):
        """How much a place in the memory is wasted on it."""
        return 1 / (1 + exp(-item.age / self.capacity)) + item.uncertainty / log(self.num_classes)

    def held(self):
        """The images, and their ages over the capacity."""
        images = torch.stack([item.image for item in self.items])
        return images, torch.tensor([item.age / self.capacity for item in self.items], device=images.device)


@dataclass(eq=False)
class Item:
    """An image of the memory."""

    image: torch.Tensor
    label: int
    uncertainty: float
    age: int = 0
