"""What the loaders of several families do to arrays of images, and the fingerprints of arrays and files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from dabench.core import Camera, DabenchError, Domain, Domains


def manifest(files: list[Path]) -> str:
    """A fast print of names, sizes and times: while it stays, so does the fingerprint of what is loaded."""
    shared = os.path.commonpath([path.parent for path in files]) if files else ""
    digest = hashlib.sha256()
    for path in sorted(files):
        stat = path.stat()
        digest.update(f"{path.relative_to(shared).as_posix()}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


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
