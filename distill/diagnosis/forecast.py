"""From what a few steps took to what a whole run will take."""

from __future__ import annotations

import math
from dataclasses import dataclass

from distill.data.mixtures import draws_of
from distill.diagnosis.calibrate import STAGES, TITLES, StageName, Timings
from distill.recipes.load import DistillRecipe
from distill.recipes.mixtures import Part as PartName
from distill.recipes.schema import Training
from distill.training.schedule import passes, total_steps
from distill.training.teacher_states import GIGABYTE, NUMBER_BYTES, OFTEN

CHECKPOINTS_AT_ONCE = 3
WEIGHT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Rows:
    """How many rows there are.

    Attributes:
        augmented: Training rows, all of them.
        original: Those with ``variant`` 0.
        validation: Of all validation splits.
        selecting: Of the first one, which selects the best step.
        answered: Whether the version holds the teacher's answers already.
        unlabeled: Rows without labels, where the recipe draws any.
        taught: Those of them that stage 2 learns from; all if left out.
        tested: Of all test splits with labels.
    """

    augmented: int
    original: int
    validation: int
    selecting: int
    answered: bool = False
    unlabeled: int = 0
    taught: int | None = None
    tested: int = 0

    def parts(self, stage: StageName) -> dict[PartName, int]:
        """Rows of each part that a stage draws from."""
        made, some = self.augmented - self.original, stage == "prediction"
        blind = self.taught if some and self.taught is not None else self.unlabeled
        return {"original": self.original, "augmented": made, "unlabeled": blind}

    @property
    def tokenized(self) -> int:
        """All that are tokenized."""
        return self.augmented + self.unlabeled + self.validation


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a run.

    Attributes:
        name: What it does.
        seconds: How long.
        steps: Optimizer steps, or 0.
    """

    name: str
    seconds: float
    steps: int = 0


@dataclass(frozen=True, slots=True)
class PartDrawn:
    """A part of the rows, and how much of a stage it is.

    Attributes:
        stage: That draws from it.
        part: Its name.
        rows: It has.
        steps: As many optimizer steps as its draws would fill.
        epochs: Passes over it.
    """

    stage: StageName
    part: PartName
    rows: int
    steps: float
    epochs: float

    @property
    def title(self) -> str:
        """The stage as it is called in what is printed."""
        return TITLES[self.stage]


def mixture_of(stage: StageName, section: Training, rows: Rows) -> list[PartDrawn]:
    """What a stage draws from each part that has a share."""
    known = rows.parts(stage)
    draws = draws_of(section.draws_from, known)
    total = sum(draws.values())
    steps = total_steps(total, section.numbers)
    epochs = passes(total, section.numbers)
    return [
        PartDrawn(stage, part, own, steps * count / total, epochs * count / own)
        for part, count in draws.items()
        if (own := known[part])
    ]


@dataclass(frozen=True, slots=True)
class StatesKept:
    """What it comes to that the teacher is asked once in stage 1.

    Attributes:
        bytes: On the disk.
        seconds: To ask it.
        saved: Seconds that the steps take less.
    """

    bytes: int
    seconds: float
    saved: float


def states_kept(recipe: DistillRecipe, rows: Rows, timings: Timings) -> StatesKept | None:
    """What keeping the teacher's states comes to, where they will be kept."""
    section = recipe.intermediate
    if "intermediate" not in timings.steps or not timings.state_numbers:
        return None
    drawn = mixture_of("intermediate", section, rows)
    draws = sum(part.rows * part.epochs for part in drawn)
    seen = sum(part.rows * min(1.0, part.epochs) for part in drawn)
    size = round(seen * timings.tokens * timings.state_numbers * NUMBER_BYTES)
    if draws <= OFTEN * seen or size > section.teacher_states_gb * GIGABYTE:
        return None
    return StatesKept(size, seen / timings.teaching, draws / timings.teaching)


def time_parts(recipe: DistillRecipe, rows: Rows, timings: Timings) -> list[Part]:
    """What a run does one after the other."""
    parts = [Part("tokenizing", rows.tokenized / timings.tokenizing)]
    if math.isfinite(timings.teaching):
        parts.append(Part("teacher on validation", rows.validation / timings.teaching))
    for stage, seconds in timings.steps.items():
        section = STAGES[stage](recipe)
        drawn = mixture_of(stage, section, rows)
        steps = round(sum(part.steps for part in drawn))
        if stage == "prediction" and recipe.prediction.weights.logits and not rows.answered:
            draws = (steps + 1) * section.numbers.batch_size / steps  # one batch is fetched ahead
            answered = sum(min(part.rows, part.steps * draws) for part in drawn)
            parts.append(Part("teacher's answers", answered / timings.teaching))
        selected = 0 if stage == "intermediate" else section.evaluations * rows.selecting
        total = steps * seconds + selected / timings.answering
        if stage == "intermediate" and (kept := states_kept(recipe, rows, timings)):
            parts.append(Part("teacher's states", kept.seconds))
            total = max(0.0, total - kept.saved)
        parts.append(Part(TITLES[stage], total, steps))
    return parts


def disk_bytes(rows: Rows, timings: Timings, student_parameters: int) -> int:
    """Tokens, checkpoints (weights and two moments, three at once) and the finished students."""
    tokens = rows.tokenized * (timings.tokens * 5 + 24)
    weights = student_parameters * WEIGHT_BYTES
    return round(tokens + CHECKPOINTS_AT_ONCE * 3 * weights + len(timings.steps) * weights)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run will take.

    Attributes:
        seconds: In all.
        parts: What that is made of.
        seconds_a_step: Stage to seconds.
        memory_bytes: The peak that was seen.
        disk_bytes: Of the run directory at its largest.
        mixture: What the stages draw from each part of the rows.
        states: What it comes to that the teacher is asked once; None where it is not.
    """

    seconds: float
    parts: tuple[Part, ...]
    seconds_a_step: dict[StageName, float]
    memory_bytes: int
    disk_bytes: int
    mixture: tuple[PartDrawn, ...]
    states: StatesKept | None = None


def make_forecast(
    recipe: DistillRecipe, rows: Rows, timings: Timings, student_parameters: int
) -> Forecast:
    """Time, memory and disk of a run."""
    parts, kept = time_parts(recipe, rows, timings), states_kept(recipe, rows, timings)
    disk = disk_bytes(rows, timings, student_parameters)
    return Forecast(
        seconds=sum(part.seconds for part in parts),
        parts=tuple(parts),
        seconds_a_step=timings.steps,
        memory_bytes=timings.peak_bytes,
        disk_bytes=disk + (kept.bytes if kept else 0),
        mixture=tuple(
            part
            for stage in timings.steps
            for part in mixture_of(stage, STAGES[stage](recipe), rows)
        ),
        states=kept,
    )
