"""From what a few steps took to what a whole run will take."""

from __future__ import annotations

from dataclasses import dataclass

from distill.doctor.calibrate import STAGES, StageName, Timings
from distill.recipes.load import DistillRecipe
from distill.training.schedule import total_steps

TITLES: dict[StageName, str] = {
    "intermediate": "stage 1",
    "prediction": "stage 2",
    "plain": "labels only",
}
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
    """

    augmented: int
    original: int
    validation: int
    selecting: int
    answered: bool = False


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


def time_parts(recipe: DistillRecipe, rows: Rows, timings: Timings) -> list[Part]:
    """What a run does one after the other."""
    parts = [
        Part("tokenizing", (rows.augmented + rows.validation) / timings.tokenizing),
        Part("teacher on validation", rows.validation / timings.teaching),
    ]
    for stage, seconds in timings.steps.items():
        section = STAGES[stage](recipe)
        drawn = rows.augmented if section.data == "augmented" else rows.original
        steps = total_steps(drawn, section.numbers)
        if stage == "prediction" and recipe.prediction.weights.logits and not rows.answered:
            answered = min(drawn, (steps + 1) * section.numbers.batch_size)
            parts.append(Part("teacher's answers", answered / timings.teaching))
        selected = 0 if stage == "intermediate" else section.evaluations * rows.selecting
        total = steps * seconds + selected / timings.answering
        parts.append(Part(TITLES[stage], total, steps))
    return parts


def disk_bytes(rows: Rows, timings: Timings, student_parameters: int) -> int:
    """Tokens, checkpoints (weights and two moments, three at once) and the finished students."""
    tokens = (rows.augmented + rows.validation) * (timings.tokens * 5 + 24)
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
    """

    seconds: float
    parts: tuple[Part, ...]
    seconds_a_step: dict[StageName, float]
    memory_bytes: int
    disk_bytes: int


def make_forecast(
    recipe: DistillRecipe, rows: Rows, timings: Timings, student_parameters: int
) -> Forecast:
    """Time, memory and disk of a run."""
    parts = time_parts(recipe, rows, timings)
    return Forecast(
        seconds=sum(part.seconds for part in parts),
        parts=tuple(parts),
        seconds_a_step=timings.steps,
        memory_bytes=timings.peak_bytes,
        disk_bytes=disk_bytes(rows, timings, student_parameters),
    )
