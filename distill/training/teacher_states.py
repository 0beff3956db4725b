"""A teacher's states of the rows that stage 1 draws: asked for once, read at every step."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from augment.contract import OutputUnwritable
from augment.contract.files import nearest
from augment.contract.foreign import counted, sized
from distill.data.batching import Collator, lengths_of, model_inputs
from distill.data.kept_states import TeacherStates
from distill.data.row_batches import Places
from distill.data.row_sets import RowSet
from distill.models.bf16 import autocast
from distill.runs.directory import RunDirectory, reuse
from distill.runs.distributed import device
from distill.runs.records import digest_of, discard
from distill.runs.row_files import RowFile
from distill.stages import IntermediateStage
from distill.training.context import RunContext, TaskContext
from distill.training.finite_checks import check_logits
from distill.training.schedule import passes, rows_drawn

OFTEN = 2.0
"""Draws of a row above which its states are kept: asking once and writing costs about one."""
BATCH = 32
"""Rows that the teacher is asked at once; a kill costs no more of them."""
NUMBER_BYTES, GIGABYTE = 4, 1e9


def states_file(run: RunDirectory) -> Path:
    """Where they lie while stage 1 lasts."""
    return run.work / "intermediate" / "teacher-states.f32"


def drop_states(run: RunDirectory) -> None:
    """Remove what is kept, whole or not."""
    file = states_file(run)
    discard(file)
    discard(file.with_suffix(".partial"))


def keep_states(
    context: RunContext, stage: IntermediateStage, drawn: RowSet
) -> TeacherStates | None:
    """Ask the teacher once for every row that will be drawn, if that pays and fits.

    Batches are cut from the rows by their length alone, so that a number depends neither on the
    step at which it is read nor on a kill: a run that goes on has the bytes of one that was never
    interrupted.

    Args:
        context: Of the run.
        stage: That learns from them; it is told how to read them.
        drawn: What it draws from.

    Returns:
        None where the teacher is asked at every step.

    Raises:
        OutputUnwritable: The disk is too small for them.
        TrainingFailed: A state is not finite.
    """
    run, say, recipe = context.run, context.narrator.say, context.recipe.intermediate
    numbers, seed = recipe.numbers, context.recipe.seed
    places = rows_drawn(drawn.rows, numbers, seed, drawn.mixture)
    often = passes(len(drawn), numbers) * len(drawn) / len(places)
    if often <= OFTEN:
        say("states", f"{_NOT}: a row is drawn {often:.1f} times, it pays above {OFTEN:g}")
        return None
    order = places[np.argsort(lengths_of(drawn.rows)[places], kind="stable")]
    work = _Work(stage, drawn.rows, order, context.collator(stage), context.recipe.precision)
    if why := work.plan():
        say("states", f"{_NOT}: {why}")
        return None
    size = work.size(len(order))
    if size > recipe.teacher_states_gb * GIGABYTE:
        most = f"teacher_states_gb is {recipe.teacher_states_gb:g}"
        say("states", f"{_NOT}: they take {size / GIGABYTE:.2f} GB, and {most}")
        return None
    key = digest_of(repr(stage.layout), hashlib.sha256(order.tobytes()).hexdigest())
    made = RowFile(
        states_file(run), run.origin(f"teacher's states, {key[:16]}"), len(order), work.size,
        title="states", model="teacher",
    )  # fmt: skip
    if not reuse(made.file, made.origin, context.narrator):
        _check_disk(made.file, size)
        made.write(work.blocks, context.narrator)
    of = f"the teacher's of {counted(len(order), 'row')}"
    say("states", f"{of} are kept for stage 1: {sized(size)}")
    return work.open(made.file)


def numbers_a_token(context: TaskContext, build: Callable[[], IntermediateStage | None]) -> int:
    """How many numbers of a token stage 1 would keep; 0 where none can be, or are to be.

    Args:
        context: With rows to look at.
        build: Builds the stage.
    """
    recipe, rows = context.recipe.intermediate, context.tokens.train
    stage = build() if recipe.enabled and recipe.teacher_states_gb else None
    if stage is None:
        return 0
    order = np.argsort(lengths_of(rows), kind="stable")
    work = _Work(stage, rows, order, context.collator(stage), context.recipe.precision)
    return 0 if work.plan() or stage.layout is None else stage.layout.numbers


_NOT = "the teacher's are not kept"


def _check_disk(file: Path, size: int) -> None:
    """Refuse before the teacher is asked for hours; what a killed call wrote counts.

    Raises:
        OutputUnwritable: The disk is too small.
    """
    partial, place = file.with_suffix(".partial"), nearest(file.parent)
    there = partial.stat().st_size if partial.is_file() else 0
    free = shutil.disk_usage(place).free
    if size - there > free:
        raise OutputUnwritable(
            f"the teacher's states take {sized(size)}, and {sized(free)} are free at {place}.",
            "Free some space, or set teacher_states_gb = 0 in [intermediate] of the recipe: the "
            "teacher is then asked at every step.",
        )


@dataclass(frozen=True, slots=True)
class _Work:
    """Rows that a teacher is asked, from the shortest to the longest."""

    stage: IntermediateStage
    rows: datasets.Dataset
    order: Places
    collator: Collator
    precision: str

    def plan(self) -> str:
        """Why states cannot be kept, found out on the shortest row; empty if they can."""
        assert self.stage.teacher is not None
        nn.Module.to(self.stage.teacher, device())
        with autocast(device(), self.precision):
            return self.stage.plan_states(self.batch(self.order[:1]))

    def size(self, count: int) -> int:
        """Bytes of the first so many rows."""
        assert self.stage.layout is not None
        tokens = int(lengths_of(self.rows)[self.order[:count]].sum())
        return tokens * self.stage.layout.numbers * NUMBER_BYTES

    def batch(self, places: Places) -> dict[str, torch.Tensor]:
        """Inputs of some rows, where the teacher is."""
        inputs = model_inputs(self.collator(list(self.rows.select(places))))
        return {name: tensor.to(device()) for name, tensor in inputs.items()}

    def blocks(self, done: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """States of the rows that are not there yet, batch after batch."""
        for start in range(done, len(self.order), BATCH):
            places = self.order[start : start + BATCH]
            yield start + len(places), self._ask(places)

    def _ask(self, places: Places) -> NDArray[np.float32]:
        """States of some rows, token after token, shape (tokens, numbers)."""
        inputs = self.batch(places)
        with autocast(device(), self.precision):
            states = self.stage.states(inputs)
        mask = inputs["attention_mask"].bool()
        real = states.flatten(0, 1) if mask.all() else states[mask]
        if not torch.isfinite(real.sum()):  # a sum holds what is not finite, in a tenth of the time
            finite = torch.isfinite(states).all(dim=2).masked_fill(~mask, True).all(dim=1)
            answers = np.where(finite.cpu().numpy(), 0.0, np.nan).astype(np.float32)
            check_logits("teacher", answers[:, None], self.rows.select(places))
        return real.cpu().numpy()

    def open(self, file: Path) -> TeacherStates:
        """Map what was written."""
        assert self.stage.layout is not None
        lengths = lengths_of(self.rows)
        starts = np.full(len(lengths), -1, dtype=np.int64)
        ends = np.cumsum(lengths[self.order], dtype=np.int64)
        starts[self.order] = ends - lengths[self.order]
        values = np.memmap(file, dtype=np.float32, mode="r")
        return TeacherStates(values.reshape(-1, self.stage.layout.numbers), starts, lengths)
