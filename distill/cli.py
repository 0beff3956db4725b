"""The command line ``distill``: places and switches here, numbers in the recipe.

Exit codes: 0 done · 1 unexpected · 2 usage or recipe · 3 data · 4 model · 5 training failed ·
130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from augment.contract import Fault

app = typer.Typer(
    help="Distil a fine-tuned encoder into a small one, from a saved version of augmented text.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    add_completion=False,
)


class Start(StrEnum):
    """How a student that is given by its shape starts."""

    random = "random"
    teacher_layers = "teacher-layers"


Version = Annotated[
    str,
    typer.Argument(
        help="A version: data/versions/sst2, data/versions/sst2@v0003 or its directory.",
        show_default=False,
    ),
]
Recipe = Annotated[str, typer.Option(help="A shipped recipe (see distill recipe) or a .toml file.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all of them if left out.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress on stderr.")]


@app.command()
def teacher(
    version: Version,
    init: Annotated[str, typer.Option(help="Folder or hub name of a pre-trained encoder.")],
    out: Annotated[Path, typer.Option(help="The new model folder.")],
    recipe: Recipe = "quick",
    threads: Threads = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune a teacher on the original rows of a version.

    Example: distill teacher data/versions/sst2 --init google-bert/bert-base-uncased
    --out models/sst2-teacher
    """
    with _guard():
        _use(threads)
        from distill.teacher import fine_tune_teacher

        result = fine_tune_teacher(version, init=init, out=out, recipe=recipe, quiet=quiet)
        _show(result, as_json, f"next        distill run {version} --teacher {out} --student …")


@app.command()
def run(
    version: Version,
    teacher: Annotated[
        list[str],
        typer.Option(
            help="Folder or hub name of a fine-tuned classifier. Given several times, stage 2 "
            "learns from the mean of their logits and stage 1 from the first."
        ),
    ],
    student: Annotated[
        str,
        typer.Option(
            help="tinybert-4l-312d, tinybert-6l-768d, a shape such as 3x312-1200-12 "
            "(layers x hidden - intermediate - heads; a BERT, another family as in "
            "roberta:3x312-1200-12), a checkpoint, or a folder with a config.json."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The run directory.")],
    recipe: Recipe = "quick",
    init: Annotated[
        Start, typer.Option(help="How a student given by shape starts.")
    ] = Start.random,
    plain: Annotated[
        bool, typer.Option(help="Also train the same student on labels only, to compare with.")
    ] = True,
    allow_weak_teacher: Annotated[
        bool, typer.Option("--allow-weak-teacher", help="Go on with a teacher near chance.")
    ] = False,
    threads: Threads = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Distil a teacher into a student, in two stages, and measure both.

    The same command again goes on where it was interrupted.

    Example: distill run data/versions/sst2 --teacher models/sst2-teacher
    --student tinybert-4l-312d --out runs/sst2
    """
    with _guard():
        _use(threads)
        from distill.pipeline import distill_task

        done = distill_task(
            version,
            teacher=teacher,
            student=student,
            out=out,
            recipe=recipe,
            init=init.value,
            plain=plain,
            allow_weak_teacher=allow_weak_teacher,
            quiet=quiet,
        )
        _show(done.result, as_json, f"student     {done.student}")


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="Folder or hub name of a classifier.")],
    version: Version,
    split: Annotated[
        str | None, typer.Option(help="A labelled split; all validation splits if left out.")
    ] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Score, weigh and time a model on a version.

    Example: distill evaluate runs/sst2/student data/versions/sst2
    """
    with _guard():
        _use(threads)
        from distill.standalone import evaluate_model

        _show(evaluate_model(model, version, split=split), as_json)


@app.command()
def recipe(
    name: Annotated[
        str | None, typer.Argument(help="quick, paper, logits, pkd, …; all if left out.")
    ] = None,
) -> None:
    """Print a shipped recipe with its comments, or the names of all.

    Example: distill recipe quick > my.toml
    """
    with _guard():
        from distill.recipe import recipe_text, shipped

        if name is None:
            for known in shipped():
                first = recipe_text(known).splitlines()[0].removeprefix("# ")
                typer.echo(f"  {first}")
        else:
            typer.echo(recipe_text(name), nl=False)


def main() -> None:
    """The entry point of the command.

    Idle OpenMP threads sleep instead of spinning, unless the user says otherwise: on a machine that
    does anything else, spinning threads make small products up to ten times slower.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()


@contextmanager
def _guard() -> Iterator[None]:
    """Turn what is raised into a sentence on stderr and an exit code."""
    try:
        yield
    except Fault as fault:
        typer.echo(fault.describe(), err=True)
        raise typer.Exit(fault.exit_code) from fault
    except KeyboardInterrupt as stop:
        typer.echo(
            "\nstopped. Finished work is kept; the same command goes on from there.", err=True
        )
        raise typer.Exit(130) from stop
    except typer.Exit:
        raise
    except Exception as error:
        traceback.print_exc()
        typer.echo(f"error: unexpected {type(error).__name__}: {error}   (exit 1)", err=True)
        raise typer.Exit(1) from error


def _use(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _show(result: dict[str, Any], as_json: bool, last: str = "") -> None:
    from rich.console import Console

    from distill.report import print_result

    if as_json:
        typer.echo(json.dumps(result, indent=2, ensure_ascii=False))
        return
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    print_result(result, console)
    if last:
        console.print(f"  {last}", markup=False)
