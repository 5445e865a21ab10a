"""What an accelerator has to show, in under ten minutes: `python tests/gpu.py` on any machine that has one.

It needs no pytest and no data set. Every method runs a tiny budget through the command line's own path, a process of
its own included; the same cells on the CPU say whether the numbers agree; a few cells at once say how full one card
can be packed; and the speed of the training loop stands beside a bare one's.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench_speed
import torch

from dabench import registry
from dabench.results import store
from dabench.run import devices, plan, sweep
from dabench.run.plan import Environment, Request, State
from dabench.run.sweep import Finished


def compute(folder: Path, device: str, methods: str, workers: int, budget: float, seeds: int) -> list[Finished]:
    """How each cell of shapes-power ended."""
    request = Request(
        tasks=registry.tasks("shapes-power"),
        methods=registry.methods(methods),
        seeds=tuple(range(seeds)),
        budget=budget,
    )
    place = Environment(device, 1, folder / "data", folder / "cache")
    planned = plan.plan(request, place.data, place.cache, folder / "results", force=True)
    cells = [each for each in planned if each.state is State.RUN]
    return sweep.run(cells, place, folder / "results", workers=workers, listen=lambda said: None, cell_timeout=120)


def every_method(folder: Path, device: str, workers: int) -> bool:
    """Each method on the accelerator, by a fiftieth of its steps; prints what failed and says whether nothing did."""
    started = time.perf_counter()
    ended = compute(folder / "all", device, "all", workers, 0.02, 1)
    failed = [each for each in ended if each.row is None or each.row["status"] == "failed"]
    print(f"{len(ended)} methods on {device}, {workers} at once: {len(failed)} failed, {seconds_since(started)}")
    for each in failed:
        print(f"  {each.planned.label}: {each.reason}\n{each.trace}")
    return not failed


def beside_the_cpu(folder: Path, device: str) -> None:
    """Accuracy of a few methods on both devices, full budget: close, not the same, as chance differs there."""
    names = "source_only,adabn,dann,shot,tent,finetune_all"
    for where in (device, "cpu"):
        compute(folder / where.partition(":")[0], where, names, 6, 1.0, 1)
    rows = {
        where: store.frame(folder / where.partition(":")[0] / "results", ["method", "accuracy"]).set_index("method")
        for where in (device, "cpu")
    }
    for method, row in rows[device].iterrows():
        print(f"  {method:14} {device} {100 * row.accuracy:5.1f} %   cpu {100 * rows['cpu'].accuracy[method]:5.1f} %")


def packed(folder: Path, device: str) -> None:
    """Cells a minute with one, four and twelve of them on the card at once, and how busy the card was."""
    for workers in (1, 4, 12):
        watch = subprocess.Popen(
            ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "-l", "1"],
            stdout=subprocess.PIPE,
            text=True,
        )
        started = time.perf_counter()
        ended = compute(folder / f"packed{workers}", device, "dann", workers, 0.25, max(2, workers))
        minutes = (time.perf_counter() - started) / 60
        watch.terminate()
        seen = [line.split(",") for line in watch.communicate()[0].splitlines()]
        busy, memory = (max(float(each[column]) for each in seen) for column in (0, 1))
        rate = len(ended) / minutes
        print(f"  {workers:2} at once: {rate:6.1f} cells a minute; at most {busy:.0f} % busy, {memory:.0f} MiB")


def seconds_since(started: float) -> str:
    return f"{time.perf_counter() - started:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=8)
    chosen = parser.parse_args()
    device = devices.resolve(chosen.device)
    print(f"{devices.device_name(device)}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        sound = every_method(Path(folder), device, chosen.workers)
        beside_the_cpu(Path(folder), device)
        if device.startswith("cuda"):
            packed(Path(folder), device)
    for setting, steps in (
        (bench_speed.Setting("lenet", (1, 28, 28), 64, torch.device(device)), 200),
        (bench_speed.Setting("resnet18", (3, 112, 112), 32, torch.device(device)), 50),
    ):
        print(f"{setting.backbone}, {setting.shape}, batch {setting.batch_size} + {setting.batch_size}")
        bench_speed.compare(setting, steps, 3, bench_speed.DANN)
    sys.exit(not sound)


if __name__ == "__main__":
    main()
