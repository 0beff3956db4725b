"""The commands that look into a model's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from augment.contract.terminal import AsJson
from distill.cli.options import Threads, Version, use

app = typer.Typer()

Model = Annotated[str, typer.Argument(help="Folder, run directory or hub name of a classifier.")]


@app.command(epilog="Example: distill errors runs/tickets data/versions/tickets --out errors.csv")
def errors(
    model: Model,
    version: Version,
    out: Annotated[Path, typer.Option(help="The new table: .csv, .tsv, .jsonl or .parquet.")],
    split: Annotated[
        str | None, typer.Option(help="A labeled split; all validation splits if left out.")
    ] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Write the rows that a model gets wrong, the surest first: their labels are suspect.

    Of a regression, all rows, the largest error first. In .csv and .tsv, cells that a spreadsheet
    would compute begin with an apostrophe.
    """
    use(threads)
    from augment.contract.progress import labeled
    from distill.cli.output import emit
    from distill.cli.tables_mistakes import print_mistakes
    from distill.serving.mistakes import write_mistakes

    result = write_mistakes(model, version, out=out, split=split)
    emit(result, as_json, print_mistakes, labeled("written", result.place), kept=out)
