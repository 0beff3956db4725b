"""Checkpoint folders of an unfinished stage: which of them were written to their end.

transformers writes a checkpoint file by file; a process that is killed meanwhile leaves a folder
that looks like one. A mark is set last, and folders without it are taken for what they are.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from augment.contract.files import disk_errors, nearest, sync_folder

COMPLETE = "complete"


@contextmanager
def removing_partial(folder: Path, size: int) -> Iterator[None]:
    """Around the writing of a checkpoint: where it fails, its half-written folder goes.

    Args:
        folder: The checkpoint's.
        size: About how many bytes it takes.

    Raises:
        OutputUnwritable: It does not fit on the disk.
    """
    try:
        with disk_errors(nearest(folder.parent), "a checkpoint", size):
            yield
    except Exception:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def checkpoint_bytes(stage: nn.Module) -> int:
    """About what a checkpoint takes: every weight, and both of AdamW's moments of it."""
    return 3 * sum(weight.numel() * weight.element_size() for weight in stage.parameters())


def mark_complete(folder: Path) -> None:
    """Bring a checkpoint to the disk, then mark it."""
    sync_folder(folder)
    (folder / COMPLETE).touch()


def rotate_checkpoints(folder: Path, best: int | None) -> None:
    """Delete all checkpoints but the latest and the best, or the one before it.

    transformers would do so before the latest is marked: killed then, a run could have lost the
    best checkpoint, or gone on from one that is half deleted. So the latest is whole by now, and
    from the others the mark goes first.

    Args:
        folder: Where the checkpoints are.
        best: The step of the best one so far, or nothing.
    """
    *older, _ = sorted(folder.glob("checkpoint-*"), key=step_of)
    kept = next((path for path in older if step_of(path) == best), older[-1] if older else None)
    for path in older:
        if path != kept:
            (path / COMPLETE).unlink(missing_ok=True)
            shutil.rmtree(path)


def last_complete(folder: Path) -> Path | None:
    """The latest checkpoint that was written to its end; half-written ones are deleted."""
    complete = []
    for path in folder.glob("checkpoint-*"):
        if (path / COMPLETE).is_file():
            complete.append(path)
        else:
            shutil.rmtree(path)
    return max(complete, key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    """The optimizer step that a checkpoint was made at."""
    return int(checkpoint.name.split("-")[1])
