"""Whether five seeds of one small network train sooner as one batched computation: LeNet, DANN, by torch.func.

Run it as a script: `python tests/bench_seeds.py`. It prints how many times as long as one seed's step a step of all
takes, one after the other and batched, taken in turn.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from bench_speed import Setting
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.functional import cross_entropy

from dabench.nn import DomainCritic, domain_loss

SIZE, LR, MOMENTUM = 64, 0.01, 0.9


class Adversarial(nn.Module):
    """DANN's loss as one module, so that its weights are one mapping."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.model = setting.model()
        self.critic = DomainCritic(self.model.feature_dim, 500)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        source, target = self.model.features(images).chunk(2)
        # The gradient reversed as torch.func can differentiate it, which knows no autograd function of the old kind.
        critical = (self.critic(1.5 * each.detach() - 0.5 * each) for each in (source, target))
        domain = domain_loss(*critical)
        return cross_entropy(self.model.head(source), labels) + domain


def one_by_one(setting: Setting, images: Tensor, labels: Tensor) -> Callable[[], None]:
    """A step of each seed, one after the other, as a loop writes it."""
    networks = [Adversarial(setting) for _ in images]
    optimizers = [torch.optim.SGD(each.parameters(), lr=LR, momentum=MOMENTUM) for each in networks]

    def step() -> None:
        for network, optimizer, batch, truth in zip(networks, optimizers, images, labels, strict=True):
            optimizer.zero_grad(set_to_none=True)
            network(batch, truth).backward()
            optimizer.step()

    return step


def batched(setting: Setting, images: Tensor, labels: Tensor) -> Callable[[], None]:
    """A step of all seeds as one computation."""
    networks = [Adversarial(setting) for _ in images]
    weights, buffers = stack_module_state(networks)
    weights = {name: weight.detach() for name, weight in weights.items()}
    skeleton = copy.deepcopy(networks[0])
    velocity = {name: torch.zeros_like(weight) for name, weight in weights.items()}

    def loss(own: dict[str, Tensor], held: dict[str, Tensor], batch: Tensor, truth: Tensor) -> Tensor:
        return functional_call(skeleton, (own, held), (batch, truth))

    slopes = vmap(grad(loss))

    def step() -> None:
        for name, slope in slopes(weights, buffers, images, labels).items():
            velocity[name].mul_(MOMENTUM).add_(slope)
            weights[name].sub_(velocity[name], alpha=LR)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    setting = Setting("lenet", (1, 28, 28), SIZE, torch.device("cpu"))
    torch.manual_seed(0)
    images = torch.rand(chosen.seeds, 2 * SIZE, 1, 28, 28)
    labels = torch.randint(0, 10, (chosen.seeds, SIZE))
    ways = {
        "one seed": one_by_one(setting, images[:1], labels[:1]),
        "one after the other": one_by_one(setting, images, labels),
        "batched": batched(setting, images, labels),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(chosen.rounds):
        for name, step in ways.items():
            step()
            started = time.perf_counter()
            for _ in range(10):
                step()
            seconds[name].append(time.perf_counter() - started)
    for name, each in seconds.items():
        ratio = statistics.median(own / one for own, one in zip(each, seconds["one seed"], strict=True))
        print(f"{chosen.seeds} seeds, {name:20} {ratio:.2f} times one seed's step")


if __name__ == "__main__":
    main()
