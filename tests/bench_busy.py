"""What a busy core costs: steps a second of LeNet's DANN alone and beside a process that never rests.

Run it as a script: `python tests/bench_busy.py`. Each way of sharing two cores runs in processes of its own, alone and
beside the busy process in turn, so that other work on the machine slows both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field

SECONDS = 4.0
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}


@dataclass(frozen=True)
class Way:
    """So many processes of so many threads, and the environment in which they wait for each other."""

    name: str
    processes: int
    threads: int
    environment: dict[str, str] = field(default_factory=dict)

    def rate(self) -> float:
        """Steps a second of all processes together."""
        command = [sys.executable, "-W", "ignore", __file__, "--train", str(self.threads)]
        environment = {**os.environ, **self.environment}
        begun = [
            subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(self.processes)
        ]
        for each in begun:
            assert each.stdout is not None
            each.stdout.readline()  # all are ready before one trains
        for each in begun:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        return sum(float(each.communicate()[0]) for each in begun)


WAYS = [
    Way("one process of one thread", 1, 1),
    Way("two processes of one thread (what --workers takes)", 2, 1),
    Way("one process of two threads", 1, 2),
    Way("one process of two threads that wait passively", 1, 2, PASSIVE),
]


def train(threads: int) -> None:
    """Says when it is ready, waits for its start, trains for `SECONDS` and prints its steps a second."""
    import torch
    from bench_speed import Setting, harness

    torch.set_num_threads(threads)
    contender = harness(Setting("lenet", (1, 28, 28), 64, torch.device("cpu")))
    contender(8)
    print("ready", flush=True)
    sys.stdin.readline()
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        contender(8)
        steps += 8
    print(steps / (time.perf_counter() - started))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--train", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.train:
        train(chosen.train)
        return
    rates: dict[str, list[tuple[float, float]]] = {way.name: [] for way in WAYS}
    for _ in range(chosen.rounds):
        for way in WAYS:
            alone = way.rate()
            busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            try:
                rates[way.name].append((alone, way.rate()))
            finally:
                busy.kill()
                busy.wait()
    for name, each in rates.items():
        alone, beside = (statistics.median(column) for column in zip(*each, strict=True))
        kept = statistics.median(second / first for first, second in each)
        print(f"{name:52} {alone:6.1f} steps/s alone, {beside:6.1f} beside a busy process: {kept:.2f}")


if __name__ == "__main__":
    main()
