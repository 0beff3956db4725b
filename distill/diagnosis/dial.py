"""From minutes to steps: how many of every part fit, by what a few of them took."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from distill.data.mixtures import draws_of
from distill.diagnosis.calibrate import STAGES, StageName, Timings
from distill.diagnosis.forecast import Part, Rows, time_parts
from distill.errors import UsageError
from distill.models.width_pruning import TEXTS, TOKENS
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
FORMS = 5
"""What is measured of an export: the model, and its forms."""
USUAL_MINUTES = 10.0
"""Given less time than this, the forms of an export are timed for less than usual."""
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
        starting: Seconds until the student can be trained, where it is a narrowed teacher.
        timed: For what share of the usual seconds the forms of an export are timed.
    """

    recipe: DistillRecipe
    rows: Rows
    timings: Timings
    tuning: float | None = None
    starting: float = 0.0
    timed: float = 1.0

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
        found = [Part("narrowing", self.starting)] if self.starting else []
        found += time_parts(recipe, self.rows, self.timings)
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

    def ends(self) -> list[Part]:
        """What follows the last step, and how long it takes, about.

        Every model is measured and timed; a teacher that is tuned first twice. For the export all
        rows are counted and compared in both vocabularies, and both models answer once more.
        """
        rows, timings = self.rows, self.timings
        students = 1 + ("plain" in timings.steps)
        measured = students * self._measured(timings.answering, rows.tested)
        if timings.teaching < math.inf:
            teachers = 1 + (self.tuning is not None)
            measured += teachers * self._measured(timings.teaching, rows.tested)
        vocabulary = (
            2 * rows.tokenized / timings.tokenizing + 2 * rows.validation / timings.answering
        )
        forms = FORMS * self._measured(timings.answering, share=self.timed)
        return [
            Part("measuring", _PREPARING + measured),
            Part("export", _WRITING + vocabulary + forms),
            Part("report", _PAGE + _timed(timings.answering) / 2),
        ]

    @property
    def ending(self) -> float:
        """Seconds of all that."""
        return sum(part.seconds for part in self.ends())

    def _measured(self, rate: float, tested: int = 0, share: float = 1.0) -> float:
        """Seconds to score and time a model that answers so many rows a second."""
        return (self.rows.validation + tested) / rate + _timed(rate, share)


def timed_share(minutes: float) -> float:
    """For what share of the usual seconds the forms of an export are timed."""
    return min(1.0, minutes / USUAL_MINUTES)


def narrowing_seconds(timings: Timings) -> float:
    """Seconds, about, to make a teacher narrower, once for both students.

    It answers texts of the version, and its mapped layers do so again; each layer of the student
    runs seven times, and what is solved takes about as long as once more.
    """
    rows = TEXTS * TOKENS / timings.tokens
    return rows * (2 / timings.teaching + 8 / timings.answering)


_PREPARING, _WRITING, _PAGE = 7.0, 3.0, 4.0
"""Seconds of baselines and loading, of graphs and files, of charts."""
_TIMED, _TIMED_ROWS, _TIMED_AT_LEAST = 11.0, 2500, 128
"""Of a model: the most seconds that it is timed for, or as many rows as that takes; and rows that
are answered however long they take."""


def _timed(rate: float, share: float = 1.0) -> float:
    """Seconds that a model is timed for which answers so many rows a second."""
    return min(share * _TIMED, _TIMED_ROWS / rate) + _TIMED_AT_LEAST / rate


def _stage(name: str) -> StageName:
    return next(stage for stage in STAGES if stage == name)


@dataclass(frozen=True, slots=True)
class Choice:
    """What fits.

    Attributes:
        recipe: With the steps.
        parts: What it comes to.
        whole: Whether all epochs of the recipe fit, so that more time would not be used.
        own: Seconds that the recipe's own steps take, from the start of the command to the report.
    """

    recipe: DistillRecipe
    parts: tuple[Part, ...]
    whole: bool
    own: float

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
    left = seconds * (1 - RESERVE) - spent - costs.ending

    def taken(share: float) -> float:
        return sum(part.seconds for part in costs.parts(costs.at(share)))

    low, high = _SHARES
    least, own = ((taken(share) + spent + costs.ending) / (1 - RESERVE) for share in (low, 1.0))
    if taken(low) > left:
        raise UsageError(
            f"--minutes {seconds / 60:g} is too little: to load, to measure and to export takes "
            f"about {span(spent + costs.ending)}, and {LEAST_STEPS} steps of each part "
            f"{span(taken(low))}.",
            f"Give at least {math.ceil(least / 60)}; all steps of the recipe take {span(own)}.",
        )
    whole = taken(high) <= left
    for _ in range(0 if whole else _HALVINGS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if taken(middle) <= left else (low, middle)
    recipe = costs.at(high if whole else low)
    return Choice(recipe, tuple(costs.parts(recipe)), whole, own)


def steps_of(recipe: DistillRecipe, sections: tuple[str, ...]) -> Mapping[str, dict[str, int]]:
    """Section → its steps and evaluations, as a recipe names them."""
    return {
        name: {"max_steps": own.numbers.max_steps or 0, "evaluations": own.evaluations}
        for name in sections
        for own in [getattr(recipe, name)]
    }
