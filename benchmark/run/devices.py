"""The device that computes: which there are, its random state, clock and memory, whatever its maker."""

from __future__ import annotations

import ctypes
import platform
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from dabench.core import DabenchError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
_SEEDED_ALONE = ("cuda", "xpu")  # whose random state can be kept and put back


def resolve(name: str) -> str:
    """The device that `auto`, `cpu`, `cuda`, `mps:0` and the like stand for here; raises DabenchError for none."""
    found = torch.accelerator.current_accelerator(check_available=True)
    count = torch.accelerator.device_count() if found is not None else 0
    kind, _, index = name.partition(":")
    if kind == "cpu" or (kind == "auto" and found is None):
        return "cpu"
    if found is not None and kind in ("auto", found.type) and int(index or 0) < count:
        return f"{found.type}:{int(index or 0)}"
    there = "no accelerator" if found is None else f"{count} of kind {found.type}"
    raise DabenchError(f"no device '{name}': torch sees {there} here; use --device cpu or auto")


def device_name(device: str) -> str:
    """The processor's or accelerator's name, as its maker has it."""
    if not device.startswith("cpu"):
        named = getattr(_module(torch.device(device)), "get_device_name", None)
        return named(device) if named is not None else device
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def prepare(threads: int) -> None:
    """Gives this process its threads, and has it keep the memory that it frees."""
    torch.set_num_threads(threads)
    # The linear algebra of scikit-learn has threads of its own, which wait for torch's ten times as long as they work.
    threadpool_limits(1, user_api="blas")
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Has malloc keep what is freed: glibc gives large tensors back at once, and each step pays for them again."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
            mallopt(parameter, 2**30)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Every global random state seeded inside, and as it was afterwards; an Apple GPU's stays seeded."""
    kept = random.getstate(), np.random.get_state()
    alone = device.type in _SEEDED_ALONE
    with torch.random.fork_rng([device] if alone else [], device_type=device.type if alone else "cuda"):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(kept[0])
            np.random.set_state(kept[1])


def synchronise(device: torch.device) -> None:
    """Waits until the device has done what it was told."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def free_memory(device: torch.device) -> float:
    """Bytes that are free on an accelerator; infinite on the CPU, whose memory holds the images already."""
    if device.type == "cpu":
        return float("inf")
    module = _module(device)
    if hasattr(module, "mem_get_info"):
        return float(module.mem_get_info(device)[0])
    if hasattr(module, "recommended_max_memory"):
        return float(module.recommended_max_memory() - module.current_allocated_memory())
    return 0.0


def reset_peak_memory(device: torch.device) -> None:
    """Begins to measure the accelerator's peak anew; a process's own peak cannot be reset."""
    reset = getattr(_module(device), "reset_peak_memory_stats", None)
    if device.type != "cpu" and reset is not None:
        reset(device)


def peak_memory(device: torch.device) -> float:
    """MiB at most in use: on an accelerator since the reset, of the process on a CPU; nan where nobody counts."""
    if device.type != "cpu":
        module = _module(device)
        if hasattr(module, "max_memory_allocated"):
            return float(module.max_memory_allocated(device)) / 2**20
        if hasattr(module, "driver_allocated_memory"):
            return float(module.driver_allocated_memory()) / 2**20
        return float("nan")
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    # macOS counts in bytes, everyone else in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _module(device: torch.device) -> ModuleType:
    return torch.get_device_module(device)
