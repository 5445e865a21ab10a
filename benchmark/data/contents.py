"""Files known by what they hold: two of one name, size and time are never taken for one another."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dabench.core import DabenchError
from dabench.files import locked, named_errors, replacing

_SETTLED = 2.0  # seconds after which a second write to a file shows in the time of its last change


def manifest(files: Iterable[Path], cache: Path) -> str:
    """A fingerprint of the files' contents and of their names below the folder they share.

    While it stays, so does the fingerprint of what is loaded from them.
    """
    digests = digests_of(files, cache)
    shared = os.path.commonpath([path.parent for path in digests]) if digests else ""
    whole = hashlib.sha256()
    for path, content in digests.items():
        whole.update(os.fsencode(path.relative_to(shared).as_posix()) + f"\0{content}\n".encode())
    return whole.hexdigest()


def digests_of(files: Iterable[Path], cache: Path) -> dict[Path, str]:
    """The SHA-256 of each file, in the order of their paths; raises DabenchError for one that cannot be read.

    Remembered in `cache` as long as path, device, inode, size and both times of every file stay. Of these the time of
    the last change cannot be set by a program, so that unpacking an archive or restoring a backup is seen; a file that
    changed within the last two seconds may change again unseen, and is not remembered (as git does it).
    """
    paths = sorted(set(files))
    try:
        now = time.time()
        stats = [path.stat() for path in paths]
        facts = [(s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in stats]
        names = [os.fsencode(path.absolute()) for path in paths]
        remembered = cache / "fingerprints" / f"files-{hashlib.sha256(repr((names, facts)).encode()).hexdigest()[:32]}"
        if (known := _read(remembered, len(paths))) is not None:
            return dict(zip(paths, known, strict=True))
        with ThreadPoolExecutor(os.cpu_count()) as threads:  # hashing releases the interpreter lock
            digests = list(threads.map(_sha256, paths))
    except OSError as error:
        raise DabenchError(
            f"cannot read {error.filename or 'a picture'}: {error.strerror}; check its rights"
        ) from error
    # Windows has no time of the last change: there every file is read every time.
    if os.name == "posix" and all(stat.st_ctime < now - _SETTLED for stat in stats):
        _write(remembered, digests)
    return dict(zip(paths, digests, strict=True))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(remembered: Path, count: int) -> list[str] | None:
    try:
        known = json.loads(remembered.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    whole = isinstance(known, list) and len(known) == count and all(isinstance(one, str) for one in known)
    return known if whole else None


def _write(remembered: Path, digests: list[str]) -> None:
    """Appears whole or not at all; raises DabenchError where the cache cannot be written."""
    with named_errors(remembered, "--cache"), locked(remembered), replacing(remembered) as unfinished:
        unfinished.write_text(json.dumps(digests), encoding="ascii")
