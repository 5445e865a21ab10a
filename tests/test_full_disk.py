"""A full disk wherever something is written: one error with its remedy, and nothing that was there is lost."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dabench import models
from dabench.core import DabenchError, Domain
from dabench.data import pictures
from dabench.data.corruptions import Corruption, corrupted
from dabench.files import locked, named_errors, write_whole
from dabench.results import store


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MB; only root can mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not shutil.which("mount") or not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def row(seed):
    return {"key": f"k{seed}", "task": "a-b", "method": "dann", "seed": seed, "status": "ok", "predictions": noise()}


def noise():
    return np.random.default_rng(0).bytes(60_000)


def store_a_row(disk):
    store.write(disk / "results", [row(1)])


def store_a_row_in_a_new_file(disk):
    store.write(disk / "others", [row(1)])


def keep_weights(disk):
    path = disk / "source" / "key.safetensors"
    with named_errors(path, "--cache"), locked(path):
        models.save(models.build("resnet8", 4, (3, 32, 32)), path)


def decode_pictures(disk):
    folder = disk.parent / "pictures"
    (folder / "cat").mkdir(parents=True, exist_ok=True)
    for number in range(40):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(folder / "cat" / f"{number}.png")
    pictures.decoded(pictures.pictures_in(folder, ("cat",)), disk / "cache", (3, 64, 64))


def corrupt_pictures(disk):
    domain = Domain(np.frombuffer(noise() * 2, np.uint8)[: 36 * 3072].reshape(-1, 3, 32, 32), np.zeros(36, np.int64))
    corrupted(domain, Corruption("contrast"), disk / "cache")


def write_a_page(disk):
    write_whole(disk / "results" / "page.md", noise(), "--output")


@pytest.mark.parametrize("kilobytes", [0, 50])
@pytest.mark.parametrize(
    "write",
    [store_a_row, store_a_row_in_a_new_file, keep_weights, decode_pictures, corrupt_pictures, write_a_page],
)
def test_a_full_disk_costs_nothing_that_was_there(small_disk, write, kilobytes):
    store.write(small_disk / "results", [row(0)])
    write_whole(small_disk / "results" / "page.md", "what was there", "--output")
    filler = small_disk / "filler"
    filler.write_bytes(b"\0" * (shutil.disk_usage(small_disk).free - 1024 * kilobytes))
    before = contents(small_disk)
    with pytest.raises(DabenchError, match=r"free some space|are free; choose"):
        write(small_disk)
    assert before.items() <= contents(small_disk).items()
    assert not list(small_disk.rglob("*.part"))
    filler.unlink()
    write(small_disk)
    assert store.statuses(small_disk / "results")["k0"] == "ok"


def contents(folder: Path):
    return {path: path.read_bytes() for ending in ("parquet", "md") for path in folder.rglob(f"*.{ending}")}
