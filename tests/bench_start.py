"""How soon dabench answers: its help, a command's first result in an empty folder, and the served page.

Run it as a script: `python tests/bench_start.py`. It prints the median seconds of each, and beside them those of
importing torch alone, taken in turn, since other work on the machine slows both.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

Measure = Callable[[Path], float]  # seconds, in an empty folder

DABENCH = [sys.executable, "-m", "dabench"]


def seconds_of(*command: str) -> Measure:
    def measure(folder: Path) -> float:
        started = time.perf_counter()
        subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - started

    return measure


def until_line(pattern: str, *command: str) -> Measure:
    """Seconds until the command prints a line that matches, and then it is ended; its cache is empty at first."""

    def measure(folder: Path) -> float:
        environment = {**os.environ, "DABENCH_CACHE": str(folder / "cache"), "PYTHONUNBUFFERED": "1"}
        started = time.perf_counter()
        with subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            said = []
            try:
                for line in process.stdout:
                    said.append(line)
                    if re.search(pattern, line):
                        return time.perf_counter() - started
            finally:
                process.terminate()
                process.stdout.read()
        raise SystemExit(f"{' '.join(command)} printed nothing like '{pattern}':\n{''.join(said)}")

    return measure


def until_served(results: Path) -> Measure:
    """Seconds until `dabench serve` answers its first request."""

    def measure(folder: Path) -> float:
        port = "8765"
        started = time.perf_counter()
        process = subprocess.Popen(
            [*DABENCH, "serve", "--results", str(results), "--port", port],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while time.perf_counter() - started < 60:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                        answer.read()
                    return time.perf_counter() - started
                except OSError:
                    time.sleep(0.02)
        finally:
            process.terminate()
            process.wait()
        raise SystemExit("dabench serve did not answer in a minute")

    return measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of rows to serve")
    given = parser.parse_args()
    measures = {
        "python -c 'import torch'": seconds_of(sys.executable, "-c", "import torch"),
        "dabench --help": seconds_of(*DABENCH, "--help"),
        "dabench run --tasks quick, first result": until_line(r"^\[1/", *DABENCH, "run", "--tasks", "quick"),
        "dabench serve, first answer": until_served(given.results.resolve()),
    }
    seconds: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(given.rounds):
        for name, measure in measures.items():
            with tempfile.TemporaryDirectory(prefix="dabench-start-") as folder:
                seconds[name].append(measure(Path(folder)))
    torch = seconds["python -c 'import torch'"]
    for name, each in seconds.items():
        ratio = statistics.median(one / other for one, other in zip(each, torch, strict=True))
        print(f"{name:42} {statistics.median(each):6.2f} s (least {min(each):.2f})   {ratio:.2f} times importing torch")


if __name__ == "__main__":
    main()
