"""A few real steps of every stage, to know what all of them will take."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers import PreTrainedTokenizerBase

from augment.contract import Version
from distill.data.batching import longest, spread
from distill.data.versions import TokenizedSplits, tokenize_sample
from distill.distributed import device
from distill.evaluation.evaluate import predict
from distill.models.bf16 import autocast
from distill.models.limits import check_length
from distill.models.loading import Classifier, eval_mode
from distill.models.students import Init, Student
from distill.pipeline import first_stage, intermediate, labels_only, plant, prediction, second_stage
from distill.progress import Narrator
from distill.recipes.load import DistillRecipe
from distill.run_directory import RunDirectory
from distill.stages import Stage
from distill.training.context import RunContext
from distill.training.teachers import Teacher

StageName = Literal["intermediate", "prediction", "plain"]
BATCHES, ANSWERED, VALIDATED = 6, 256, 8
MOST_SECONDS = 12.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The run that is to be judged.

    Attributes:
        version: Opened.
        recipe: Resolved for its task.
        teacher: Where it works.
        student: As the user names it.
        init: How it starts.
        max_length: Pieces a row is cut to.
        stages: Those that the run has.
    """

    version: Version
    recipe: DistillRecipe
    teacher: Classifier
    student: str
    init: Init
    max_length: int
    stages: tuple[StageName, ...]

    def plant(self) -> Student:
        """A fresh student."""
        return plant(self.version, self.recipe, self.student, self.teacher, self.init)

    def tokens(self, rows: pa.Table, tokenizer: PreTrainedTokenizerBase) -> datasets.Dataset:
        """Rows of the version as the run reads them."""
        return tokenize_sample(self.version.task, rows, tokenizer, self.max_length)


@dataclass(frozen=True, slots=True)
class Timings:
    """What was measured.

    Attributes:
        steps: Stage to seconds a step.
        tokenizing: Rows a second.
        teaching: Rows a second that the teacher answers, in the precision of training.
        answering: Rows a second that the student answers, in float32.
        pieces: Mean pieces a row, cut as in the run.
        peak_bytes: The most memory that this process ever had, steps on the longest rows included.
    """

    steps: dict[StageName, float]
    tokenizing: float
    teaching: float
    answering: float
    pieces: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class _Rows:
    """The same rows as the student and as the teacher read them."""

    ours: datasets.Dataset
    theirs: datasets.Dataset

    def at(self, places: NDArray[np.int64]) -> _Rows:
        return _Rows(self.ours.select(places), self.theirs.select(places))


class _Enough(Exception):
    """There are enough measurements; caught here, never seen."""


def try_on(plan: Plan, table: pa.Table) -> Student:
    """Put student and teacher together as every stage will, without training.

    Args:
        plan: The run.
        table: A few training rows.

    Raises:
        Fault: They do not fit together.
    """
    student = plan.plant()
    check_length(plan.max_length, plan.student, student.model.config)
    with _bench(plan, plan.recipe, student, _read(plan, student, table)) as (bench, guide):
        first_stage(bench, student, [guide])
        second_stage(bench, student, student.model, [guide])
    return student


def calibrate(plan: Plan, table: pa.Table) -> Timings:
    """Train every stage for some steps on rows whose lengths are spread like the version's.

    Args:
        plan: The run.
        table: Training rows, evenly drawn.
    """
    student = plan.plant()
    began = time.perf_counter()
    rows = _read(plan, student, table)
    tokenizing = 2 * len(table) / (time.perf_counter() - began)
    steps = {stage: _seconds_a_step(plan, stage, rows) for stage in plan.stages}
    chosen = rows.at(spread(rows.ours, ANSWERED))
    with autocast(plan.teacher.model.device, plan.recipe.precision):
        teaching = _rate(plan.teacher, chosen.theirs)
    nn.Module.to(student.model, device())
    pupil = Classifier("student", eval_mode(student.model), student.tokenizer)
    answering = _rate(pupil, chosen.ours)
    heaviest = plan.stages[0]
    _run(plan, heaviest, rows.at(longest(rows.ours, _batch(plan, heaviest))), steps=2)
    pieces = float(np.mean(rows.ours["length"]))
    return Timings(steps, tokenizing, teaching, answering, pieces, peak_bytes())


