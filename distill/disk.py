"""A full disk, told as what it is."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distill.errors import DiskFull

ALMOST_NOTHING = 2**20


@contextmanager
def room(folder: Path, what: str = "", size: int = 0) -> Iterator[None]:
    """Around anything that writes: a disk that is full becomes a sentence.

    Args:
        folder: Where is written.
        what: What is written, such as ``a checkpoint``.
        size: About how many bytes it takes, where that is known.

    Raises:
        DiskFull: Nothing more fits on the disk.
    """
    try:
        yield
    except Exception as error:
        if not _is_full(error, folder):
            raise
        needs = f": {what} takes about {size / 1e6:,.0f} MB" if size else ""
        raise DiskFull(
            f"no space is left on the disk of {folder}{needs}.",
            "What was whole before is kept. Free some space, then repeat the command.",
        ) from error


def nearest(path: Path) -> Path:
    """The path itself or, where it is not there yet, the first parent that is."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def _is_full(error: Exception, folder: Path) -> bool:
    """Python gives a number, safetensors a text, torch's writer neither."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    if f"(os error {errno.ENOSPC})" in str(error):
        return True
    return isinstance(error, RuntimeError) and shutil.disk_usage(folder).free < ALMOST_NOTHING
