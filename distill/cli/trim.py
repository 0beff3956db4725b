"""The command that leaves out of a model's vocabulary what a task does not need."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from augment.contract.terminal import AsJson, examples, number
from distill.cli.options import Quiet, Threads, Version, use

app = typer.Typer()


@app.command(
    epilog=examples(
        "distill trim runs/sst2 data/versions/sst2 --out models/sst2-trimmed",
        "distill trim google-bert/bert-base-uncased data/versions/sst2 --size 8000 "
        "--out models/bert-8k",
    )
)
def trim(
    model: Annotated[
        str,
        typer.Argument(help="Folder, run directory or hub name of a classifier or an encoder."),
    ],
    version: Version,
    out: Annotated[Path, typer.Option(help="The new folder.")],
    min_count: Annotated[
        int | None,
        number(
            "How often a token is seen that stays; once if neither is given.", least=1, most=10**9
        ),
    ] = None,
    size: Annotated[
        int | None, number("How many tokens stay: the most frequent.", least=1, most=10**7)
    ] = None,
    threads: Threads = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Leave out tokens that the rows of a version do not hold, and measure what that does.

    Special tokens and single characters stay, so whatever could be read can be read still. Every
    row is split with both vocabularies, and both models are scored on validation.
    """
    use(threads)
    from augment.contract.terminal import labeled
    from distill.cli.output import emit
    from distill.serving.trim import trim_model
    from distill.tables.trim import print_trim

    result = trim_model(model, version, out=out, min_count=min_count, size=size, quiet=quiet)
    emit(result, as_json, print_trim, [labeled("written", str(out))], kept=out)
