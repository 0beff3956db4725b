"""The commands that look into a model's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from augment.contract.terminal import AsJson, examples, number
from distill.cli.options import Threads, Version, use

app = typer.Typer()

Model = Annotated[str, typer.Argument(help="Folder, run directory or hub name of a classifier.")]


@app.command(
    epilog=examples(
        "distill errors runs/tickets data/versions/tickets --out errors.csv",
        "distill errors models/tickets-teacher data/versions/tickets --split train "
        "--out suspect.csv",
    )
)
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
    from augment.contract.terminal import labeled
    from distill.cli.output import emit
    from distill.serving.mistakes import write_mistakes
    from distill.tables.mistakes import print_mistakes

    result = write_mistakes(model, version, out=out, split=split)
    emit(result, as_json, print_mistakes, [labeled("written", result.place)], kept=out)


@app.command(
    epilog=examples(
        "distill thresholds runs/tickets data/versions/tickets --precision 0.95",
        "distill thresholds runs/tickets data/versions/tickets --teacher models/teacher",
    )
)
def thresholds(
    model: Model,
    version: Version,
    teacher: Annotated[
        str | None,
        typer.Option(help="A classifier that answers below a threshold: what the cascade gives."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="A labeled split; the first validation split if left out.")
    ] = None,
    precision: Annotated[
        float | None, number("Find the threshold from which on this share is right.", most=1)
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="With --precision: of the answers that name this label.")
    ] = None,
    abstain: Annotated[
        float | None, number("Find the threshold that leaves at most this share out.", most=1)
    ] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Show whom a threshold of confidence answers, how many of these answers are right, and more.

    With a teacher, the cascade: the student answers above the threshold, the teacher below it, with
    score and mean time of a text.
    """
    use(threads)
    from distill.cli.output import emit
    from distill.serving.cascade import find_thresholds
    from distill.tables.thresholds import print_thresholds

    result = find_thresholds(
        model,
        version,
        teacher=teacher,
        split=split,
        precision=precision,
        label=label,
        abstain=abstain,
    )
    emit(result, as_json, print_thresholds)
