"""The options that commands share; each says what it is in ``--help``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from augment.contract.terminal import MOST_PROCESSES, number


def _task(incomplete: str) -> list[str]:
    from augment.contract.files import complete
    from augment.tasks import GLUE

    return complete(incomplete, ".toml", shipped=GLUE)


def _task_or_file(incomplete: str) -> list[str]:
    from augment.contract.files import complete

    files = complete(incomplete, ".csv", ".tsv", ".json", ".jsonl", ".parquet")
    return [*_task(incomplete), *(name for name in files if not name.endswith("/"))]


def complete_versions(incomplete: str) -> list[str]:
    """What may follow in the place of a version."""
    from augment.contract.files import complete

    return complete(incomplete)


def _recipe(incomplete: str) -> list[str]:
    from augment.contract.files import complete_recipe

    return complete_recipe("augment", incomplete)


TaskName = Annotated[
    str,
    typer.Argument(help="A GLUE task (sst2, …) or a task file (.toml).", autocompletion=_task),
]
TaskOrFile = Annotated[
    str,
    typer.Argument(
        help="A GLUE task (sst2, …), a .toml or your own CSV.",
        autocompletion=_task_or_file,
    ),
]
TextColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--text-column",
        "--text",
        help="Your file's column of the text; twice for a pair.",
    ),
]
LabelColumn = Annotated[
    str | None,
    typer.Option("--label-column", "--label", help="Your file's column of the label."),
]
Mlm = Annotated[str | None, typer.Option(help="Masked LM: a folder or a hub name.")]
VectorsFile = Annotated[
    str | None, typer.Option(help="Vectors: GloVe or word2vec file, or gensim name.")
]
RecipeName = Annotated[
    str, typer.Option(help="official, paper, long, or a file.", autocompletion=_recipe)
]
Variants = Annotated[
    int | None,
    number("Of a text; 0: none. Little use below 1,000 labels.", most=1000),
]
Threads = Annotated[int | None, number("Threads of a worker.", least=1, most=MOST_PROCESSES)]
Device = Annotated[str, typer.Option(help="Where the models run: cpu, cuda, …")]
Teacher = Annotated[str | None, typer.Option(help="A classifier, for the recipe's teacher_… keys.")]
SimilarityModel = Annotated[
    str | None, typer.Option(help="A sentence encoder, for min_similarity.")
]
VectorsCache = Annotated[
    Path | None,
    typer.Option(help="Where tables of vectors are kept."),
]
NoVectorsCache = Annotated[bool, typer.Option("--no-vectors-cache", help="Not at all.")]
Source = Annotated[
    str | None, typer.Option(help="Folder, file or hub data set (owner/name:config).")
]
SkipMalformed = Annotated[
    bool, typer.Option("--skip-malformed", help="Leave malformed rows out, counted.")
]
Unlabeled = Annotated[
    list[str] | None,
    typer.Option(help="Rows without labels help most; may be repeated."),
]
Limit = Annotated[int | None, number("First training rows only.", least=1)]


def tables_kept(folder: Path | None, nowhere: bool) -> Path | bool:
    """Where tables of vectors are kept, as ``augment_task`` wants it."""
    return not nowhere and (folder or True)
