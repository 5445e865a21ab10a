"""The options that commands share, each declared once with its check, and what their text means.

Nothing here imports torch or pandas, so that help and mistyped options answer at once.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dabench.core import ALL, DabenchError, nearest

if TYPE_CHECKING:
    from dabench.run.engines.ray import Ray as Ray_
    from dabench.run.engines.slurm import Slurm as Slurm_
    from dabench.run.plan import Environment
    from dabench.run.plan import Start as Start_

MOST_WORKERS = 8


def _folder(*parts: str) -> Callable[[], Path]:
    """A folder inside the user's cache, looked up when it is needed."""

    def default() -> Path:
        from platformdirs import user_cache_path

        return user_cache_path("dabench").joinpath(*parts)

    return default


MOST_SEEDS = 10_000  # of each task and method: merely to plan more takes minutes
MOST = 1_000_000  # of any number asked for: a mistyped one would keep a machine busy for years


def _at_least(option: str, least: float, wanted: str) -> Callable[[float | None], float | None]:
    """A check: the number is not below `least` nor above MOST; None, an option left out, passes."""

    def check(value: float | None) -> float | None:
        if value is not None and value > MOST:
            raise DabenchError(f"{option} {value}: give a number of {MOST:,} at most")
        if value is not None and not least <= value:
            raise DabenchError(f"{option} {value}: give a number {wanted}")
        return value

    return check


def _a_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|(cuda|mps|xpu)(:\d{1,3})?", name):
        raise DabenchError(f"no device '{name}'; choose auto, cpu, cuda, cuda:0, mps or xpu")
    return name


def _a_shard(text: str | None) -> str | None:
    if text is not None:
        shard(text)
    return text


