"""Steps a second of DANN: inside the harness, in a bare loop, and in other libraries' own training loops.

Run it as a script: `python tests/bench_speed.py`, on an accelerator with `--device cuda`. It prints ratios taken in one
run, the contenders in turn, so that they hold where the machine's speed drifts. skada and pytorch-adapt take part where
they are installed.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dabench import models, registry
from dabench.core import Domain, Recipe
from dabench.nn import DomainCritic, domain_loss, reverse_gradient
from dabench.run import devices
from dabench.run.images import Pictures
from dabench.run.target_data import Granted, TargetData

Contender = Callable[[int], None]  # trains for so many steps


class Setting:
    """One network and batch size on random pictures; the work is the same for every contender."""

    def __init__(self, backbone: str, shape: tuple[int, int, int], batch_size: int, device: torch.device) -> None:
        chance = np.random.default_rng(0)
        self.backbone, self.shape, self.batch_size, self.device = backbone, shape, batch_size, device
        self.pictures = chance.integers(0, 256, (64 * batch_size // 8, *shape), dtype=np.uint8)
        self.labels = chance.integers(0, 10, len(self.pictures))

    def model(self, precision: torch.dtype | None = None) -> nn.Module:
        torch.manual_seed(0)
        model = models.build(self.backbone, 10, self.shape, device=self.device)
        model.precision = precision or model.precision
        return model

    def domain(self) -> Domain:
        return Domain(self.pictures, self.labels)

    def floats(self) -> Tensor:
        """What a library without a device-side gather is given: the pictures as float32 in [0, 1]."""
        return torch.from_numpy(self.pictures).float() / 255


def harness(setting: Setting) -> Contender:
    method = registry.methods("dann")[0].load()
    source = Pictures.of(setting.domain(), setting.device, labelled=True)
    target = Pictures.of(setting.domain(), setting.device, labelled=False)
    model = setting.model()

    def train(steps: int) -> None:
        data = TargetData(
            method.declaration,
            Recipe(steps=steps, batch_size=setting.batch_size),
            Granted(source=source, target=target),
            num_classes=10,
            seed=0,
            device=setting.device,
        )
        method.adapt(model, data)

    return train


def bare(setting: Setting) -> Contender:
    """The same step with nothing around it: the pictures on the device, a permutation, three lines of loss."""
    model, critic = setting.model(), DomainCritic(setting.model().feature_dim, 500).to(setting.device)
    pictures = torch.from_numpy(setting.pictures).to(setting.device)
    labels = torch.from_numpy(setting.labels).to(setting.device)
    optimizer = torch.optim.SGD([*model.parameters(), *critic.parameters()], lr=0.01, momentum=0.9)

    def batches() -> Iterator[Tensor]:
        while True:
            yield from torch.randperm(len(pictures)).split(setting.batch_size)

    def train(steps: int) -> None:
        for one, other in islice(zip(batches(), batches(), strict=True), steps):
            images = pictures[torch.cat([one, other])].to(torch.float32, memory_format=torch.channels_last) / 255
            source, target = model.features(images).chunk(2)
            prediction = cross_entropy(model.head(source), labels[one])
            domain = domain_loss(critic(reverse_gradient(source, 0.5)), critic(reverse_gradient(target, 0.5)))
            optimizer.zero_grad(set_to_none=True)
            (prediction + domain).backward()
            optimizer.step()

    return train


def skada(setting: Setting) -> Contender:
    """skada's own loop (skorch's trainer and its domain-balanced loader) over the same network in float32."""
    from skada.deep import DANN
    from skada.deep.modules import DomainClassifier

    size = setting.batch_size
    network = setting.model(torch.float32)
    module = nn.Sequential()
    module.add_module("backbone", _Features(network))
    module.add_module("head", network.head)
    critic = DomainClassifier(num_features=network.feature_dim)
    images = torch.cat([setting.floats(), setting.floats()]).numpy()
    labels = np.concatenate([setting.labels, np.full(len(setting.labels), -1)])
    domains = np.repeat([1, -2], len(setting.labels))

    def train(steps: int) -> None:
        trainer = DANN(
            module,
            reg=1,
            layer_name="backbone",
            domain_classifier=critic,
            num_features=network.feature_dim,
            batch_size=size,
            max_epochs=max(1, steps * size // len(setting.labels)),
            train_split=None,
            verbose=0,
            lr=0.01,
            optimizer=torch.optim.SGD,
            device=str(setting.device),
        )
        trainer.fit(images, labels, sample_domain=domains)

    return train


def pytorch_adapt(setting: Setting) -> Contender:
    """pytorch-adapt's own hook and its combined data set behind a DataLoader, in float32."""
    from pytorch_adapt.datasets import CombinedSourceAndTargetDataset, SourceDataset, TargetDataset
    from pytorch_adapt.hooks import DANNHook
    from torch.utils.data import DataLoader, TensorDataset

    network = setting.model(torch.float32)
    nets = {"G": _Features(network), "C": network.head, "D": DomainCritic(network.feature_dim, 500).to(setting.device)}
    hook = DANNHook([torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9) for net in nets.values()])
    pairs = TensorDataset(setting.floats(), torch.from_numpy(setting.labels))
    both = CombinedSourceAndTargetDataset(SourceDataset(pairs), TargetDataset(pairs, supervised=False))
    loader = DataLoader(both, batch_size=setting.batch_size, shuffle=True, drop_last=True)

    def train(steps: int) -> None:
        done = 0
        while done < steps:
            for batch in loader:
                hook({**nets, **{name: each.to(setting.device) for name, each in batch.items()}})
                done += 1
                if done == steps:
                    return

    return train


class _Features(nn.Module):
    """The same backbone as these libraries' users have it: plain layers, contiguous, float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.contiguous_format)

    def forward(self, images: Tensor) -> Tensor:
        normalised = (images - self.network.mean) / self.network.std
        return self.network.backbone(normalised).flatten(1)


def compare(setting: Setting, steps: int, rounds: int) -> None:
    """Prints the median over the rounds of each contender's seconds a step over the harness's."""
    contenders: dict[str, Contender] = {}
    for make in (harness, bare, skada, pytorch_adapt):
        try:
            contenders[make.__name__] = make(setting)
            contenders[make.__name__](8)
        except ImportError as error:
            contenders.pop(make.__name__, None)
            print(f"  {make.__name__}: not installed ({error.name})")
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, train in contenders.items():
            started = time.perf_counter()
            train(steps)
            devices.synchronise(setting.device)
            seconds[name].append((time.perf_counter() - started) / steps)
    for name, each in seconds.items():
        ratios = [other / own for other, own in zip(each, seconds["harness"], strict=True)]
        rate = 1 / statistics.median(each)
        print(f"  {name:14} {rate:7.1f} steps/s   harness is {statistics.median(ratios):.2f} times as fast")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    warnings.simplefilter("ignore")
    device = torch.device(devices.resolve(chosen.device))
    for setting, steps in (
        (Setting("lenet", (1, 28, 28), 64, device), 64),
        (Setting("resnet18", (3, 112, 112), 32, device), 8),
    ):
        print(f"{setting.backbone}, {setting.shape}, batch {setting.batch_size} + {setting.batch_size}")
        compare(setting, steps, chosen.rounds)


if __name__ == "__main__":
    main()
