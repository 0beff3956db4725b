"""A run from an encoder to a served student: each part as its own command makes it.

OUT-teacher/          distill teacher, with ``teacher_init``
OUT/                  distill run
OUT/minutes/          with ``minutes``: the steps that were chosen, as a recipe too
OUT/export/           with ``minutes``: distill export, in the smallest form that keeps the score
OUT/report.html       with ``minutes`` or ``report``: distill report
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from augment.contract import Version, process
from augment.contract.files import new_place
from augment.contract.foreign import counted
from augment.contract.version import open_checked
from distill import pipeline
from distill.diagnosis.dial import timed_share
from distill.diagnosis.minutes import (
    Asked,
    check_minutes,
    measure_costs,
    recipe_in_minutes,
    teacher_of,
)
from distill.errors import UsageError, WeakTeacher
from distill.models.guides import parse_guides
from distill.models.students import Init
from distill.recipes.load import DEFAULT_RECIPE, DistillRecipe
from distill.reports.reading import EXPORT
from distill.reports.writing import write_report
from distill.runs.directory import RunDirectory
from distill.runs.distributed import on_main_process
from distill.runs.journal import timed
from distill.runs.listing import Run
from distill.runs.progress import Narrator, span
from distill.serving.smallest import export_smallest
from distill.teacher import fine_tune_teacher

REPORT = "report.html"


def distill_task(
    version: Version | str | Path,
    *,
    student: str,
    out: str | Path,
    teacher: str | Path | Sequence[str | Path] = (),
    teacher_init: str | None = None,
    minutes: float | None = None,
    encoder: str | Path | None = None,
    recipe: str | Path | DistillRecipe = DEFAULT_RECIPE,
    init: Init = "auto",
    plain: bool = True,
    allow_weak_teacher: bool = False,
    report: bool = False,
    quiet: bool = False,
) -> Run:
    """Distil a teacher, or soft labels, into a student, in two stages, and measure it.

    The same call again goes on where it was interrupted, or returns the result.

    Args:
        version: A version or a reference such as ``data/versions/sst2@v0003``.
        student: A published name, a shape, a checkpoint or a config: ``students.parse_student``.
        out: The run directory.
        teacher: A fine-tuned classifier; of several, stage 1 takes the first, stage 2 their mean.
            ``labels``: the soft labels of the version's rows teach, and no model is needed.
        teacher_init: In its place: an encoder that is tuned first, in ``OUT-teacher``.
        minutes: What may be spent from the start of the call to its end. It decides the steps of
            every part, by what a few of them take, once for good; then the student is exported.
        encoder: With ``labels``: what stage 1 learns from, else left out, and what gives a
            student its vocabulary and layers. An untuned encoder or a masked LM.
        recipe: A shipped recipe, a TOML file, or one resolved for the task.
        init: How a student given by shape starts, see ``students.parse_student``.
        plain: Also train the same student on labels only, to compare with.
        allow_weak_teacher: Go on with a teacher, or soft labels, near chance.
        report: Write it all as a page, ``OUT/report.html``; with ``minutes`` in any case.
        quiet: Say nothing on stderr.

    Raises:
        Fault: With a sentence that says what to do.

    Examples:
        >>> from distill import distill_task
        >>> run = distill_task(
        ...     "data/versions/reviews", teacher="models/teacher", student="1x32-64-4",
        ...     out="runs/reviews", recipe="short.toml", plain=False, quiet=True,
        ... )
        >>> run.table().columns[0], run.student.name
        ('model', 'student')
    """
    began, narrator, place = process.began(), Narrator(quiet=quiet), new_place(out)
    if minutes is not None:
        check_minutes(minutes)
    if teacher_init is not None and teacher:
        raise UsageError("--teacher-init makes the teacher that --teacher names.", "Give one.")
    guides = parse_guides(teacher if teacher_init is None else Path(teacher_init), encoder)
    if minutes is not None:
        version = open_checked(version)
        asked = Asked(version, guides, student, recipe, init, plain, teacher_init, minutes)
        recipe = recipe_in_minutes(asked, RunDirectory(place), narrator, began, measure_costs)
    if teacher_init is not None:
        RunDirectory(place).refuse_foreign()  # before a teacher is tuned for it
        teacher = teacher_of(place)
        fine_tune_teacher(version, init=teacher_init, out=teacher, recipe=recipe, quiet=quiet)
    try:
        done = pipeline.distill_task(
            version, teacher=teacher, student=student, out=out, encoder=encoder, recipe=recipe,
            init=init, plain=plain, allow_weak_teacher=allow_weak_teacher, quiet=quiet,
        )  # fmt: skip
    except WeakTeacher as weak:
        if minutes is None or teacher_init is None:
            raise
        raise WeakTeacher(
            weak.problem,
            f"Give more than {counted(minutes, 'minute')}, and another --out.\n"
            "To go on all the same: --allow-weak-teacher",
        ) from weak
    if minutes is not None:
        with timed(done.path, "export"):
            form = export_smallest(
                str(done.path), open_checked(version), out=done.path / EXPORT,
                share=timed_share(minutes), quiet=quiet,
            )  # fmt: skip
        narrator.say("export", str(form))
    if report or minutes is not None:
        on_main_process(lambda: write_report(out, place / REPORT))
    if minutes is not None:
        given = span(60 * minutes)
        narrator.say("minutes", f"{span(time.monotonic() - began)} by now, {given} were given")
    return done
