"""What the loaders of several families do to arrays of images, their fingerprints, and the room they take."""

from __future__ import annotations

import hashlib
import os
import shutil
from math import prod
from pathlib import Path

import numpy as np

from dabench.core import Camera, DabenchError, Domain, Domains


def domain_print(domain: Domain) -> str:
    """A print of every pixel and label, the same however the files were packed."""
    digest = hashlib.sha256(repr(domain.images.shape).encode())
    for start in range(0, len(domain), 4096):
        digest.update(np.ascontiguousarray(domain.images[start : start + 4096]).data)
    digest.update(np.ascontiguousarray(domain.labels, np.int64).data)
    return digest.hexdigest()[:16]


def fingerprint(domains: Domains) -> str:
    """The prints of every domain in one."""
    names = ("source_train", "source_test", "target_train", "target_test", "target_validation")
    found = {name: getattr(domains, name) for name in names}
    prints = "".join(f"{name}{domain_print(domain)}" for name, domain in found.items() if domain is not None)
    return hashlib.sha256(prints.encode()).hexdigest()[:16]


def fitted(domain: Domain, image_shape: tuple[int, int, int]) -> Domain:
    """The domain enlarged by nearest neighbour to `image_shape`, a single channel repeated to three."""
    channels, height, width = image_shape
    images = domain.images
    check_memory(len(images) * prod(image_shape), f"{len(images):,} images of {height}x{width} pixels")
    if images.shape[2:] != (height, width):
        rows, columns = (
            np.arange(new) * old // new for new, old in zip(image_shape[1:], images.shape[2:], strict=True)
        )
        images = images[:, :, rows[:, None], columns]
    if images.shape[1] != channels:
        if images.shape[1] != 1:
            raise DabenchError(f"images of {images.shape[1]} channels cannot be given {channels}")
        images = np.repeat(images, channels, axis=1)
    return Domain(np.ascontiguousarray(images), domain.labels)


def drawn(domain: Domain, count: int | None) -> Domain:
    """A fixed draw of `count` images, the same on every machine; all of them for None."""
    if count is None or count >= len(domain):
        return domain
    return domain[np.sort(np.random.default_rng(0).permutation(len(domain))[:count])]


def seen_by(camera: Camera | None, domain: Domain) -> Domain:
    """The domain behind a camera; as it is where there is none."""
    return domain if camera is None else Domain(camera.apply(domain.images), domain.labels)


def check_memory(needed: int, what: str) -> None:
    """Raises DabenchError where `needed` bytes are more than this machine, or its container, has at all."""
    memory = _memory()
    if memory is not None and needed > memory:
        raise DabenchError(
            f"{what} take {_gib(needed)}, and this machine has {_gib(memory)} of memory; choose a smaller image size"
        )


def check_disk(needed: int, folder: Path, what: str) -> None:
    """Raises DabenchError where `needed` bytes are more than the disk of `folder`, perhaps not made yet, has left."""
    there = next((place for place in (folder, *folder.absolute().parents) if place.exists()), None)
    free = shutil.disk_usage(there).free if there else needed
    if needed > free:
        raise DabenchError(
            f"{what} take {_gib(needed)} in {folder}, where {_gib(free)} are free; choose a smaller image size or "
            "another --cache"
        )


def _memory() -> int | None:
    """Bytes of memory that a process can have; None where the system does not say."""
    try:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text()
    except OSError:
        return found
    return min(found, int(limit)) if limit.strip().isdigit() else found


def _gib(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB"
