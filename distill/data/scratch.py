"""Folders that a command needs for itself alone, and that do not outlive it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from augment.contract.errors import OutputError
from augment.contract.files import disk_errors, locked
from distill.runs.records import discard

PREFIX, LOCK = "distill-", ".lock"


@contextmanager
def scratch() -> Iterator[Path]:
    """A new folder, removed at the end; those of this user's killed processes are removed first.

    Raises:
        OutputUnwritable: The place for temporary files is full, or may not be written.
    """
    place = Path(tempfile.gettempdir())
    for left in place.glob(f"{PREFIX}*"):
        if left.is_symlink() or not (left / LOCK).is_file():
            continue
        with suppress(OutputError, OSError):  # of a living process, or of somebody else
            if left.stat().st_uid == os.getuid():
                with locked(left / LOCK):
                    discard(left)
    with disk_errors(place):
        made = tempfile.TemporaryDirectory(prefix=PREFIX)
    with made as folder, locked(Path(folder) / LOCK):
        yield Path(folder)
