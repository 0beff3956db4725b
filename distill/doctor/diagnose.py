"""``distill doctor``: what a run would meet, found out before hours are spent."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from augment.contract import Fault, Version
from augment.contract.models import quiet_libraries
from distill.doctor import checks
from distill.doctor.calibrate import Plan, StageName
from distill.doctor.checks import Finding
from distill.errors import LabelMismatch
from distill.models.limits import resolve_length
from distill.models.shapes import NAMED
from distill.models.students import Init, resolve_init
from distill.progress import Narrator
from distill.recipes.load import DEFAULT_RECIPE, DistillRecipe

CHECKS = (
    "version",
    "recipe",
    "teacher",
    "labels",
    "tokenizer",
    "lengths",
    "score",
    "student",
    "time",
    "memory",
    "disk",
)
DEFAULT_STUDENT = next(iter(NAMED))
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the diagnosis.

    Attributes:
        name: Of ``CHECKS``.
        status: ``skipped`` where an error before it stands in the way.
        finding: What was seen.
        hint: What to do about it.
        exit_code: Of an error; otherwise 0.
    """

    name: str
    status: Literal["ok", "warning", "error", "skipped"]
    finding: str
    hint: str = ""
    exit_code: int = 0


@dataclass(slots=True)
class _Visit:
    """The checks so far, by name."""

    narrator: Narrator
    found: dict[str, Check] = field(default_factory=dict)

    def examine(self, name: str, look: Callable[[], Finding[T]]) -> T | None:
        """Make a check; nothing comes back after an error."""
        self.narrator.say("checking", name)
        try:
            seen = look()
        except Fault as fault:
            name = "labels" if isinstance(fault, LabelMismatch) else name
            self.found[name] = Check(name, "error", fault.problem, fault.hint, fault.exit_code)
            return None
        status: Literal["ok", "warning"] = "warning" if seen.doubt else "ok"
        self.found[name] = Check(name, status, seen.finding, seen.doubt)
        return seen.value

    def all(self) -> list[Check]:
        """Every check in order; those that were not reached are skipped."""
        missing = "not reached: see the error above"
        return [self.found.get(name, Check(name, "skipped", missing)) for name in CHECKS]


def diagnose(
    teacher: str,
    version: Version | str | Path,
    *,
    student: str = DEFAULT_STUDENT,
    recipe: str | Path = DEFAULT_RECIPE,
    init: Init = "auto",
    plain: bool = True,
    out: str | Path = ".",
    quiet: bool = False,
) -> dict[str, Any]:
    """Check everything that a run of ``distill_task`` with these arguments would need.

    Args:
        teacher: Folder or hub name of a fine-tuned classifier.
        version: A version or a reference to one.
        student: As in ``distill_task``.
        recipe: A shipped recipe or a TOML file.
        init: How a student given by shape starts, see ``students.settle``.
        plain: Whether the run also trains the student on labels only.
        out: Where the run directory would be.
        quiet: Say nothing on stderr.

    Returns:
        ``checks``, see ``Check``; ``exit_code`` of the first error, else 0; ``forecast`` with
        seconds, parts, steps and bytes, or None where it was not reached.
    """
    quiet_libraries()
    visit = _Visit(Narrator(quiet=quiet))
    forecast = _examine(visit, teacher, version, student, recipe, init, plain, Path(out))
    found = visit.all()
    return {
        "teacher": teacher,
        "version": str(version.reference if isinstance(version, Version) else version),
        "student": student,
        "recipe": str(recipe),
        "checks": [dataclasses.asdict(check) for check in found],
        "forecast": forecast,
        "exit_code": next((check.exit_code for check in found if check.status == "error"), 0),
    }


def _examine(
    visit: _Visit,
    teacher: str,
    version: Version | str | Path,
    student: str,
    recipe: str | Path,
    init: Init,
    plain: bool,
    out: Path,
) -> dict[str, Any] | None:
    opened = visit.examine("version", lambda: checks.version(version))
    if opened is None:
        return None
    settings = visit.examine("recipe", lambda: checks.recipe(recipe, opened))
    guide = visit.examine("teacher", lambda: checks.teacher(teacher, opened))
    if guide is None:
        return None
    visit.examine("labels", lambda: checks.labels(opened, guide))
    rows = visit.examine("tokenizer", lambda: checks.tokenizer(opened, guide))
    if settings is None or rows is None:
        return None
    length = resolve_length(settings.max_length, opened.task)
    visit.examine("lengths", lambda: checks.lengths(opened, guide, rows, length))
    visit.examine("score", lambda: checks.score(opened, guide, length))
    start = resolve_init(init, student, teacher)
    plan = Plan(opened, settings, guide, student, start, length, _stages(settings, plain))
    size = visit.examine("student", lambda: checks.student(plan, rows))
    if size is None:
        return None
    forecast = visit.examine("time", lambda: checks.time(plan, rows, size))
    if forecast is None:
        return None
    visit.examine("memory", lambda: checks.memory(forecast))
    visit.examine("disk", lambda: checks.disk(forecast, out))
    return dataclasses.asdict(forecast)


def _stages(recipe: DistillRecipe, plain: bool) -> tuple[StageName, ...]:
    first: tuple[StageName, ...] = ("intermediate",) if recipe.intermediate.enabled else ()
    last: tuple[StageName, ...] = ("plain",) if plain else ()
    return (*first, "prediction", *last)
