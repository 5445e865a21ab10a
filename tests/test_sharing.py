"""Arrays on their way to another process."""

import multiprocessing
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from dabench.run.sharing import Shared


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the array is copied")
def test_an_array_larger_than_memory_is_mapped_where_it_lies(tmp_path):
    if Path("/proc/sys/vm/overcommit_memory").read_text().strip() == "2":
        pytest.skip("this system sets memory aside for every mapping")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    swap = sum(int(line.split()[2]) * 1024 for line in Path("/proc/swaps").read_text().splitlines()[1:])
    shape = (2 * (memory + swap) // (3 * 224 * 224), 3, 224, 224)
    images = np.lib.format.open_memmap(tmp_path / "holes.npy", "w+", np.uint8, shape)  # holes, which take no disk
    images[-1, 0, 0, :3] = 1, 2, 3
    images.flush()
    here, there = multiprocessing.Pipe()
    here.send(Shared(np.load(tmp_path / "holes.npy", mmap_mode="r")))
    received = there.recv().array
    assert received.shape == shape
    assert received[-1, 0, 0, :4].tolist() == [1, 2, 3, 0]
    received[-1] = 7  # in its own pages alone
    assert images[-1, 0, 0, :4].tolist() == [1, 2, 3, 0]
