"""What `dabench report` costs by the number of rows: processor time and memory of the whole command, in a process.

Run it as a script: `python tests/bench_report.py 1000 100000`. It writes rows drawn at random, each with ten
checkpoints and eight scores of each, reports them, and prints a line of JSON for each number. With `--figure
docs/report-cost.svg` it draws how the cost grows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from dabench.files import write_whole
from dabench.report import figure
from dabench.results import store
from dabench.results.row import DEFAULTS, SCHEMA

METHODS = ["source_only", "target_supervised", *(f"method{index}" for index in range(23))]
SETTINGS = ["unsupervised", "source-free", "test-time", "supervised"]
CHECKPOINTS, SCORES = 10, 8


def fill(results: Path, rows: int) -> None:
    """Writes that many rows: 25 methods, as many as 100 seeds, and the tasks that this takes."""
    chance = np.random.default_rng(0)
    seeds = min(100, max(2, rows // (4 * len(METHODS))))
    for task in range(rows // (seeds * len(METHODS))):
        for at, method in enumerate(METHODS):
            setting = {0: "source-only", 1: "upper-bound reference"}.get(at, SETTINGS[at % 4])
            path = store.path_of(results, f"t{task}", method)
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(_entry(f"t{task}", method, setting, seeds, chance), path, use_dictionary=False)


def _entry(task: str, method: str, setting: str, seeds: int, chance: np.random.Generator) -> pa.Table:
    """One method's rows on one task."""
    same = {
        **DEFAULTS,
        **{"task": task, "family": f"family{int(task[1:]) // 10}", "method": method, "variant": method},
        **{"setting": setting, "protocol": "full", "backbone": "lenet", "image_size": 28, "status": "ok"},
        **{"accuracy_before": 0.75, "seconds": 12.0, "ms_per_image": 0.25, "n_test": 2007},
        "created": "2026-01-01T00:00:00Z",
    }
    columns = {name: pa.repeat(pa.scalar(value, SCHEMA.field(name).type), seeds) for name, value in same.items()}
    columns["key"] = pa.array([f"{task} {method} {seed}" for seed in range(seeds)])
    columns["seed"] = pa.array(range(seeds), pa.int64())
    columns["accuracy"] = pa.array(0.7 + 0.2 * chance.random() + chance.normal(scale=0.003, size=seeds))
    columns["per_class"] = _lists(np.tile([0.9, 0.8], seeds), 2)
    columns["checkpoint_accuracy"] = _lists(chance.random(seeds * CHECKPOINTS), CHECKPOINTS)
    names = pa.array([f"score{index}" for index in range(SCORES)] * seeds)
    scores = _lists(chance.random(seeds * SCORES * CHECKPOINTS), CHECKPOINTS)
    columns["checkpoint_scores"] = pa.MapArray.from_arrays(range(0, SCORES * seeds + 1, SCORES), names, scores)
    return pa.table({each.name: columns.get(each.name, pa.nulls(seeds, each.type)) for each in SCHEMA}, schema=SCHEMA)


def _lists(values: np.ndarray, length: int) -> pa.ListArray:
    return pa.ListArray.from_arrays(np.arange(0, len(values) + 1, length, dtype=np.int32), pa.array(values))


def cost(rows: int) -> dict[str, float]:
    """Processor seconds and MiB at their highest of `dabench report` on that many rows, and the size of what it reads.

    The rows are read from disk once before, so that the disk does not count.
    """
    with tempfile.TemporaryDirectory(prefix="dabench-rows-") as folder:
        results = Path(folder) / "results"
        fill(results, rows)
        stored = sum(len(file.read_bytes()) for file in results.glob("*/*.parquet"))
        command = [sys.executable, "-m", "dabench", "report", "--results", "results", "--output", "all.md"]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}")
        tasks = len(list(results.iterdir()))
        pages = len(list((Path(folder) / "all-pages").glob("t*/README.md")))
        assert pages == tasks, f"{pages} pages of {tasks} tasks"
    seconds = used.ru_utime + used.ru_stime
    return {"rows": rows, "seconds": round(seconds, 2), "MiB": used.ru_maxrss // 1024, "stored MB": stored // 10**6}


def draw(costs: list[dict[str, float]], path: Path) -> None:
    """Processor seconds and memory against rows, each in a panel of its own."""
    made = Figure(figsize=(6.9, 2.6), layout="constrained")
    panels = made.subplots(1, 2)
    rows = [each["rows"] for each in costs]
    for axes, name, unit in zip(panels, ("seconds", "MiB"), ("s of processor time", "MiB at most"), strict=True):
        axes.loglog(rows, [each[name] for each in costs], "o-", color="#0060a0", markersize=4)
        for each in costs:
            axes.annotate(
                f"{each[name]:,.4g}", (each["rows"], each[name]), (0, 5), textcoords="offset points", fontsize=7
            )
        axes.set_xlabel("rows", fontsize=8)
        axes.set_title(unit, fontsize=8)
        axes.tick_params(labelsize=8)
        axes.margins(0.12, 0.2)
        axes.spines[["top", "right"]].set_visible(False)
    write_whole(path, figure.saved(made, path.suffix[1:]), "--figure")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="*", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--figure", type=Path, help="SVG to draw")
    given = parser.parse_args()
    costs = []
    for rows in given.rows:
        costs.append(cost(rows))
        print(json.dumps(costs[-1]), flush=True)
    if given.figure:
        draw(costs, given.figure)


if __name__ == "__main__":
    main()
