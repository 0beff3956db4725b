"""A few real steps of every stage, to know what all of them will take."""

from __future__ import annotations

import copy
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
from distill.data.batching import lengths_of, longest, spread
from distill.data.versions import TokenizedSplits, TokenSamples, tokenize_sample
from distill.evaluation.cost import parameter_counts
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
from distill.training.teacher_states import numbers_a_token
from distill.training.teachers import Guides, Teacher

StageName = Literal["intermediate", "prediction", "plain"]
Clock = Callable[[], float]
Most = Callable[[str], float]
"""Told what is about to be timed, gives the seconds that this may take, about."""
STAGES: dict[StageName, Callable[[DistillRecipe], Training]] = {
    "intermediate": lambda recipe: recipe.intermediate,
    "prediction": lambda recipe: recipe.prediction,
    "plain": lambda recipe: recipe.plain,
}
"""Each stage of a run with its section of the recipe, in their order."""
TITLES: dict[StageName, str] = {
    "intermediate": "stage 1",
    "prediction": "stage 2",
    "plain": "labels only",
}
BATCHES, ANSWERED, BRIEFLY, VALIDATED, MOST_ROWS = 6, 256, 64, 8, 4_096
MOST_SECONDS = 12.0
TELLING = 4
BACKWARD = 3.0
"""How many times the answer to a row a step takes that learns from it."""


def usual(_: str) -> float:
    """The seconds for each thing that is timed, where nobody is in a hurry."""
    return MOST_SECONDS


class Allowance:
    """Seconds for all that is timed: what is left is shared by what is still to be timed.

    Args:
        seconds: In all, from now on; what is loaded meanwhile counts, too.
        show: Is told the share that is done, and what comes next.
    """

    least = 0.3
    """Seconds of a thing: less time than this measures nothing."""

    def __init__(self, seconds: float, show: Callable[[float, str], object] | None = None) -> None:
        self._until = time.monotonic() + seconds
        self._show, self._parts, self._done = show, 1, 0

    def divide(self, parts: int) -> None:
        """Say how many things will be timed."""
        self._parts = parts

    def __call__(self, what: str) -> float:
        """The seconds of the next one."""
        if self._show:
            self._show(self._done / self._parts, what)
        left = max(1, self._parts - self._done)
        self._done += 1
        return max(self.least, (self._until - time.monotonic()) / left)


@dataclass(frozen=True, slots=True)
class Trial:
    """A run on sampled rows, in a folder that goes away again.

    Attributes:
        context: As a run has it.
        student: As it is before training.
        guides: What it learns from; a teacher with the same rows in its own tokens.
        tokenizing: Rows a second that a tokenizer splits.
    """

    context: TaskContext
    student: Student
    guides: Guides
    tokenizing: float

    def fresh_student(self) -> Student:
        """The student once more, untouched; to start it again may take a minute."""
        return dataclasses.replace(self.student, model=copy.deepcopy(self.student.model))

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
        state_numbers: Of a token, that are kept of the teacher where the recipe asks for it; 0
            where none can be.
    """

    steps: dict[StageName, float]
    tokenizing: float
    teaching: float
    answering: float
    tokens: float
    peak_bytes: int
    state_numbers: int = 0


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
    texts = TokenSamples(version, guides.model.tokenizer) if guides.model else ()
    student = start_student(spec, version.task, recipe, guides.model, texts)
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
    return Trial(context, student, Guides(tuple(teachers), guides.encoder), tokenizing)


def _splits(version: Version, rows: datasets.Dataset) -> TokenizedSplits:
    few = rows.select(range(min(VALIDATED, len(rows))))
    return TokenizedSplits(rows, {version.task.splits.validation[0]: few})


def calibrate(
    trial: Trial,
    stages: Sequence[StageName],
    clock: Clock = time.perf_counter,
    *,
    most: Most = usual,
    brief: bool = False,
) -> Timings:
    """Train every stage for some steps on rows whose lengths are spread like the version's.

    Args:
        trial: The run.
        stages: Those that it has.
        clock: Gives seconds.
        most: How many of them are spent on each stage, and on each model that answers.
        brief: Fewer rows are answered, and no steps on the longest rows are made.
    """
    context, rows, answers = trial.context, trial.context.tokens.train, 0.0
    count = BRIEFLY if brief else ANSWERED
    for teacher in trial.guides.teachers:
        with autocast(teacher.classifier.model.device, context.recipe.precision):
            seconds = most(f"answers of the {teacher.name}")
            answers += 1 / _rate(teacher.classifier, teacher.tokens.train, clock, count, seconds)
    nn.Module.to(trial.student.model, device())
    student = Classifier("student", eval_mode(trial.student.model), context.tokenizer)
    answering = _rate(student, rows, clock, count, most("answers of the student"))
    teaching, steps = 1 / answers if answers else math.inf, dict[StageName, float]()
    for stage in stages:
        row = BACKWARD / answering + _compared(trial, stage, 1 / answering, answers)
        steps[stage] = seconds_a_step(trial, stage, clock, most(f"steps of {TITLES[stage]}"), row)
    if not brief:
        heaviest = stages[0]
        batch_size = STAGES[heaviest](context.recipe).numbers.batch_size
        most_seconds = most("the longest rows")
        _run(trial.on(longest(rows, batch_size)), heaviest, 2, clock, most_seconds)
    tokens = float(np.mean(rows["length"]))
    numbers = numbers_a_token(
        context, lambda: intermediate_stage(context, trial.fresh_student(), trial.guides)
    )
    return Timings(steps, trial.tokenizing, teaching, answering, tokens, peak_bytes(), numbers)


def _compared(trial: Trial, stage: StageName, student: float, teachers: float) -> float:
    """Seconds, about, that the model takes for a row whose states a stage compares with its own.

    Args:
        trial: The run.
        stage: Of it.
        student: Seconds that the student takes to answer a row.
        teachers: Likewise the teachers; 0 where there are none.
    """
    network, recipe = trial.guides.network, trial.context.recipe
    reads = stage == "intermediate" or (stage == "prediction" and recipe.prediction.matches_states)
    if network is None or not reads:
        return 0.0
    sizes = [parameter_counts(own).encoder for own in (network, trial.student.model)]
    return teachers or student * sizes[0] / max(1, sizes[1])


def peak_bytes() -> int:
    """The most memory so far: of the accelerator, where there is one, else of this process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _rate(
    classifier: Classifier, rows: datasets.Dataset, clock: Clock, count: int, most: float
) -> float:
    """Rows a second: of ever more, up to ``count``, while there is time."""
    began, some = clock(), 2
    while True:
        started = clock()
        predict(classifier, rows.select(spread(rows, some)))
        seconds = clock() - started
        if some >= count or clock() - began + 4 * seconds > most:
            return some / seconds
        some = min(count, 4 * some)


