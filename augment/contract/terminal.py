"""What both command lines share: options, errors as sentences with exit codes, the entry point.

Needs typer; ``augment.contract`` does not import it.

Exit codes: 0 done · 1 unexpected · 2 usage or recipe · 3 data or disk · 4 model · 5 training
failed · 130 interrupted.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from augment.contract.errors import Fault
from augment.contract.models import first_line

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]

_RESUMES = "Finished work is kept; the same command goes on from there."
_ATOMIC = "No result was written."


def command_line(
    name: str, about: str, *, resumes: Collection[str], completion: bool
) -> typer.Typer:
    """An application whose commands end in a sentence and an exit code, whatever happens.

    ``resumes`` are the commands below it that go on where they were interrupted.
    """

    class Commands(TyperGroup):
        def invoke(self, ctx: Any) -> Any:
            with _faults_told(name):
                try:
                    return super().invoke(ctx)
                except KeyboardInterrupt as stop:
                    kept = _RESUMES if ctx.invoked_subcommand in resumes else _ATOMIC
                    typer.echo(f"\nstopped. {kept}", err=True)
                    raise typer.Exit(130) from stop

    return typer.Typer(
        name=name,
        cls=Commands,
        help=about,
        no_args_is_help=True,
        add_completion=completion,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )


@contextmanager
def _faults_told(name: str) -> Iterator[None]:
    """Turn what is raised into a sentence on stderr and an exit code."""
    try:
        yield
    except Fault as fault:
        typer.echo(fault.describe(), err=True)
        raise typer.Exit(fault.exit_code) from fault
    except (typer.TyperException, typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except Exception as error:
        variable = f"{name.upper()}_TRACEBACK"
        if os.environ.get(variable):
            traceback.print_exc()
        mistake = Fault(
            f"unexpected {type(error).__name__}: {first_line(error)}",
            f"This is a mistake of the program. Where it happened: {variable}=1 {name} …",
        )
        typer.echo(mistake.describe(), err=True)
        raise typer.Exit(mistake.exit_code) from error


def start(app: typer.Typer) -> None:
    """Run an application.

    Idle OpenMP threads sleep instead of spinning, unless the user says otherwise: on a machine that
    does anything else, spinning threads make small products up to ten times slower.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()


def print_json(value: Any) -> None:
    """Print JSON on stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
