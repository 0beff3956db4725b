"""``--minutes``: steps are chosen once, before the first of them, and kept for good.

RUN/minutes/plan.json     what was asked for, what was measured, what was chosen
RUN/minutes/recipe.toml   the recipe with these steps: the single commands take it as it is
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomlkit
from torch import nn

from augment.contract import Version
from augment.contract.files import disk_errors, locked, nearest, write_json, write_text
from augment.contract.foreign import counted, shown
from augment.contract.models import quiet_libraries
from distill.data.row_sets import count_taught
from distill.data.scratch import scratch
from distill.data.versions import labeled_tests, sample_drawn
from distill.diagnosis.calibrate import (
    BACKWARD,
    MOST_ROWS,
    STAGES,
    Allowance,
    StageName,
    calibrate,
    open_trial,
    seconds_a_step,
)
from distill.diagnosis.checks import count_rows
from distill.diagnosis.dial import Choice, Costs, choose, narrowing_seconds, steps_of, timed_share
from distill.diagnosis.forecast import Part
from distill.errors import DataInvalid, RunDiffers, UsageError
from distill.models.folders import folder_digest
from distill.models.guides import GuideSpec, LoadedGuides, load_guides
from distill.models.limits import resolve_length
from distill.models.loading import eval_mode, load_untuned, read_config
from distill.models.students import Init, ShapeSpec, StudentSpec, parse_student
from distill.recipes.auto import recipe_for
from distill.recipes.load import DistillRecipe, load_recipe
from distill.runs.directory import LOCK, MINUTES, RunDirectory
from distill.runs.distributed import device, world_size
from distill.runs.progress import Gauge, Narrator, span
from distill.runs.records import (
    Record,
    commit_sealed,
    discard,
    flaw,
    read_json,
    read_object,
)

PLAN, RECIPE = "plan.json", "recipe.toml"
LEAST, MOST = 0.5, 60 * 24 * 30
TIMING_SHARE, MOST_TIMING = 0.05, 90.0
"""Of the time, and seconds, for all that is timed before the choice, at most."""


class PlannedPart(Record):
    """A part of a run: its optimizer steps, or 0, and about how long it takes."""

    name: str
    steps: int
    seconds: float


class Plan(Record):
    """``plan.json``.

    Attributes:
        minutes: Given.
        identity: What the choice depends on.
        steps: Section of the recipe → ``max_steps`` and ``evaluations``.
        parts: What the run does one after the other.
        spent: Seconds until the choice was made.
        ending: Seconds to measure, to export and to write the report, about.
        ends: What that is made of.
        whole: Whether more time would not be used.
        own: Seconds that the recipe's own steps would take in all.
    """

    minutes: float
    identity: dict[str, Any]
    steps: dict[str, dict[str, int]]
    parts: tuple[PlannedPart, ...]
    spent: float
    ending: float
    ends: tuple[PlannedPart, ...] = ()
    whole: bool
    own: float = 0.0

    @property
    def seconds(self) -> float:
        """Of the whole, as it was foreseen."""
        return self.spent + sum(part.seconds for part in self.parts) + self.ending

    def lines(self) -> Iterator[tuple[str, str]]:
        """What was chosen, in words."""
        chosen = [part for part in self.parts if part.steps]
        yield (
            "minutes",
            " · ".join(f"{p.name} {counted(p.steps, 'step')}, {span(p.seconds)}" for p in chosen),
        )
        share = 100 / (60 * self.minutes)
        ends = [f"{p.name} {span(p.seconds)} ({share * p.seconds:.0f}%)" for p in self.ends]
        about = f"at most {span(self.seconds)} of {span(60 * self.minutes)}"
        more = "; more steps than these the recipe does not ask for" * self.whole
        yield "", f"{about}, of it {' · '.join(ends) or 'measuring, export'}{more}"
        if self.own > 60 * self.minutes:
            yield (
                "",
                (
                    f"fewer steps than the recipe's own, which fit into --minutes "
                    f"{math.ceil(self.own / 60)}"
                ),
            )


@dataclass(frozen=True, slots=True)
class Asked:
    """A run whose steps are to be chosen, as the user describes it.

    Attributes:
        version: Opened.
        guides: What the student learns from; of ``teacher_init`` the teacher that it becomes.
        student: As in ``distill_task``; likewise recipe, init and plain.
        teacher_init: The encoder that is tuned first, if there is one.
        minutes: Given, from the start of the command to the report.
    """

    version: Version
    guides: GuideSpec
    student: str
    recipe: str | Path | DistillRecipe
    init: Init
    plain: bool
    teacher_init: str | None
    minutes: float

    def identity(self) -> dict[str, Any]:
        """What the choice depends on, as JSON values."""
        tuned = self.teacher_init
        model = tuned if tuned is not None else self.guides.model
        return {
            "minutes": self.minutes,
            "version": self.version.manifest.id,
            **({"teacher": folder_digest(tuned)} if tuned else self.guides.identity()),
            "tuned": tuned is not None,
            **parse_student(self.student, self.init, model).identity(),
            "recipe": self.settings.model_dump(mode="json"),
            "plain": self.plain,
        }

    @property
    def settings(self) -> DistillRecipe:
        """The recipe for the task, ``auto`` where it says so."""
        return load_recipe(self.recipe, self.version.task.name)


Measure = Callable[[Asked, Allowance], Costs]
"""Times some steps, in the seconds that it is allowed."""


def check_minutes(minutes: float) -> None:
    """Refuse what no run fits in, before anything is loaded.

    Raises:
        UsageError: It is no time, or one in which nothing can be done.
    """
    if not (math.isfinite(minutes) and LEAST <= minutes <= MOST):
        raise UsageError(
            f"--minutes {minutes:g} is no time to train in.",
            f"Give a number from {LEAST:g} to {MOST:,}.",
        )
    if world_size() > 1:
        raise UsageError(
            "--minutes times the steps of one process, and these are several.",
            "Name a recipe with steps instead: --recipe FILE",
        )


def recipe_in_minutes(
    asked: Asked, run: RunDirectory, narrator: Narrator, began: float, measure: Measure
) -> Path:
    """The recipe with the steps that fit: chosen now, or kept from an earlier call.

    Args:
        asked: The run.
        run: Its directory; it need not be there yet.
        narrator: Is told what was chosen.
        began: When the command began, on the monotonic clock.
        measure: Times some steps.

    Raises:
        UsageError: The time is too little, or the directory holds other things.
        RunDiffers: Something else was asked for before.
        DataInvalid: What was chosen is lost, and steps have been trained by it.
    """
    quiet_libraries()
    identity, place = asked.identity(), run.path / MINUTES
    origin = run.of(identity).origin(MINUTES)
    run.refuse_foreign()
    with _held(run):
        if not _is_kept(run, identity, asked):
            seconds = 60 * asked.minutes
            most = min(MOST_TIMING, TIMING_SHARE * seconds)
            about = f"some steps of models that are thrown away, for about {span(most)} …"
            narrator.say("timing", about)
            with closing(Gauge(narrator, "timing")) as gauge:
                costs = measure(asked, Allowance(most, gauge.show))
            spent = time.monotonic() - began
            choice = choose(costs, seconds, spent=spent)
            plan = _plan(asked, identity, costs, choice, spent)
            commit_sealed(place, origin, lambda folder: _fill(folder, asked, plan))
        plan = read_json(place / PLAN, Plan)
    for line in plan.lines():
        narrator.say(*line)
    return place / RECIPE


def _plan(
    asked: Asked, identity: dict[str, Any], costs: Costs, choice: Choice, spent: float
) -> Plan:
    def named(part: Part) -> PlannedPart:
        return PlannedPart(name=part.name, steps=part.steps, seconds=round(part.seconds, 1))

    return Plan(
        minutes=asked.minutes,
        identity=identity,
        steps=dict(steps_of(choice.recipe, costs.sections)),
        parts=tuple(map(named, choice.parts)),
        spent=round(spent, 1),
        ending=round(costs.ending, 1),
        ends=tuple(map(named, costs.ends())),
        whole=choice.whole,
        own=round(choice.own, 1),
    )


def _fill(folder: Path, asked: Asked, plan: Plan) -> None:
    """Write the plan and the recipe, which must read back as what it is."""
    changed = {
        name: getattr(asked.settings, name).model_copy(update=own)
        for name, own in plan.steps.items()
    }
    recipe = asked.settings.model_copy(update=changed)
    about = [
        f"# {shown(asked.recipe)}, with the steps that fit in {counted(plan.minutes, 'minute')}:"
    ]
    about += [f"# {part.name}: {counted(part.steps, 'step')}" for part in plan.parts if part.steps]
    toml = "\n".join([*about, "", tomlkit.dumps(_given(recipe.model_dump(mode="json")))])
    write_json(folder / PLAN, plan.to_json())
    write_text(folder / RECIPE, toml)
    if load_recipe(folder / RECIPE, asked.version.task.name) != recipe:
        raise AssertionError("a recipe is read back as another one")


def _given(table: Mapping[str, Any]) -> dict[str, Any]:
    """TOML has no word for nothing: such keys are left out."""
    return {
        key: _given(value) if isinstance(value, dict) else value
        for key, value in table.items()
        if value is not None
    }


@contextmanager
def _held(run: RunDirectory) -> Iterator[None]:
    """Hold the directory; where the choice fails, a new one goes away again."""
    is_new = not run.path.exists()
    with disk_errors(nearest(run.path)):
        run.path.mkdir(parents=True, exist_ok=True)
    try:
        with locked(run.path / LOCK):
            yield
    except BaseException:
        if is_new and not (run.path / MINUTES).exists():
            (run.path / LOCK).unlink(missing_ok=True)
            with suppress(OSError):
                run.path.rmdir()
        raise


def _is_kept(run: RunDirectory, identity: dict[str, Any], asked: Asked) -> bool:
    """Whether the choice of an earlier call is there; it is that of this run."""
    place = run.path / MINUTES
    origin = run.of(identity).origin(MINUTES)
    why = flaw(place, origin)
    if not why:
        return True
    stored = (read_object(place / PLAN) or {}).get("identity")
    if isinstance(stored, dict):
        run.compare(stored, identity)
    trained = run.begun or (teacher_of(run.path).exists() and asked.teacher_init is not None)
    if not place.exists() and run.begun:
        raise RunDiffers(
            f"{run.path} was begun without --minutes.",
            "Repeat the command that began it, or choose another --out directory.",
        )
    if trained:
        raise DataInvalid(
            f"{place} {why}: nobody can say how many steps were chosen.",
            f"Put it back, or choose another --out directory; {teacher_of(run.path)} may be named "
            "as --teacher there.",
        )
    discard(place)
    return False


def teacher_of(out: Path) -> Path:
    """Where the teacher of a run lies that is tuned before it."""
    named = out.resolve() if out.name in ("", "..") else out
    return named.with_name(f"{named.name}-teacher")


def measure_costs(asked: Asked, most: Allowance) -> Costs:
    """Time some real steps of every part, on models that are thrown away."""
    version, task, tuned = asked.version, asked.version.task, asked.teacher_init
    taught = None if asked.guides.teachers else count_taught(version)
    recipe = asked.guides.settle(recipe_for(version, asked.settings, taught=taught), task)
    left_out = {"intermediate": not recipe.intermediate.enabled, "plain": not asked.plain}
    stages: list[StageName] = [stage for stage in STAGES if not left_out.get(stage)]
    guides = _guides(asked, recipe.seed)
    rows = sample_drawn(version, MOST_ROWS, unlabeled=recipe.draws_unlabeled)
    length = resolve_length(recipe.max_length, task)
    spec = asked.guides.student(asked.student, asked.init)
    shape_alone = _shape_alone(asked, spec, guides)
    most.divide(len(guides.teachers) + 1 + len(stages) + (tuned is not None))
    with scratch() as folder:
        trial = open_trial(version, recipe, shape_alone, guides, rows, length, folder)
        counted = replace(count_rows(trial), tested=sum(map(version.rows, labeled_tests(version))))
        timings = calibrate(trial, stages, most=most, brief=True)
        starting = narrowing_seconds(timings) if shape_alone != spec else 0.0
        timed = timed_share(asked.minutes)
        costs = Costs(recipe, counted, timings, starting=starting, timed=timed)
        if tuned is None:
            return costs
        wide = recipe_for(version, asked.settings, read_config(tuned).hidden_size)
        alone = LoadedGuides(GuideSpec(()), (), None)
        labels = wide.model_copy(update={"plain": wide.teacher})
        encoder = parse_student(tuned, "auto", None)
        place = folder / "teacher"
        place.mkdir()
        trial = open_trial(version, labels, encoder, alone, rows, length, place)
        row = BACKWARD / timings.teaching
        tuning = seconds_a_step(
            trial, "plain", time.perf_counter, most("steps of the teacher"), row
        )
    recipe = recipe.model_copy(update={"teacher": wide.teacher})
    return replace(costs, recipe=recipe, tuning=tuning)


def _shape_alone(asked: Asked, spec: StudentSpec, guides: LoadedGuides) -> StudentSpec:
    """A student that is as fast; one that is its teacher made narrower takes long to start."""
    guide = guides.model
    if guide is None or not isinstance(spec, ShapeSpec) or spec.init == "random":
        return spec
    narrower = spec.shape.hidden < guide.model.config.hidden_size
    fits = parse_student(asked.student, "auto", asked.guides.model) == spec
    return replace(spec, init="random") if narrower and fits else spec


def _guides(asked: Asked, seed: int) -> LoadedGuides:
    """The models; an encoder that is tuned first has a fresh head, which is as fast."""
    if (name := asked.teacher_init) is None:
        loaded = load_guides(asked.guides, asked.version.task, seed)
    else:
        untuned = load_untuned(name, asked.version.task, seed)
        eval_mode(untuned.model).requires_grad_(False)
        loaded = LoadedGuides(asked.guides, (untuned,), None)
    if (model_read := loaded.model) is not None:
        nn.Module.to(model_read.model, device())
    return loaded