def seconds_a_step(
    trial: Trial, stage: StageName, clock: Clock, most: float, row_seconds: float
) -> float:
    """Mean over the second pass through a few batches; of a slow model, from smaller ones.

    Args:
        trial: The run.
        stage: Of it.
        clock: Gives seconds.
        most: How many of them may be spent, about; what is loaded first is not counted.
        row_seconds: What a row of a step takes, about.
    """
    section = STAGES[stage](trial.context.recipe)
    trial = trial.on(_drawn(trial.context.tokens.train, parts_of(section.draws_from)))
    rows, size = trial.context.tokens.train, section.numbers.batch_size
    batches = max(1, min(BATCHES, len(rows) // size))
    if row_seconds * size * 2 * batches > most:
        return _slow_step(trial, stage, clock, most, row_seconds)
    starts = _run(trial.on(spread(rows, batches * size)), stage, 2 * batches, clock, most)
    first = batches if len(starts) > 2 * batches else 1
    return (starts[-1] - starts[first]) / (len(starts) - 1 - first)


def _slow_step(
    trial: Trial, stage: StageName, clock: Clock, most: float, row_seconds: float
) -> float:
    """Seconds of a step, from one of a single row and one of as many as there is time for.

    A step takes so long for each row, and some time whatever their number. Rows are of about the
    mean length; an epoch of one row more than a batch alternates between both sizes.
    """
    rows, size = trial.context.tokens.train, STAGES[stage](trial.context.recipe).numbers.batch_size
    few = min(size, max(2, int(most / (3 * row_seconds))))
    lengths = lengths_of(rows)
    typical = np.argsort(np.abs(lengths - lengths.mean()), kind="stable")
    starts = _run(trial.on(np.resize(typical, few + 1)), stage, 3, clock, most, batch_size=few)
    warm_up, single, *timed = np.diff(starts).tolist()
    several = timed[0] if timed else warm_up
    if few == size:
        return several
    told = timed and few >= TELLING  # of fewer rows the difference is chance
    more = max((several - single) / (few - 1), row_seconds / 2) if told else row_seconds
    return single + more * (size - 1)


def _drawn(rows: datasets.Dataset, parts: Sequence[Part]) -> NDArray[np.int64]:
    """Places of the sampled rows that a stage draws from, by whether they have a label."""
    known = has_label(torch.tensor(rows["labels"][:])).numpy()
    blind = "unlabeled" in parts
    return np.flatnonzero((known | blind) & (~known | (len(parts) > blind)))


def _run(
    trial: Trial,
    stage: StageName,
    steps: int,
    clock: Clock,
    most: float,
    batch_size: int | None = None,
) -> list[float]:
    """Train a stage on a fresh student.

    Returns:
        When each forward pass began, in seconds: one more than steps; three of them at least.
    """
    recipe = trial.context.recipe
    changes: dict[str, Any] = {
        "epochs": 1e6, "max_steps": steps + 1, "evaluations": 1, "data": "augmented"
    }  # fmt: skip
    if batch_size is not None:
        changes["batch_size"] = batch_size
    if stage == "intermediate":  # what keeping states saves is worked out
        changes["teacher_states_gb"] = 0.0
    if stage == "prediction":  # a step takes as long with labels, and nobody answers rows first
        own = recipe.prediction.weights if trial.guides.teachers else PredictionWeights()
        changes["weights"] = own.model_copy(update={"logits": 0.0, "labels": 1.0})
    section = STAGES[stage](recipe).model_copy(update=changes)
    student, guides = trial.fresh_student(), trial.guides
    with (
        tempfile.TemporaryDirectory(dir=trial.context.run.path) as folder,
        _starts(clock, steps, most) as starts,
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
def _starts(clock: Clock, steps: int, most: float) -> Iterator[list[float]]:
    """Note when each forward pass of a stage begins; stop after the steps, or when it is late."""
    starts: list[float] = []

    def note(module: nn.Module, _: Any) -> None:
        if isinstance(module, Stage):
            starts.append(clock())
            if len(starts) > steps or (len(starts) > 2 and starts[-1] - starts[0] > most):
                raise _Enough

    handle = register_module_forward_pre_hook(note)
    try:
        yield starts
    finally:
        handle.remove()
