"""Checkpoint folders of an unfinished stage: which of them were written to their end.

transformers writes a checkpoint file by file; a process that is killed meanwhile leaves a folder
that looks like one. A mark is set last, and folders without it are taken for what they are.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from distill.rundir import sync_folder

COMPLETE = "complete"


def mark_whole(folder: Path) -> None:
    """Bring a checkpoint to the disk, then mark it."""
    sync_folder(folder)
    (folder / COMPLETE).touch()


def last_whole(folder: Path) -> Path | None:
    """The latest checkpoint that was written to its end; half-written ones are deleted."""
    whole = []
    for path in folder.glob("checkpoint-*"):
        if (path / COMPLETE).is_file():
            whole.append(path)
        else:
            shutil.rmtree(path)
    return max(whole, key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    """The optimiser step that a checkpoint was made at."""
    return int(checkpoint.name.split("-")[1])
