"""What the commands share: options, errors as sentences with exit codes, results on stdout."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augment.contract import Fault

if TYPE_CHECKING:
    from rich.console import Console


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


KEPT = "Finished work is kept; the same command goes on from there."
UNCHANGED = "Nothing was written."


class Start(StrEnum):
    """How a student that is given by its shape starts; auto: teacher-layers where that works."""

    auto = "auto"
    random = "random"
    teacher_layers = "teacher-layers"


Init = Annotated[
    Start,
    typer.Option(
        help="How a student given by shape starts; auto: from the teacher's layers, made narrower "
        "if need be, where its kind and heads are the teacher's."
    ),
]


@contextmanager
def guard(stopped: str = KEPT) -> Iterator[None]:
    """Turn what is raised into a sentence on stderr and an exit code.

    Args:
        stopped: What Ctrl-C means for the work that was begun.
    """
    try:
        yield
    except Fault as fault:
        typer.echo(fault.describe(), err=True)
        raise typer.Exit(fault.exit_code) from fault
    except KeyboardInterrupt as stop:
        typer.echo(f"\nstopped. {stopped}", err=True)
        raise typer.Exit(130) from stop
    except typer.Exit:
        raise
    except Exception as error:
        traceback.print_exc()
        typer.echo(f"error: unexpected {type(error).__name__}: {error}   (exit 1)", err=True)
        raise typer.Exit(1) from error


def use(threads: int | None) -> None:
    """Let torch use this many threads."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def show(result: dict[str, Any], as_json: bool, last: str = "") -> None:
    """Print the result of a run or an evaluation, and a line about what comes next."""
    from distill.cli.output import print_result

    if as_json:
        print_json(result)
        return
    console = stdout()
    print_result(result, console)
    if last:
        console.print(f"  {last}", markup=False)


def print_json(value: Any) -> None:
    """Print JSON on stdout."""
    from distill.distributed import is_main_process

    if is_main_process():
        typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def stdout() -> Console:
    """A console for results; of several processes the first one prints."""
    from rich.console import Console

    from distill.distributed import is_main_process

    return Console(file=sys.stdout, quiet=not is_main_process(), highlight=False, soft_wrap=True)
