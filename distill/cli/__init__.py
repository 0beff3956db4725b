"""The command line ``distill``: places and switches here, numbers in the recipe."""

from __future__ import annotations

from augment.contract.terminal import command_line, start
from distill.cli import ablate, general, serve, train

app = command_line(
    "distill",
    "Distil a fine-tuned encoder into a small one, from a saved version of augmented text.",
    resumes=("teacher", "run", "general", "ablate"),
    completion=False,
)
for commands in (train, general, ablate, serve):
    app.add_typer(commands.app)


def main() -> None:
    """The entry point of the command."""
    start(app)
