"""A few real steps of every stage, to know what all of them will take."""

from __future__ import annotations

import dataclasses
import math
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
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

from augment.contract import Version
from distill.data.batching import longest, spread
from distill.data.versions import TokenizedSplits, tokenize_sample
from distill.evaluation.evaluate import predict
from distill.evaluation.results import Judgment
from distill.models.bf16 import autocast
from distill.models.guides import LoadedGuides
from distill.models.limits import check_length
from distill.models.loading import Classifier, Student, eval_mode
from distill.models.students import StudentSpec
from distill.pipeline import (
    intermediate_stage,
    start_student,
    train_intermediate,
    train_on_labels,
    train_prediction,
)
from distill.recipes.load import DistillRecipe
from distill.recipes.mixtures import Part, parts_of
from distill.recipes.schema import PredictionWeights, Training
from distill.runs.directory import RUN, FirstStage, RunDirectory
from distill.runs.distributed import device
from distill.runs.progress import Narrator
from distill.stages import Stage
from distill.stages.losses import has_label
from distill.training.context import TaskContext
from distill.training.teachers import Guides, Teacher

StageName = Literal["intermediate", "prediction", "plain"]
Clock = Callable[[], float]
STAGES: dict[StageName, Callable[[DistillRecipe], Training]] = {
    "intermediate": lambda recipe: recipe.intermediate,
    "prediction": lambda recipe: recipe.prediction,
    "plain": lambda recipe: recipe.plain,
}
"""Each stage of a run with its section of the recipe, in their order."""
BATCHES, ANSWERED, BRIEFLY, VALIDATED, MOST_ROWS = 6, 256, 64, 8, 4_096
MOST_SECONDS = 12.0


@dataclass(frozen=True, slots=True)
class Trial:
    """A run on sampled rows, in a folder that goes away again.

    Attributes:
        context: As a run has it.
        spec: The student.
        student: As it is before training.
        guides: What it learns from; a teacher with the same rows in its own tokens.
        tokenizing: Rows a second that a tokenizer splits.
    """

    context: TaskContext
    spec: StudentSpec
    student: Student
    guides: Guides
    tokenizing: float

    def fresh_student(self) -> Student:
        """The student once more, untouched."""
        context, guide = self.context, self.guides.model
        return start_student(self.spec, context.version.task, context.recipe, guide)

    def on(self, places: NDArray[np.int64]) -> Trial:
        """The same on some of its rows."""

        def some(tokens: TokenizedSplits) -> TokenizedSplits:
            return TokenizedSplits(tokens.train.select(places), tokens.validation)

        teachers = [
            dataclasses.replace(own, tokens=some(own.tokens)) for own in self.guides.teachers
        ]
        return dataclasses.replace(
            self,
            context=dataclasses.replace(self.context, tokens=some(self.context.tokens)),
            guides=dataclasses.replace(self.guides, teachers=tuple(teachers)),
        )


@dataclass(frozen=True, slots=True)
class Timings:
    """What was measured.

    Attributes:
        steps: Stage to seconds a step.
        tokenizing: Rows a second.
        teaching: Rows a second that the teacher answers, in the precision of training; infinite
            where there is none.
        answering: Rows a second that the student answers, in float32.
        tokens: Mean of a row, cut as in the run.
        peak_bytes: The most memory that this process ever had, steps on the longest rows included.
    """

    steps: dict[StageName, float]
    tokenizing: float
    teaching: float
    answering: float
    tokens: float
    peak_bytes: int


class _Enough(Exception):
    """There are enough measurements; caught here, never seen."""


