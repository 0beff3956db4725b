"""The commands that come before and after training: is it worth it, how good is it, use it."""

from __future__ import annotations

from typing import Annotated

import typer

from distill.cli_common import AsJson, Threads, Version, guard, show, use

app = typer.Typer()


@app.command()
def evaluate(
    models: Annotated[
        list[str], typer.Argument(help="Folders, run directories or hub names of classifiers.")
    ],
    version: Version,
    split: Annotated[
        str | None, typer.Option(help="A labelled split; all validation splits if left out.")
    ] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Score, weigh and time models on a version.

    Example: distill evaluate models/sst2-teacher runs/sst2/student data/versions/sst2
    """
    with guard():
        use(threads)
        from distill.standalone import evaluate_models

        show(evaluate_models(models, version, split=split), as_json)
