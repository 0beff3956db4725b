"""The command line ``distill``: places and switches here, numbers in the recipe.

Exit codes: 0 done · 1 unexpected · 2 usage or recipe · 3 data or disk · 4 model · 5 training
failed · 130 interrupted.
"""

from __future__ import annotations

import os

import typer

from distill.cli import ablate, general, serve, train

app = typer.Typer(
    help="Distil a fine-tuned encoder into a small one, from a saved version of augmented text.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    add_completion=False,
)
for commands in (train, general, ablate, serve):
    app.add_typer(commands.app)


def main() -> None:
    """The entry point of the command.

    Idle OpenMP threads sleep instead of spinning, unless the user says otherwise: on a machine that
    does anything else, spinning threads make small products up to ten times slower.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()