def open_trial(
    version: Version,
    recipe: DistillRecipe,
    spec: StudentSpec,
    guides: LoadedGuides,
    rows: pa.Table,
    max_length: int,
    folder: Path,
) -> Trial:
    """Build the student and tokenize rows of the version as both models read them.

    Args:
        version: Opened.
        recipe: Resolved for its task.
        spec: The student.
        guides: Where they work.
        rows: Training rows, evenly drawn; at most ``MOST_ROWS`` of them count.
        max_length: Tokens a row is cut to.
        folder: The trial's.

    Raises:
        ModelInvalid: The student cannot be built, or cannot read rows of this length.
    """
    student = start_student(spec, version.task, recipe, guides.model)
    check_length(max_length, spec.name, student.model.config)
    table = rows.take(pa.array(range(0, len(rows), -(-len(rows) // MOST_ROWS))))
    readers = [student.tokenizer, *(own.tokenizer for own in guides.teachers)]
    began = time.perf_counter()
    tokens, *theirs = (
        _splits(version, tokenize_sample(version.task, table, reader, max_length))
        for reader in readers
    )
    tokenizing = len(readers) * len(table) / (time.perf_counter() - began)
    teachers = [
        Teacher("teacher", own, read, Judgment(scores={}))
        for own, read in zip(guides.teachers, theirs, strict=True)
    ]
    run, narrator = RunDirectory(folder), Narrator(quiet=True)
    context = TaskContext(recipe, student.tokenizer, max_length, run, narrator, version, tokens)
    return Trial(context, spec, student, Guides(tuple(teachers), guides.encoder), tokenizing)


def _splits(version: Version, rows: datasets.Dataset) -> TokenizedSplits:
    few = rows.select(range(min(VALIDATED, len(rows))))
    return TokenizedSplits(rows, {version.task.splits.validation[0]: few})


def calibrate(
    trial: Trial,
    stages: Sequence[StageName],
    clock: Clock = time.perf_counter,
    *,
    most: float = MOST_SECONDS,
    brief: bool = False,
) -> Timings:
    """Train every stage for some steps on rows whose lengths are spread like the version's.

    Args:
        trial: The run.
        stages: Those that it has.
        clock: Gives seconds.
        most: About so many of them are spent on each stage.
        brief: Fewer rows are answered, and no steps on the longest rows are made.
    """
    context, rows, teaching = trial.context, trial.context.tokens.train, math.inf
    steps = {stage: seconds_a_step(trial, stage, clock, most) for stage in stages}
    some = trial.on(spread(rows, BRIEFLY if brief else ANSWERED))
    for teacher in some.guides.teachers:
        with autocast(teacher.classifier.model.device, context.recipe.precision):
            teaching = _rate(teacher.classifier, teacher.tokens.train, clock)
    nn.Module.to(trial.student.model, device())
    student = Classifier("student", eval_mode(trial.student.model), context.tokenizer)
    answering = _rate(student, some.context.tokens.train, clock)
    if not brief:
        heaviest = stages[0]
        batch_size = STAGES[heaviest](context.recipe).numbers.batch_size
        _run(trial.on(longest(rows, batch_size)), heaviest, steps=2, clock=clock, most=most)
    tokens = float(np.mean(rows["length"]))
    return Timings(steps, trial.tokenizing, teaching, answering, tokens, peak_bytes())


def peak_bytes() -> int:
    """The most memory so far: of the accelerator, where there is one, else of this process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _rate(classifier: Classifier, rows: datasets.Dataset, clock: Clock) -> float:
    predict(classifier, rows.select(range(min(8, len(rows)))))
    began = clock()
    predict(classifier, rows)
    return len(rows) / (clock() - began)


def seconds_a_step(
    trial: Trial, stage: StageName, clock: Clock = time.perf_counter, most: float = MOST_SECONDS
) -> float:
    """Mean over the second pass through a few batches; over what there is, if that is late."""
    section = STAGES[stage](trial.context.recipe)
    trial = trial.on(_drawn(trial.context.tokens.train, parts_of(section.draws_from)))
    rows, size = trial.context.tokens.train, section.numbers.batch_size
    batches = max(1, min(BATCHES, len(rows) // size))
    some = trial.on(spread(rows, batches * size))
    starts = _run(some, stage, steps=2 * batches + 1, clock=clock, most=most)
    first = batches if len(starts) > 2 * batches else 1
    return (starts[-1] - starts[first]) / (len(starts) - 1 - first)


def _drawn(rows: datasets.Dataset, parts: Sequence[Part]) -> NDArray[np.int64]:
    """Places of the sampled rows that a stage draws from, by whether they have a label."""
    known = has_label(torch.tensor(rows["labels"][:])).numpy()
    blind = "unlabeled" in parts
    return np.flatnonzero((known | blind) & (~known | (len(parts) > blind)))


def _run(trial: Trial, stage: StageName, *, steps: int, clock: Clock, most: float) -> list[float]:
    """Train a stage on a fresh student.

    Returns:
        When each forward pass began, in seconds; three of them at least, if there are as many.
    """
    recipe = trial.context.recipe
    changes: dict[str, Any] = {
        "epochs": 1e6, "max_steps": steps, "evaluations": 1, "data": "augmented"
    }  # fmt: skip
    if stage == "prediction" and not trial.guides.teachers:  # a step takes as long with labels
        changes["weights"] = PredictionWeights(logits=0.0, labels=1.0)
    section = STAGES[stage](recipe).model_copy(update=changes)
    student, guides = trial.fresh_student(), trial.guides
    with (
        tempfile.TemporaryDirectory(dir=trial.context.run.path) as folder,
        _starts(clock, most) as starts,
        suppress(_Enough),
    ):
        (Path(folder) / RUN).touch()  # without it a run would end: its directory were gone
        context = dataclasses.replace(
            trial.context,
            recipe=recipe.model_copy(update={stage: section}),
            run=RunDirectory(Path(folder)),
        )
        if stage == "intermediate":
            first = intermediate_stage(context, student, guides)
            final = FirstStage(context.run.work / "student", context.run.origin("first stage"))
            train_intermediate(context, student, first, final)
        elif stage == "prediction":
            train_prediction(context, student, student.model, guides)
        else:
            train_on_labels(context, student)
    return starts


@contextmanager
def _starts(clock: Clock, most: float) -> Iterator[list[float]]:
    """Note when each forward pass of a stage begins; stop when there is no time for more."""
    starts: list[float] = []

    def note(module: nn.Module, _: Any) -> None:
        if isinstance(module, Stage):
            starts.append(clock())
            if len(starts) > 2 and starts[-1] - starts[0] > most:
                raise _Enough

    handle = register_module_forward_pre_hook(note)
    try:
        yield starts
    finally:
        handle.remove()