def _completed(known: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """What a shell may put where names stand with commas between: the last one's completions."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in known() if name.startswith(last)]

    return complete


def task_names() -> list[str]:
    """`all`, the suite, the families and the tasks."""
    from dabench import registry

    tasks = registry.known_tasks()
    return ["all", "suite", *sorted({task.family for task in tasks.values()}), *tasks]


def method_names() -> list[str]:
    """`all` and the methods."""
    from dabench import registry

    return ["all", *sorted(registry.method_files())]


Tasks = Annotated[
    str,
    typer.Option(
        help="all, suite, a family, names, name[angle=90], globs, a .toml or .py file.",
        autocompletion=_completed(task_names),
    ),
]
Methods = Annotated[
    str,
    typer.Option(
        help="all, names, globs, name[lr=0.003,depth=7], a .py file; comma-separated.",
        autocompletion=_completed(method_names),
    ),
]
Results = Annotated[Path, typer.Option(help="Folder of the result rows.")]
Data = Annotated[
    Path,
    typer.Option(envvar="DABENCH_DATA", help="Folder of the data sets.", default_factory=_folder("data")),
]
Cache = Annotated[
    Path,
    typer.Option(envvar="DABENCH_CACHE", help="Folder of source models.", default_factory=_folder()),
]
Seeds = Annotated[str, typer.Option(help="How many (3), or which (0,1,2; a single one: 5,).")]
StudySeeds = Annotated[str | None, typer.Option(help="As for run; else as many as the paper's protocol asks for.")]
Budget = Annotated[
    float,
    typer.Option(
        help="Share of each task's training steps.", callback=_at_least("--budget", 1e-6, "above 0, such as 1")
    ),
]
Scale = Annotated[
    float,
    typer.Option(
        help="Share of each task's training steps.", callback=_at_least("--scale", 1e-6, "above 0, such as 1")
    ),
]
Backbone = Annotated[str | None, typer.Option(help="One of dabench's networks or any of timm's.")]
ImageSize = Annotated[
    int | None,
    typer.Option(help="Side of the images, in pixels.", callback=_at_least("--image-size", 8, "of 8 pixels or more")),
]
Protocol = Annotated[str | None, typer.Option(help="Which images adapt and score; else the task's first.")]
Labels = Annotated[str, typer.Option(help="Target labels a class for who sees them: 1,3,10,all.")]
TargetImages = Annotated[
    int | None,
    typer.Option(
        help="Bound on the target images that adapt.", callback=_at_least("--target-images", 1, "of 1 or more")
    ),
]
Frozen = Annotated[
    bool, typer.Option("--frozen", help="Adapt a bottleneck and head on the pretrained backbone's features.")
]
Start = Annotated[str, typer.Option(help="Where training starts: source-model or initial-weights.")]
Stream = Annotated[str, typer.Option(help="How test images come: shuffled, correlated[delta=0.1,batch_size=16], ...")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0, mps or xpu.", callback=_a_device)]
CellTimeout = Annotated[
    float | None,
    typer.Option(
        help="Seconds after which a method's cell fails; else none.",
        callback=_at_least("--cell-timeout", 1, "of 1 or more"),
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        help="Cells at once; else by the cores, and 1 on a GPU.", callback=_at_least("--workers", 1, "of 1 or more")
    ),
]
Engine = Annotated[str, typer.Option(help="Who computes: local, slurm or ray.")]
Slurm = Annotated[str, typer.Option(help="Of each job: partition=gpu,gpus_per_node=1,timeout_min=60,bundle_min=30.")]
Ray = Annotated[str, typer.Option(help="Of each cell: num_cpus=2,num_gpus=0.25,memory_gb=8,address=auto.")]
Shard = Annotated[
    str | None, typer.Option(help="A part of the cells, as 3/8, for a machine of its own.", callback=_a_shard)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")]
Force = Annotated[bool, typer.Option("--force", help="Run stored cells again.")]
OnlyReport = Annotated[bool, typer.Option("--only-report", help="Run nothing: judge what is stored.")]
Trials = Annotated[
    int,
    typer.Option(
        help="Settings tried for each method on each task, its default first.",
        callback=_at_least("--trials", 1, "of 1 or more"),
    ),
]
Sample = Annotated[
    int, typer.Option(help="How many of the rows to run again.", callback=_at_least("--sample", 1, "of 1 or more"))
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Pictures = Annotated[bool, typer.Option("--pictures", help="Show examples of data whose licence forbids to publish.")]
Entry = Annotated[str, typer.Argument(metavar="TASK/METHOD", help="As mnist-usps/dann, or with [lr=0.003].")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits and '_'; the file is named after it.")]

RESULTS = Path("results")


def seeds(text: str) -> tuple[int, ...]:
    """`3` is 0, 1, 2; `4,7` is 4 and 7; `5,` is 5 alone."""
    if re.fullmatch(r"[\d,]+", text) and any(len(part) > 6 for part in text.split(",")):
        raise DabenchError(f"--seeds {text}: give a count, or seeds, below {MOST:,}")
    if re.fullmatch(r"[1-9]\d*", text):
        if int(text) > MOST_SEEDS:
            raise DabenchError(f"--seeds {text}: give a count of {MOST_SEEDS:,} at most; 5,9 are two single seeds")
        return tuple(range(int(text)))
    if re.fullmatch(r"\d+(,\d+)*,?", text) and "," in text:
        return tuple(dict.fromkeys(int(part) for part in text.split(",") if part))
    raise DabenchError(f"--seeds {text}: give a count above 0 such as 3, or seeds such as 0,1,2")


def start(text: str) -> Start_:
    """Where a method's training starts."""
    from dabench.run.plan import Start

    if text not in tuple(Start):
        raise DabenchError(f"--start {text}: choose {' or '.join(Start)}")
    return Start(text)


def label_budgets(text: str) -> tuple[int, ...]:
    """`1,10,all` as numbers of target labels a class, ALL for all."""
    budgets = [part.strip() for part in text.split(",")]
    if all(re.fullmatch(r"all|[1-9]\d*", part) for part in budgets):
        return tuple(dict.fromkeys(ALL if part == "all" else int(part) for part in budgets))
    raise DabenchError(f"--labels {text}: give counts a class above 0, or all, such as 1,3,10,all")


def shard(text: str) -> tuple[int, int]:
    """`3/8` is the third of eight parts."""
    found = re.fullmatch(r"([1-9]\d{0,4})/([1-9]\d{0,4})", text)
    if not found or int(found[1]) > int(found[2]):
        raise DabenchError(f"--shard {text}: give a part and of how many, such as 3/8")
    return int(found[1]), int(found[2])


def engine(name: str, slurm: str, ray: str) -> Slurm_ | Ray_ | None:
    """The engine of that name with its settings; None for this machine's own processes."""
    for option, given in (("slurm", slurm), ("ray", ray)):
        if given and name != option:
            raise DabenchError(f"--{option} {given}: this is for --engine {option}")
    if name == "slurm":
        from dabench.run.engines.slurm import Slurm

        settings = _settings("slurm", slurm)
        own = {key: settings.pop(key) for key in ("bundle_min",) if key in settings}
        return Slurm(parameters=settings, **own)
    if name == "ray":
        from dabench.run.engines.ray import Ray

        settings = _settings("ray", ray)
        address = str(settings.pop("address", "auto"))
        if wrong := [f"{key}={value}" for key, value in settings.items() if not isinstance(value, int | float)]:
            raise DabenchError(f"--ray {wrong[0]}: give a number")
        return Ray(resources=settings, address=address)
    if name != "local":
        raise DabenchError(f"no engine '{name}'; {nearest(name, ('local', 'slurm', 'ray'))}")
    return None


def _settings(option: str, text: str) -> dict[str, Any]:
    """`a=1,b=c` as a mapping, numbers as such."""
    settings: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier() or not value:
            raise DabenchError(f"--{option} {part}: write name=value, several with commas between")
        number = re.fullmatch(r"(\d+)|\d*\.\d+", value)
        settings[key] = value if not number else int(value) if number[1] else float(value)
    return settings


def entry(text: str) -> tuple[str, str]:
    """The task and the method's variant that `TASK/METHOD` names."""
    task, slash, variant = text.partition("/")
    if not slash:
        raise DabenchError(f"cannot read '{text}'; write TASK/METHOD, such as mnist-usps/dann")
    return task, variant


def place(device: str, workers: int | None, waiting: int, data: Path, cache: Path) -> tuple[Environment, int]:
    """Where the cells are computed and how many at once.

    A worker's threads do not depend on how many cells are left, so that a cell run alone gives the same bits.
    """
    from dabench.run.plan import Environment

    device = _device_here(device, needed=waiting > 0)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = workers or (1 if device != "cpu" else min(cores, MOST_WORKERS))
    if device == "cpu" and most > cores:
        warnings.warn(f"--workers {most} share {cores} cores and only wait for each other; leave it out", stacklevel=2)
    return Environment(device, max(1, cores // most), data, cache), max(1, min(most, waiting))


def _device_here(name: str, *, needed: bool) -> str:
    """The device that the name stands for on this machine; another process imports torch, where cells will run."""
    from dabench.run import worker

    return "cpu" if name == "auto" and not needed else worker.device_here(name)
