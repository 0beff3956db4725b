"""The command line ``distill``: places and switches here, numbers in the recipe.

Nothing heavy is imported here: the command listens for Ctrl-C before its libraries are loaded.
"""

from __future__ import annotations

from augment.contract.process import command

TYPE_CHECKING = False  # "typing" would take longer than all of this
if TYPE_CHECKING:
    from typing import Any

    from distill.cli.commands import app

__all__ = ["app", "main"]


def main() -> None:
    """The entry point of the command."""
    command(_start)


def _start() -> None:
    from augment.contract.terminal import start
    from distill.cli.commands import app

    start(app)


def __getattr__(name: str) -> Any:
    """Import the application on first use."""
    if name == "app":
        from distill.cli.commands import app

        return app
    raise AttributeError(f"module 'distill.cli' has no attribute {name!r}")
