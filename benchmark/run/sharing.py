"""Arrays that another process maps instead of copying: the images of a task, made once and shared by its cells."""

from __future__ import annotations

import mmap
import os
import sys
from multiprocessing import reduction
from typing import Any

import numpy as np

_MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # of <sys/mman.h>; Python 3.13 names it


class Shared:
    """An array that goes over a pipe as the memory it lies in; who receives it may write into its own pages alone.

    The memory has no name by which a process could find what it was not sent. Where the system has none of this kind
    (all but Linux), the array is copied.
    """

    def __init__(self, array: np.ndarray) -> None:
        self._file, self._offset = -1, 0
        self.array = array
        if sys.platform != "linux" or not array.nbytes:
            return
        if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap) and array.filename:
            self._file, self._offset = os.open(array.filename, os.O_RDONLY | os.O_CLOEXEC), array.offset
        else:
            self._file = _nameless(np.ascontiguousarray(array))
            self.array = _mapped(self._file, 0, array.dtype, array.shape)

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._file < 0:
            return Shared, (self.array,)
        return _received, (reduction.DupFd(self._file), self._offset, self.array.dtype, self.array.shape)


def _nameless(array: np.ndarray) -> int:
    """A file in memory without a name, which holds the array and can no longer be changed."""
    import fcntl

    file = os.memfd_create("images", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    content = array.data.cast("B")
    written = 0
    while written < len(content):
        written += os.write(file, content[written : written + 2**30])
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return file


def _mapped(file: int, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
    """The array that lies in the file; a change of it stays in this process."""
    size = int(np.prod(shape)) * dtype.itemsize
    start = offset % mmap.ALLOCATIONGRANULARITY
    # Without room set aside for a change of every page, an array may be larger than memory.
    flags = mmap.MAP_PRIVATE | _MAP_NORESERVE
    pages = mmap.mmap(file, start + size, flags, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset - start)
    return np.frombuffer(pages, dtype, offset=start, count=int(np.prod(shape))).reshape(shape)


def _received(file: Any, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Shared:
    shared = Shared.__new__(Shared)
    shared._file, shared._offset = file.detach(), offset
    shared.array = _mapped(shared._file, offset, dtype, shape)
    return shared
