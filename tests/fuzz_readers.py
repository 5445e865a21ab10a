"""Damages files at random and reads them, for as long as it is told: `python tests/fuzz_readers.py SECONDS [SEED]`.

Each file is images, a task, or one DabenchError that names it, within ten seconds and two gigabytes; whatever else
comes of it is printed with the seed that makes the file again, and is exit code 1. Linux alone: a copy of the process
reads.
"""

import io
import os
import resource
import signal
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from test_readers import KINDS, PIXELS

from dabench import data
from dabench.core import DabenchError
from dabench.data.cifar10c import cifar10c
from dabench.data.corruptions import CORRUPTIONS
from dabench.data.pictures import Picture

FORMATS = ["png", "jpg", "bmp", "gif", "tif", "webp", "pgm", "ppm", "tga", "jp2", "pcx", "sgi", "avif"]
INTERESTING = [b"\0", b"\0\0\0\0", b"\x80", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"[", b"-1", b"1e999"]
DEVKIT = "ILSVRC2012_devkit_t12"


def write_imagenet(root):
    """The archive of three pictures beside an unpacked devkit."""
    truth = root / "imagenet" / DEVKIT / "data" / "ILSVRC2012_validation_ground_truth.txt"
    truth.parent.mkdir(parents=True, exist_ok=True)
    truth.write_text("1\n2\n1\n")
    rows = [(1, "n01440764", 0), (2, "n01443537", 0)]
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("num_children", "O")]
    savemat(truth.with_name("meta.mat"), {"synsets": np.array(rows, kinds)})
    path = root / "imagenet" / "ILSVRC2012_img_val.tar"
    with tarfile.open(path, "w") as archive:
        for number in (1, 2, 3):
            member = tarfile.TarInfo(f"ILSVRC2012_val_{number:08d}.JPEG")
            member.size = 700
            archive.addfile(member, io.BytesIO(PIXELS[0].tobytes()[:700]))
    return path


def write_devkit(root):
    """The same with the devkit's list of classes to be damaged."""
    write_imagenet(root)
    return root / "imagenet" / DEVKIT / "data" / "meta.mat"


def write_packed_devkit(root):
    """The same with the devkit still packed."""
    unpacked = root / "imagenet" / DEVKIT
    write_imagenet(root)
    with tarfile.open(unpacked.with_name(f"{DEVKIT}.tar.gz"), "w:gz") as archive:
        archive.add(unpacked, DEVKIT)
    return unpacked.with_name(f"{DEVKIT}.tar.gz")


def write_cifar10c(root):
    folder = root / "CIFAR-10-C"
    folder.mkdir(exist_ok=True)
    for name in CORRUPTIONS:
        np.save(folder / f"{name}.npy", np.zeros((5, 32, 32, 3), np.uint8))
    np.save(folder / "labels.npy", np.arange(5))
    return folder / f"{next(iter(CORRUPTIONS))}.npy"


def write_labels(root):
    return write_cifar10c(root).with_name("labels.npy")


def write_picture(ending):
    def write(root):
        path = root / f"picture.{ending}"
        grey = ending in ("pgm",)
        pixels = PIXELS[0].reshape(32, 32, 3)
        Image.fromarray(pixels[..., 0] if grey else pixels).save(path)
        return path

    return write


def write_toml(root):
    for name in ("old/cat", "old/dog", "new/cat", "new/dog"):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in (0, 1):
            Image.fromarray(PIXELS[number].reshape(32, 32, 3)).save(root / name / f"{number}.png")
    path = root / "mine.toml"
    path.write_text('name = "mine"\nsource = "old"\ntarget = "new"\nimage_size = 32\nsteps = 20\nflip = true\n')
    return path


def of_the_only(ending):
    return lambda root: Picture("picture", 0, root / f"picture.{ending}").decoded((3, 32, 32), 32)


READERS = {
    **{name: (write, lambda root, read=read: read(root, "train")) for name, (write, read) in KINDS.items()},
    "tar": (write_imagenet, data.imagenet),
    "devkit": (write_devkit, data.imagenet),
    "packed devkit": (write_packed_devkit, data.imagenet),
    "npy": (write_cifar10c, lambda root: cifar10c(root, next(iter(CORRUPTIONS)), 1)),
    "npy of labels": (write_labels, lambda root: cifar10c(root, next(iter(CORRUPTIONS)), 1)),
    "toml": (write_toml, lambda root: data.task_from_toml(root / "mine.toml")),
    **{f"picture.{ending}": (write_picture(ending), of_the_only(ending)) for ending in FORMATS},
}


def damaged(content, chance):
    """The bytes after one to eight changes: other bytes, a piece left out, doubled, moved or replaced, an early end."""
    content = bytearray(content)
    for _ in range(chance.integers(1, 9)):
        if not content:
            break
        # Headers lie at the beginning, and damage there goes deepest.
        at = int(len(content) * chance.random() ** chance.choice([1, 4]))
        length = int(chance.integers(1, 1 + min(64, len(content))))
        match chance.integers(6):
            case 0:
                content[at] = chance.integers(256)
            case 1:
                content[at] ^= 1 << chance.integers(8)
            case 2:
                piece = INTERESTING[chance.integers(len(INTERESTING))]
                content[at : at + len(piece)] = piece
            case 3:
                del content[at : at + length]
            case 4:
                content[at:at] = content[at : at + length]
            case _:
                if chance.random() < 0.3:
                    del content[at:]
    return bytes(content)


def outcome(kind, path, root):
    """What reading gives in a copy of the process: "read", "refused", or what should not be."""
    here, there = os.pipe()
    copy = os.fork()
    if copy == 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**31, used + 2**31))
        signal.alarm(10)
        try:
            said = read(kind, path, root)
        except BaseException:
            said = traceback.format_exc()
        os.write(there, said.encode("utf-8", "backslashreplace")[-4000:])
        os._exit(0)
    os.close(there)
    with os.fdopen(here, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(copy, 0)
    return said if status == 0 else f"died of signal {os.waitstatus_to_exitcode(status)}"


def read(kind, path, root):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            READERS[kind][1](root)
        except DabenchError as error:
            return "refused" if path.parent.name in str(error) else f"an error that names no file: {error}"
    return "read"


def main(seconds, seed=0):
    """Prints how many files of each kind were read and refused; the number of other outcomes."""
    began, bad = time.monotonic(), 0
    counts = {kind: Counter() for kind in READERS}
    with tempfile.TemporaryDirectory() as folder:
        fresh = {}
        for kind, (write, _) in READERS.items():
            root = Path(folder) / kind.replace(" ", "_")
            root.mkdir()
            path = write(root)
            fresh[kind] = root, path, path.read_bytes()
            assert read(kind, path, root) == "read"  # here, so that each copy has the readers' libraries already
        while time.monotonic() - began < seconds:
            kind = list(READERS)[seed % len(READERS)]
            root, path, content = fresh[kind]
            path.write_bytes(damaged(content, np.random.default_rng(seed)))
            said = outcome(kind, path, root)
            if said not in ("read", "refused"):
                bad += 1
                print(f"--- {kind}, seed {seed}\n{said}", flush=True)
                said = "other"
            counts[kind][said] += 1
            seed += 1
    for kind, found in counts.items():
        print(f"{kind:20} {found['read']:7} read {found['refused']:7} refused {found['other']:5} other")
    return bad


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), *map(int, sys.argv[2:])) > 0)
