"""Commands that train for a task: a teacher, a run; and the recipes of both."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from augment.contract.terminal import (
    AsJson,
    examples,
    labeled,
    print_document,
    print_lines,
    to_copy,
)
from distill.cli.options import Init, Quiet, Recipe, Threads, Version, complete_recipes, use

app = typer.Typer()
_STUDENT = Annotated[
    str,
    typer.Option(
        help="tinybert-4l-312d, tinybert-6l-768d, a folder, or a shape: 3x312-1200-12 is "
        "layers x hidden-intermediate-heads."
    ),
]


@app.command(
    epilog=examples(
        "distill teacher data/versions/sst2 --init google-bert/bert-base-uncased --out "
        "models/sst2-teacher",
        "distill teacher data/versions/tickets --init models/minilm --recipe my.toml "
        "--out models/tickets-teacher",
    )
)
def teacher(
    version: Version,
    init: Annotated[str, typer.Option(help="Folder or hub name of a pre-trained encoder.")],
    out: Annotated[Path, typer.Option(help="The new model folder.")],
    recipe: Recipe = "quick",
    threads: Threads = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune a teacher on the original rows of a version."""
    use(threads)
    from distill.cli.output import emit, print_result
    from distill.models.guides import model_name
    from distill.teacher import fine_tune_teacher

    result = fine_tune_teacher(version, init=init, out=out, recipe=recipe, quiet=quiet)
    command = shlex.join(["distill", "run", version, "--teacher", model_name(out), "--student"])
    emit(result, as_json, print_result, [to_copy("next", f"{command} …")], kept=out)


@app.command(
    epilog=examples(
        "distill run data/versions/sst2 --teacher models/sst2-teacher --student "
        "tinybert-4l-312d --out runs/sst2",
        "distill run data/versions/tickets --teacher-init google-bert/bert-base-uncased "
        "--student tinybert-4l-312d --minutes 30 --out runs/tickets",
        "distill run data/versions/tickets --teacher labels --encoder "
        "google-bert/bert-base-uncased --student tinybert-4l-312d --out runs/tickets",
    )
)
def run(
    version: Version,
    student: _STUDENT,
    out: Annotated[Path, typer.Option(help="The run directory.")],
    teacher: Annotated[
        list[str] | None,
        typer.Option(help="Classifier, or several; labels: the version's soft labels."),
    ] = None,
    teacher_init: Annotated[
        str | None,
        typer.Option(
            "--fine-tune",
            "--teacher-init",
            help="An encoder to tune first, into OUT-teacher.",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Time for all: sets the steps, exports, reports.",
            show_default=False,
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="With --teacher labels: an untuned encoder, for stage 1."),
    ] = None,
    recipe: Recipe = "quick",
    init: Init = "auto",
    plain: Annotated[bool, typer.Option(help="Train the same student on labels only, too.")] = True,
    allow_weak_teacher: Annotated[
        bool,
        typer.Option("--allow-weak-teacher", help="Go on with one that is near chance."),
    ] = False,
    report: Annotated[
        bool,
        typer.Option("--report", help="Write OUT/report.html, too."),
    ] = False,
    threads: Threads = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Distil a teacher, or soft labels, into a student, in two stages, and measure it.

    The same command again goes on where it was interrupted.
    """
    use(threads)
    from distill.cli.output import emit, print_result
    from distill.reports.task import distill_task

    done = distill_task(
        version,
        teacher=teacher or (),
        teacher_init=teacher_init,
        minutes=minutes,
        student=student,
        out=out,
        encoder=encoder,
        recipe=recipe,
        init=init,
        plain=plain,
        allow_weak_teacher=allow_weak_teacher,
        report=report,
        quiet=quiet,
    )
    ends = _ends_of(out, served=minutes is not None, shown=report or minutes is not None)
    emit(done.result, as_json, print_result, ends, kept=out)


def _ends_of(out: Path, *, served: bool, shown: bool) -> list[Text]:
    """Where the student and the report lie, and what to do next."""
    from distill.inference.head import read_head
    from distill.reports.reading import EXPORT
    from distill.reports.task import REPORT
    from distill.runs.directory import STUDENT

    lines = [labeled("student", str(out / STUDENT))]
    lines += [labeled("report", str(out / REPORT))] * shown
    if served:
        columns = read_head(out / STUDENT, str(out)).settings.text_columns
        texts = ["--text", "…", "--text-b", "…"][: 2 * max(1, len(columns))]
        command = ["distill", "predict", str(out / EXPORT), *texts]
        lines += [labeled("export", str(out / EXPORT)), to_copy("next", shlex.join(command))]
    return lines


@app.command(
    epilog=examples(
        "distill recipe quick > my.toml",
        "distill recipe",
    )
)
def recipe(
    name: Annotated[
        str | None,
        typer.Argument(
            help="quick, paper, logits, pkd, …; all if left out.", autocompletion=complete_recipes
        ),
    ] = None,
) -> None:
    """Print a shipped recipe with its comments, or the names of all."""
    from distill.recipes.load import RECIPES

    if name is None:
        for known in RECIPES.names:
            first = RECIPES.text(known).splitlines()[0].removeprefix("# ")
            print_lines(f"  {first}")
    else:
        print_document(RECIPES.text(name), "toml")
