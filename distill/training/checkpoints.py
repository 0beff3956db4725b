"""Checkpoint folders of an unfinished stage: which of them were written to their end.

transformers writes a checkpoint file by file; a process that is killed meanwhile leaves a folder
that looks like one. Its seal is written last, and a folder without one, or with files that are not
as they were sealed, is taken for what it is.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from augment.contract import Fault
from augment.contract.files import disk_errors, nearest, sync_folder
from augment.contract.reading import read_json
from distill.runs.distributed import is_main_process
from distill.runs.progress import Narrator
from distill.runs.records import Origin, discard, flaw, seal

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


def mark_complete(folder: Path, origin: Origin) -> None:
    """Bring a checkpoint to the disk, then seal it.

    Raises:
        OutputUnwritable: The disk is full.
    """
    sync_folder(folder)
    seal(folder, origin, place=folder / COMPLETE)


def rotate_checkpoints(folder: Path, best: int | None) -> None:
    """Delete all checkpoints but the latest, and one that a damaged latest can be made good by.

    That is the best one; where the latest is the best, the one that was the best before, or the
    one before it where none is selected. transformers would delete before the latest is sealed:
    killed then, a run could have lost the best checkpoint, or gone on from one that is half
    deleted. So the latest is whole by now, and from the others the seal goes first.

    Args:
        folder: Where the checkpoints are.
        best: The step of the best one so far, or nothing.
    """
    latest, *older = _newest_first(folder)
    wanted = best
    if best == step_of(latest) and older:
        wanted = best_step(older[0])
    kept = next((path for path in older if step_of(path) == wanted), older[0] if older else None)
    for path in older:
        if path != kept:
            (path / COMPLETE).unlink(missing_ok=True)
            shutil.rmtree(path)


def last_complete(
    folder: Path, origin_of: Callable[[int], Origin], narrator: Narrator
) -> Path | None:
    """The latest checkpoint that is as it was written, and whose best one is, too.

    All that are not are deleted. Of several processes the first one looks.

    Args:
        folder: Where the checkpoints are.
        origin_of: What a checkpoint of a step must have been made from.
        narrator: Is told which checkpoints are lost.
    """
    found = _newest_first(folder)
    if is_main_process():
        flaws = {path: flaw_of(path, origin_of(step_of(path))) for path in found}
        for path in found:
            best = folder / f"checkpoint-{best_step(path) or step_of(path)}"
            if not flaws[path] and flaws.get(best, "is not there"):
                flaws[path] = f"needs {best.name}, which {flaws.get(best, 'is not there')}"
        for path in found:
            if why := flaws[path]:
                if (path / COMPLETE).exists():  # half-written ones are no news
                    narrator.say("notice", f"{path} {why}; an older one is used, or none")
                discard(path)
        found = [path for path in found if not flaws[path]]
    return found[0] if found else None


def flaw_of(checkpoint: Path, origin: Origin) -> str:
    """Why a checkpoint is not the one that was written, see ``seals.flaw``."""
    return flaw(checkpoint, origin, place=checkpoint / COMPLETE)


def best_step(checkpoint: Path) -> int | None:
    """The step of the best checkpoint when this one was made; nothing where none is selected."""
    try:
        state = read_json(checkpoint / "trainer_state.json", Fault, "JSON")
        step = state["best_global_step"]
    except (Fault, KeyError, TypeError):
        return None
    return step if isinstance(step, int) else None


def step_of(checkpoint: Path) -> int:
    """The optimizer step that a checkpoint was made at."""
    return int(checkpoint.name.split("-")[1])


def _newest_first(folder: Path) -> list[Path]:
    named = (p for p in folder.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", p.name))
    return sorted(named, key=step_of, reverse=True)