def peak_bytes() -> int:
    """The most memory so far: of the accelerator, where there is one, else of this process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _read(plan: Plan, student: Student, table: pa.Table) -> _Rows:
    return _Rows(plan.tokens(table, student.tokenizer), plan.tokens(table, plan.teacher.tokenizer))


def _batch(plan: Plan, stage: StageName) -> int:
    size: int = getattr(plan.recipe, stage).batch_size
    return size


def _rate(classifier: Classifier, rows: datasets.Dataset) -> float:
    predict(classifier, rows.select(range(min(8, len(rows)))))
    began = time.perf_counter()
    predict(classifier, rows)
    return len(rows) / (time.perf_counter() - began)


def _seconds_a_step(plan: Plan, stage: StageName, rows: _Rows) -> float:
    """Mean over the second pass through a few batches; over what there is, if that is late."""
    batches = max(1, min(BATCHES, len(rows.ours) // _batch(plan, stage)))
    chosen = rows.at(spread(rows.ours, batches * _batch(plan, stage)))
    starts = _run(plan, stage, chosen, steps=2 * batches + 1)
    first = batches if len(starts) > 2 * batches else 1
    return (starts[-1] - starts[first]) / (len(starts) - 1 - first)


def _run(plan: Plan, stage: StageName, rows: _Rows, steps: int) -> list[float]:
    """Train a stage on a fresh student.

    Returns:
        When each forward pass began, in seconds; three of them at least, if there are as many.
    """
    section = getattr(plan.recipe, stage)
    changes = {"epochs": 1e6, "max_steps": steps, "evaluations": 1, "data": "augmented"}
    recipe = plan.recipe.model_copy(update={stage: section.model_copy(update=changes)})
    student = plan.plant()
    with (
        _bench(plan, recipe, student, rows) as (bench, guide),
        _beats() as starts,
        suppress(_Enough),
    ):
        if stage == "intermediate":
            first = first_stage(bench, student, [guide])
            assert first is not None
            intermediate(bench, first, bench.run.work / "student")
        elif stage == "prediction":
            prediction(bench, student, student.model, [guide])
        else:
            labels_only(bench, student)
    return starts


@contextmanager
def _bench(
    plan: Plan, recipe: DistillRecipe, student: Student, rows: _Rows
) -> Iterator[tuple[RunContext, Teacher]]:
    """A run directory that goes away again, and the teacher as a run knows it."""
    split = plan.version.task.splits.validation[0]
    few = range(min(VALIDATED, len(rows.ours)))
    theirs = TokenizedSplits(rows.theirs, {split: rows.theirs.select(few)})
    with tempfile.TemporaryDirectory(prefix="distill-") as place:
        bench = RunContext(
            plan.version,
            recipe,
            TokenizedSplits(rows.ours, {split: rows.ours.select(few)}),
            student.tokenizer,
            plan.max_length,
            RunDirectory(Path(place)),
            Narrator(quiet=True),
        )
        yield bench, Teacher("teacher", plan.teacher, theirs, {})


@contextmanager
def _beats() -> Iterator[list[float]]:
    """Note when each forward pass of a stage begins; stop when there is no time for more."""
    starts: list[float] = []

    def note(module: nn.Module, _: Any) -> None:
        if isinstance(module, Stage):
            starts.append(time.perf_counter())
            if len(starts) > 2 and starts[-1] - starts[0] > MOST_SECONDS:
                raise _Enough

    handle = register_module_forward_pre_hook(note)
    try:
        yield starts
    finally:
        handle.remove()
