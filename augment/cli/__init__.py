"""The command line ``augment``: places and switches here, numbers in the recipe."""

from __future__ import annotations

from augment.cli import generate, inspect
from augment.contract.terminal import command_line, start

app = command_line(
    "augment",
    "Expand text data sets by word replacement into versioned Parquet.",
    resumes=("run",),
    completion=True,
)
for commands in (generate, inspect):
    app.add_typer(commands.app)


def main() -> None:
    """The entry point of the command."""
    start(app)
