"""The command line ``augment``."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from augment.cli.generate import generating
from augment.cli.inspect import reading
from augment.contract import Fault


class _Commands(TyperGroup):
    """Turns faults into a sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except Fault as fault:
            print(fault.describe(), file=sys.stderr)
            sys.exit(fault.exit_code)
        except KeyboardInterrupt:
            print("  the same command goes on from there.", file=sys.stderr)
            sys.exit(130)


app = typer.Typer(
    name="augment",
    cls=_Commands,
    help="Expand text data sets by word replacement into versioned Parquet.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.registered_commands += [*generating.registered_commands, *reading.registered_commands]


def main() -> None:
    """Entry point of the ``augment`` command.

    Idle OpenMP threads sleep instead of spinning, unless the user says otherwise: on a machine that
    does anything else, spinning threads make small products up to ten times slower.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()
