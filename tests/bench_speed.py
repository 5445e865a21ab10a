"""Steps a second of DANN and of TENT: inside the harness, in a bare loop, and in other people's own loops.

Run it as a script: `python tests/bench_speed.py`, on an accelerator with `--device cuda`. It prints ratios taken in one
run, the contenders in turn, so that they hold where the machine's speed drifts. skada and pytorch-adapt take part where
they are installed; TLlib's `dann.py` and the official TENT where `--tllib` and `--tent` name a checkout of each
(thuml/Transfer-Learning-Library and DequanWang/tent), whose files run as they are.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import io
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dabench import models, registry
from dabench.core import Domain, Recipe
from dabench.nn import DomainCritic, domain_loss, reverse_gradient
from dabench.run import devices
from dabench.run.images import Pictures, predict
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


def tllib(setting: Setting, checkout: Path) -> Contender:
    """The function `train` of TLlib's dann.py, on its own iterators, critic and loss, over the same network in float32.

    Its other lines import what today's torch and torchvision no longer have.
    """
    package = ModuleType("tllib")  # whose own file would import every module there is
    package.__path__ = [str(checkout / "tllib")]
    sys.modules["tllib"] = package
    np.float = float  # which its gradient reversal asks numpy for
    from tllib.alignment.dann import DomainAdversarialLoss
    from tllib.modules.classifier import Classifier
    from tllib.modules.domain_discriminator import DomainDiscriminator
    from tllib.utils.data import ForeverDataIterator
    from tllib.utils.meter import AverageMeter, ProgressMeter
    from tllib.utils.metric import accuracy
    from torch.utils.data import DataLoader, TensorDataset

    loop = {
        **{"torch": torch, "time": time, "F": nn.functional, "SGD": torch.optim.SGD, "argparse": argparse},
        **{"LambdaLR": torch.optim.lr_scheduler.LambdaLR, "AverageMeter": AverageMeter, "ProgressMeter": ProgressMeter},
        **{"accuracy": accuracy, "ForeverDataIterator": ForeverDataIterator, "ImageClassifier": Classifier},
        **{"DomainAdversarialLoss": DomainAdversarialLoss, "device": setting.device},
    }
    file = checkout / "examples" / "domain_adaptation" / "image_classification" / "dann.py"
    (train_loop,) = (node for node in ast.parse(file.read_text()).body if getattr(node, "name", "") == "train")
    exec(compile(ast.Module([train_loop], []), file, "exec"), loop)

    network = setting.model(torch.float32)
    backbone = _Features(network)
    backbone.out_features = network.feature_dim
    classifier = Classifier(backbone, 10, head=network.head, pool_layer=nn.Identity()).to(setting.device)
    critic = DomainDiscriminator(network.feature_dim, hidden_size=500).to(setting.device)
    optimizer = torch.optim.SGD(
        classifier.get_parameters() + critic.get_parameters(), 0.01, momentum=0.9, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 + 0.001 * step) ** -0.75)
    adversary = DomainAdversarialLoss(critic).to(setting.device)
    pairs = TensorDataset(setting.floats(), torch.from_numpy(setting.labels))
    batches = partial(DataLoader, pairs, batch_size=setting.batch_size, shuffle=True, drop_last=True)
    source, target = ForeverDataIterator(batches()), ForeverDataIterator(batches())

    def train(steps: int) -> None:
        asked = argparse.Namespace(iters_per_epoch=steps, print_freq=steps, trade_off=1.0)
        with redirect_stdout(io.StringIO()):
            loop["train"](source, target, classifier, adversary, optimizer, schedule, 0, asked)

    return train


# ----------------------------------------------------------------------------------------- test-time adaptation


def harness_tent(setting: Setting) -> Contender:
    """The method `tent` as the harness answers a stream of batches by it."""
    method = registry.methods("tent")[0].load()
    model = method.adapt(setting.model(torch.float32), None)
    pictures = Pictures.of(setting.domain(), setting.device, labelled=False)

    def answer(steps: int) -> None:
        predict(model, replace(pictures, images=pictures.images[: steps * setting.batch_size]), setting.batch_size)

    return answer


def official_tent(setting: Setting, checkout: Path) -> Contender:
    """tent.py as it was published, over the same network in float32 and a DataLoader."""
    from torch.utils.data import DataLoader, TensorDataset

    spec = importlib.util.spec_from_file_location("official_tent", checkout / "tent.py")
    official = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(official)
    network = setting.model(torch.float32)
    model = official.configure_model(nn.Sequential(_Features(network), network.head))
    optimizer = torch.optim.Adam(official.collect_params(model)[0], lr=1e-3)
    official.check_model(model)
    adapted = official.Tent(model, optimizer)
    loader = DataLoader(TensorDataset(setting.floats()), batch_size=setting.batch_size)

    def answer(steps: int) -> None:
        for (images,) in islice(loader, steps):
            adapted(images.to(setting.device))

    return answer


class _Features(nn.Module):
    """The same backbone as these libraries' users have it: plain layers, contiguous, float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.backbone = network.backbone.to(memory_format=torch.contiguous_format)
        self.mean, self.std = network.mean, network.std

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone((images - self.mean) / self.std).flatten(1)


def compare(setting: Setting, steps: int, rounds: int, makers: Mapping[str, Callable[[Setting], Contender]]) -> None:
    """Prints the median over the rounds of each contender's seconds a step over the harness's."""
    contenders: dict[str, Contender] = {}
    for name, make in makers.items():
        try:
            contenders[name] = make(setting)
            contenders[name](8)
        except ImportError as error:
            contenders.pop(name, None)
            print(f"  {name}: cannot be imported ({error})")
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


DANN = {"harness": harness, "bare": bare, "skada": skada, "pytorch_adapt": pytorch_adapt}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tllib", type=Path, help="checkout of thuml/Transfer-Learning-Library")
    parser.add_argument("--tent", type=Path, help="checkout of DequanWang/tent")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    warnings.simplefilter("ignore")
    device = torch.device(devices.resolve(chosen.device))
    training = DANN | ({"tllib": partial(tllib, checkout=chosen.tllib)} if chosen.tllib else {})
    answering = {"harness": harness_tent}
    answering |= {"official": partial(official_tent, checkout=chosen.tent)} if chosen.tent else {}
    for name, option in (("TLlib's dann.py", "tllib"), ("the official TENT", "tent")):
        if getattr(chosen, option) is None:
            print(f"{name} takes no part: name its checkout with --{option}")
    for setting, steps in (
        (Setting("lenet", (1, 28, 28), 64, device), 64),
        (Setting("resnet18", (3, 112, 112), 32, device), 8),
    ):
        print(f"DANN, {setting.backbone}, {setting.shape}, batch {setting.batch_size} + {setting.batch_size}")
        compare(setting, steps, chosen.rounds, training)
    for setting in (Setting("lenet_bn", (1, 28, 28), 64, device), Setting("resnet18", (3, 112, 112), 32, device)):
        print(f"TENT, {setting.backbone}, {setting.shape}, batch {setting.batch_size}")
        compare(setting, 8, chosen.rounds, answering)


if __name__ == "__main__":
    main()
