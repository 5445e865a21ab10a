"""What memory a target set takes that is larger than memory: its images are drawn from the file in which they lie.

Run it as a script: `python tests/bench_memory.py 100000 1000000`. The files have holes in the place of images, so that
150 GB take no disk. Each prints what the process itself holds at most; pages of the file stand beside, which the
system takes back when it needs them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from dabench.core import Recipe
from dabench.run.images import Draws, Pictures
from dabench.run.sharing import Shared

SHAPE, BATCH = (3, 224, 224), 32


def held() -> dict[str, int]:
    """MiB of this process: its own, and of files that it has mapped."""
    status = Path("/proc/self/status").read_text()
    return {name: int(re.search(rf"{name}:\s+(\d+)", status)[1]) // 1024 for name in ("RssAnon", "RssFile")}


def draw(connection: multiprocessing.connection.Connection, steps: int) -> None:
    """What a method's process does with the images that it is sent: so many shuffled batches."""
    images = torch.from_numpy(connection.recv().array)
    device = torch.device("cpu")
    before = held()["RssAnon"]
    draws = Draws(Pictures(images, None, device), Recipe(steps=1, flip=True), 0, device)
    most, started = held(), time.perf_counter()
    for _ in range(steps):
        draws.next("target", BATCH)
        now = held()
        most = {name: max(most[name], now[name]) for name in most}
    rate = steps / (time.perf_counter() - started)
    print(
        f"{len(images):,} images, {images.nbytes / 1e9:.0f} GB: {most['RssAnon'] - before} MiB more than before, "
        f"{most['RssFile']} MiB of files mapped, {rate:.1f} batches of {BATCH} a second"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--steps", type=int, default=100)
    given = parser.parse_args()
    for count in given.images:
        with tempfile.TemporaryDirectory(prefix="dabench-memory-") as folder:
            file = Path(folder) / "images.npy"
            images = np.lib.format.open_memmap(file, "w+", np.uint8, (count, *SHAPE))
            images.flush()
            del images
            here, there = multiprocessing.Pipe()
            process = multiprocessing.get_context("spawn").Process(target=draw, args=(there, given.steps))
            process.start()
            here.send(Shared(np.load(file, mmap_mode="r")))
            process.join()
            if process.exitcode:
                raise SystemExit(f"drawing from {count:,} images ended with exit code {process.exitcode}")


if __name__ == "__main__":
    main()
