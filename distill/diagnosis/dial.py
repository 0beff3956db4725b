"""From minutes to steps: how many of every part fit, by what a few of them took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from distill.data.mixtures import draws_of
from distill.diagnosis.calibrate import STAGES, StageName, Timings
from distill.diagnosis.forecast import Part, Rows, time_parts
from distill.errors import UsageError
from distill.recipes.load import DistillRecipe
from distill.recipes.schema import Training
from distill.runs.progress import span
from distill.training.schedule import total_steps

LEAST_STEPS = 10
"""Of a part: fewer teach nothing."""
EVALUATING = 0.2
"""The share of a part's time that its evaluations may take before there are fewer."""
RESERVE = 0.05
"""Of the time, for checkpoints and what nobody foresees."""
MODELS, FORMS = 3, 4
"""What is timed when the run ends: teacher and students; and an export's forms."""
_SHARES = (1e-5, 1e5)
_HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Costs:
    """What every part takes.

    Attributes:
        recipe: Every number known: its own steps are what all parts are stretched or cut from.
        rows: How many there are.
        timings: Of the run.
        tuning: Seconds of a step of the teacher; None where one is given.
    """

    recipe: DistillRecipe
    rows: Rows
    timings: Timings
    tuning: float | None = None

    @property
    def sections(self) -> tuple[str, ...]:
        """The sections of the recipe that take steps."""
        return (*(["teacher"] if self.tuning is not None else []), *self.timings.steps)

    def at(self, share: float) -> DistillRecipe:
        """The recipe with so many times its own steps in every part, at most all its epochs.

        Where there is less time than the recipe asks for the teacher is cut by the root of it:
        nothing that comes later makes up for a weak one.
        """
        changed = {name: self._section(name, share) for name in self.sections}
        return self.recipe.model_copy(update=changed)

    def parts(self, recipe: DistillRecipe) -> list[Part]:
        """What the run does one after the other, and how long each takes."""
        found = time_parts(recipe, self.rows, self.timings)
        if self.tuning is None:
            return found
        steps = recipe.teacher.numbers.max_steps or 0
        seconds = steps * self.tuning + recipe.teacher.evaluations * self._evaluation("teacher")
        tokenizing = (self.rows.original + self.rows.validation) / self.timings.tokenizing
        return [Part("teacher", tokenizing + seconds, steps), *found]

    def _section(self, name: str, share: float) -> Training:
        section: Training = getattr(self.recipe, name)
        known = self.rows.parts("plain" if name == "teacher" else _stage(name))
        rows, numbers = sum(draws_of(section.draws_from, known).values()), section.numbers
        every = total_steps(rows, numbers.model_copy(update={"max_steps": None}))
        own = total_steps(rows, numbers)
        share = share**0.5 if name == "teacher" and share < 1 else share
        steps = min(every, max(LEAST_STEPS, round(share * own)))
        seconds = EVALUATING * steps * self._step(name)
        fitting = int(seconds / max(self._evaluation(name), 1e-9))
        fewer = max(1, min(section.evaluations, fitting, steps))
        return section.model_copy(update={"max_steps": steps, "evaluations": fewer})

    def _step(self, name: str) -> float:
        return self.tuning or 0.0 if name == "teacher" else self.timings.steps[_stage(name)]

    def _evaluation(self, name: str) -> float:
        """Seconds of one; the stage that is not evaluated has none."""
        if name == "intermediate":
            return 0.0
        rate = self.timings.teaching if name == "teacher" else self.timings.answering
        return self.rows.selecting / rate

    def ending(self) -> float:
        """Seconds to measure what was made, to export it, and to write the report, about."""
        rates = [min(self.timings.teaching, self.timings.answering), self.timings.answering]
        return _FIXED + sum(
            models * (min(_TIMED, _TIMED_ROWS / rate) + 2 * self.rows.validation / rate)
            for models, rate in zip((1, MODELS - 1 + FORMS), rates, strict=True)
        )


_FIXED = 20.0
"""Seconds of baselines, graphs and files."""
_TIMED, _TIMED_ROWS = 11.0, 2500
"""Of a model: the most seconds that it is timed for, or as many rows as that takes."""


def _stage(name: str) -> StageName:
    return next(stage for stage in STAGES if stage == name)


@dataclass(frozen=True, slots=True)
class Choice:
    """What fits.

    Attributes:
        recipe: With the steps.
        parts: What it comes to.
        whole: Whether all epochs of the recipe fit, so that more time would not be used.
    """

    recipe: DistillRecipe
    parts: tuple[Part, ...]
    whole: bool

    @property
    def seconds(self) -> float:
        """Of all parts."""
        return sum(part.seconds for part in self.parts)


def choose(costs: Costs, seconds: float, *, spent: float = 0.0) -> Choice:
    """The most steps that fit, in every part the same share of the recipe's own.

    Args:
        costs: What they take.
        seconds: Given, from the start of the command to the report.
        spent: Of them, so far.

    Raises:
        UsageError: Not even ``LEAST_STEPS`` of every part fit.
    """
    left = seconds * (1 - RESERVE) - spent - costs.ending()

    def taken(share: float) -> float:
        return sum(part.seconds for part in costs.parts(costs.at(share)))

    low, high = _SHARES
    if taken(low) > left:
        least = (taken(low) + spent + costs.ending()) / (1 - RESERVE)
        raise UsageError(
            f"--minutes {seconds / 60:g} is too little: to load, to measure and to export takes "
            f"about {span(spent + costs.ending())}, and {LEAST_STEPS} steps of each part "
            f"{span(taken(low))}.",
            f"Give at least {-(-round(least) // 60)}.",
        )
    whole = taken(high) <= left
    for _ in range(0 if whole else _HALVINGS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if taken(middle) <= left else (low, middle)
    recipe = costs.at(high if whole else low)
    return Choice(recipe, tuple(costs.parts(recipe)), whole)


def steps_of(recipe: DistillRecipe, sections: tuple[str, ...]) -> Mapping[str, dict[str, int]]:
    """Section → its steps and evaluations, as a recipe names them."""
    return {
        name: {"max_steps": own.numbers.max_steps or 0, "evaluations": own.evaluations}
        for name in sections
        for own in [getattr(recipe, name)]
    }
