"""The options that commands share; each says what it is in ``--help``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from augment.contract.terminal import MOST_PROCESSES, number


def _version(incomplete: str) -> list[str]:
    from augment.contract.files import complete

    return complete(incomplete)


def complete_recipes(incomplete: str) -> list[str]:
    """What may follow in the place of a recipe."""
    from augment.contract.files import complete_recipe

    return complete_recipe("distill", incomplete)


Version = Annotated[
    str,
    typer.Argument(
        autocompletion=_version,
        help="data/versions/sst2, …/sst2@v0003 or a directory.",
        show_default=False,
    ),
]
Recipe = Annotated[
    str,
    typer.Option(
        help="A shipped one (distill recipe) or a .toml.",
        autocompletion=complete_recipes,
    ),
]
Threads = Annotated[
    int | None, number("CPU threads; all if left out.", least=1, most=MOST_PROCESSES)
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress on stderr.")]
Init = Annotated[
    Literal["auto", "random", "teacher-layers"],
    typer.Option(help="How a shape starts."),
]


def use(threads: int | None) -> None:
    """Let torch use this many threads."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
