"""``distill doctor``: what a run would meet, found out before hours are spent."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from augment.contract import Fault, Version
from augment.contract.models import quiet_libraries
from distill.data.scratch import scratch
from distill.diagnosis import checks
from distill.diagnosis.calibrate import STAGES, Timings, Trial, calibrate, open_trial
from distill.diagnosis.checks import Check
from distill.diagnosis.forecast import Forecast
from distill.errors import LabelMismatch
from distill.models.guides import GuideSpec, LoadedGuides, parse_guides
from distill.models.limits import resolve_length
from distill.models.loading import Classifier
from distill.models.shapes import NAMED
from distill.models.students import Init
from distill.pipeline import start_student
from distill.recipes.load import DEFAULT_RECIPE, DistillRecipe
from distill.runs.progress import Narrator
from distill.runs.records import Record

CHECKS = (
    "version",
    "recipe",
    "teacher",
    "labels",
    "tokenizer",
    "lengths",
    "score",
    "soft-labels",
    "student",
    "time",
    "memory",
    "disk",
)
DEFAULT_STUDENT = next(iter(NAMED))
T = TypeVar("T")


NOT_REACHED: Check[Any] = Check("not reached: see the error above", status="skipped")


class CheckResult(Record):
    """One line of the diagnosis: a name of ``CHECKS``, and what ``Check`` says of it."""

    name: str
    status: str
    finding: str
    hint: str
    exit_code: int


class Diagnosis(Record):
    """What a run would meet.

    Attributes:
        teacher: What the user called it; likewise version, student and recipe.
        checks: Every one, in order.
        forecast: Seconds, parts, steps and bytes; none where it was not reached.
        exit_code: Of the first error, else 0.
    """

    teacher: str
    version: str
    student: str
    recipe: str
    checks: tuple[CheckResult, ...]
    forecast: Forecast | None
    exit_code: int


@dataclass(slots=True)
class _Examination:
    """The run that is to be judged, as the user describes it, and the checks so far by name."""

    teacher: str
    encoder: str | None
    version: Version | str | Path
    student: str
    recipe: str | Path
    init: Init
    plain: bool
    out: Path
    narrator: Narrator
    calibrate: Callable[..., Timings]
    found: dict[str, Check[Any]] = field(default_factory=dict)

    def run(self, name: str, check: Callable[[], Check[T]]) -> T | None:
        """Make a check; nothing comes back after an error."""
        self.narrator.say("checking", name)
        try:
            seen = self.found[name] = check()
        except Fault as fault:
            name = "labels" if isinstance(fault, LabelMismatch) else name
            self.found[name] = Check(fault.problem, fault.hint, "error", fault.exit_code)
            return None
        return seen.value

    def examine(self) -> Forecast | None:
        """Make every check that can be made."""
        version = self.run("version", lambda: checks.check_version(self.version))
        if version is None:
            return None
        guides = self.run("teacher", lambda: checks.check_guides(self.named(), version))
        spec = guides.spec if guides else None
        recipe = self.run(
            "recipe", lambda: checks.check_recipe(self.recipe, version, spec, plain=self.plain)
        )
        if guides is None:
            return None
        self.run("labels", lambda: checks.check_labels(version, guides))
        if recipe:
            self.run("soft-labels", lambda: checks.check_soft_labels(version, guides.spec, recipe))
        reader = guides.model or self.own_reader(version, guides, recipe)
        if reader is None:
            return None
        more = recipe is not None and recipe.draws_unlabeled
        rows = self.run(
            "tokenizer", lambda: checks.check_tokenizer(version, reader, unlabeled=more)
        )
        if recipe is None or rows is None:
            return None
        length = resolve_length(recipe.max_length, version.task)
        self.run("lengths", lambda: checks.check_lengths(version, reader, rows, length))
        if guides.teachers:
            teacher = guides.teachers[0]
            self.run("score", lambda: checks.check_score(version, teacher, length))
        else:
            self.found["score"] = Check("no teacher model", status="skipped")

        def start(folder: Path) -> Trial:
            student = guides.spec.student(self.student, self.init)
            return open_trial(version, recipe, student, guides, rows, length, folder)

        with scratch() as folder:
            forecast = self.forecast(lambda: start(folder))
        if forecast is not None:
            self.run("memory", lambda: checks.check_memory(forecast))
            self.run("disk", lambda: checks.check_disk(forecast, self.out))
        return forecast

    def named(self) -> GuideSpec:
        """What the user's words for teacher and encoder mean."""
        return parse_guides(self.teacher, self.encoder)

    def own_reader(
        self, version: Version, guides: LoadedGuides, recipe: DistillRecipe | None
    ) -> Classifier | None:
        """The student itself, which reads the rows where there is no other model."""
        if recipe is None:
            return None

        def start() -> Check[Classifier]:
            spec = guides.spec.student(self.student, self.init)
            student = start_student(spec, version.task, recipe, None)
            return Check("", value=Classifier(spec.name, student.model, student.tokenizer))

        return self.run("student", start)

    def forecast(self, start: Callable[[], Trial]) -> Forecast | None:
        """Try the stages."""
        trial = self.run("student", lambda: checks.check_student(start()))
        if trial is None:
            return None
        enabled = trial.context.recipe.intermediate.enabled
        left_out = {"intermediate": not enabled, "plain": not self.plain}
        stages = [stage for stage in STAGES if not left_out.get(stage)]
        return self.run("time", lambda: checks.check_time(trial, stages, self.calibrate))


def diagnose(
    teacher: str | os.PathLike[str],
    version: Version | str | Path,
    *,
    student: str = DEFAULT_STUDENT,
    encoder: str | None = None,
    recipe: str | Path = DEFAULT_RECIPE,
    init: Init = "auto",
    plain: bool = True,
    out: str | Path = ".",
    quiet: bool = False,
    calibrate: Callable[..., Timings] = calibrate,
) -> Diagnosis:
    """Check everything that a run of ``distill_task`` with these arguments would need.

    Args:
        teacher: Folder or hub name of a fine-tuned classifier; ``labels`` as in ``distill_task``.
        version: A version or a reference to one.
        student: As in ``distill_task``.
        encoder: Likewise.
        recipe: A shipped recipe or a TOML file.
        init: How a student given by shape starts, see ``students.parse_student``.
        plain: Whether the run also trains the student on labels only.
        out: Where the run directory would be.
        quiet: Say nothing on stderr.
        calibrate: Times the stages of a trial.

    Examples:
        >>> from distill import doctor
        >>> found = doctor(
        ...     "models/teacher", "data/versions/reviews", student="1x32-64-4", recipe="short.toml",
        ...     quiet=True,
        ... )
        >>> found.to_pandas().columns.tolist()
        ['name', 'status', 'finding', 'hint', 'exit_code']
    """
    quiet_libraries()
    narrator, name = Narrator(quiet=quiet), os.fspath(teacher)
    done = _Examination(
        name, encoder, version, student, recipe, init, plain, Path(out), narrator, calibrate
    )
    forecast = done.examine()
    found = {name: done.found.get(name, NOT_REACHED) for name in CHECKS}
    return Diagnosis(
        teacher=name,
        version=str(version.reference if isinstance(version, Version) else version),
        student=student,
        recipe=str(recipe),
        checks=tuple(_result(name, check) for name, check in found.items()),
        forecast=forecast,
        exit_code=next((check.exit_code for check in found.values() if check.exit_code), 0),
    )


def _result(name: str, check: Check[Any]) -> CheckResult:
    return CheckResult(
        name=name,
        status=check.status,
        finding=check.finding,
        hint=check.hint,
        exit_code=check.exit_code,
    )
