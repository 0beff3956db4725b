"""Writing that is all or nothing, and a full disk told as what it is."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from augment.contract import sync
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


def partial_of(path: Path) -> Path:
    """Where a file or folder is written before it gets its name; a killed process leaves it."""
    return path.with_name(f".{path.name}.partial")


def write_json(path: Path, value: Any) -> None:
    """Write JSON in one atomic step."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file in one atomic step."""
    write_file(path, lambda partial: partial.write_bytes(text.encode()))


def write_file(path: Path, fill: Callable[[Path], object]) -> None:
    """Write a file in one atomic step.

    Args:
        path: The file; its folder exists.
        fill: Writes the contents to the path that it is given.

    Raises:
        DiskFull: The file is as it was before.
    """
    partial = partial_of(path)
    try:
        with room(path.parent):
            fill(partial)
            sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def commit_folder(final: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder in one atomic step.

    Args:
        final: The folder; it must not exist.
        fill: Writes the contents into the folder that it is given.

    Raises:
        DiskFull: Nothing is left behind.
    """
    staging = partial_of(final)
    with room(nearest(final)):
        final.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            fill(staging)
            sync_folder(staging)
            staging.rename(final)
            sync(final.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Bring a folder's files to the disk."""
    for path in [*(p for p in folder.rglob("*") if p.is_file()), folder]:
        sync(path)
