"""The command that makes general students: raw text in, an encoder out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from augment.contract.terminal import MOST_PROCESSES, AsJson, examples, number
from distill.cli.options import Init, Quiet, Recipe, Threads, use

app = typer.Typer()


@app.command(
    epilog=examples(
        "distill general corpus/ --teacher google-bert/bert-base-uncased --student "
        "tinybert-4l-312d --out models/general --hours 2",
        "distill general wikimedia/wikipedia:20231101.en --teacher "
        "google-bert/bert-base-uncased --student tinybert-4l-312d --out models/general "
        "--tokens 500000000 --recipe paper",
    )
)
def general(
    corpus: Annotated[
        str,
        typer.Argument(
            help="A .txt, .jsonl, .parquet, … file, a folder or a hub data set.",
            show_default=False,
        ),
    ],
    teacher: Annotated[
        str, typer.Option(help="An encoder, untuned in the paper: folder or hub name.")
    ],
    student: Annotated[
        str,
        typer.Option(
            help="tinybert-4l-312d, tinybert-6l-768d, a checkpoint, or a shape: 3x312-1200-12 is "
            "layers x hidden-intermediate-heads."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The run directory; the student is OUT/student.")],
    recipe: Recipe = "quick",
    hours: Annotated[
        float | None, number("Time budget, from the start of this command.", most=10**6)
    ] = None,
    tokens: Annotated[
        int | None, number("Token budget; with neither, the recipe's epochs.")
    ] = None,
    take: Annotated[int | None, number("Read only so many tokens.", least=1)] = None,
    column: Annotated[
        str | None, typer.Option(help="The text column; else text, or the only one.")
    ] = None,
    documents: Annotated[
        Literal["auto", "line", "blank-line"],
        typer.Option(help="What a document in .txt is."),
    ] = "auto",
    init: Init = "auto",
    cache: Annotated[
        Path | None,
        typer.Option(help="Where tokenized corpora are kept; else in OUT."),
    ] = None,
    processes: Annotated[
        int | None,
        number("Processes that tokenize; all if left out.", least=1, most=MOST_PROCESSES),
    ] = None,
    threads: Threads = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Distil an encoder on raw text, before any task.

    The same command again goes on where it was interrupted.
    """
    use(threads)
    from distill.cli.output import emit, print_general
    from distill.data.corpus import Source
    from distill.general import distill_general
    from distill.training.budget import Budget

    result = distill_general(
        Source(corpus, column, documents, take, cache, processes),
        teacher=teacher,
        student=student,
        out=out,
        recipe=recipe,
        budget=Budget(hours, tokens),
        init=init,
        quiet=quiet,
    )
    emit(result, as_json, print_general, kept=out)
