"""Commands that make versions from versions: rows of other tools added, gates applied, merged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from augment.cli.inspect import Reference
from augment.cli.options import Device, RecipeName, SimilarityModel, SkipMalformed, Teacher
from augment.contract.terminal import AsJson, after_commit, examples, print_json

if TYPE_CHECKING:
    from augment.contract import Version

app = typer.Typer()

Out = Annotated[
    Path | None, typer.Option(help="The root of all versions; by default that of the version.")
]


@app.command(
    epilog=examples(
        "augment add data/versions/sst2 --rows paraphrases.jsonl --source paraphrase",
        "augment add data/versions/sst2 --rows back.csv --source back-translation "
        "--recipe strict.toml --teacher models/sst2-teacher",
    )
)
def add(
    version: Reference,
    rows: Annotated[
        str, typer.Option(help="CSV, TSV, JSON, Parquet (texts, label, idx) or plain text.")
    ],
    source: Annotated[str, typer.Option(help="What made the rows, such as back-translation.")],
    out: Out = None,
    recipe: RecipeName = "official",
    teacher: Teacher = None,
    similarity_model: SimilarityModel = None,
    device: Device = "cpu",
    skip_malformed: SkipMalformed = False,
    as_json: AsJson = False,
) -> None:
    """Add rows that another tool made, through the recipe's gates, as a new version.

    A row with `idx` belongs to that training row and has its label, unless it brings its own. A row
    with a label alone is a new training row, one with neither goes to the split `unlabeled`.
    """
    from augment.derive.add import add_rows
    from augment.progress import Narrator

    made = add_rows(
        version,
        rows,
        generator=source,
        out=out,
        recipe=recipe,
        teacher=teacher,
        similarity_model=similarity_model,
        device=device,
        skip_malformed=skip_malformed,
        narrator=Narrator(quiet=False),
    )
    _tell(made, as_json)


@app.command(
    "filter",
    epilog=examples(
        "augment filter data/versions/sst2 --recipe strict.toml --teacher models/sst2-teacher",
        "augment filter data/versions/sst2@v0001 --recipe strict.toml "
        "--similarity-model sentence-transformers/all-MiniLM-L6-v2",
    ),
)
def filter_command(
    version: Reference,
    recipe: Annotated[str, typer.Option(help="A recipe file or a shipped recipe: its gates.")],
    out: Out = None,
    teacher: Teacher = None,
    similarity_model: SimilarityModel = None,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Apply a recipe's gates to rows that were generated or added, as a new version."""
    from augment.derive.filter import filter_version
    from augment.progress import Narrator

    made = filter_version(
        version,
        recipe=recipe,
        out=out,
        teacher=teacher,
        similarity_model=similarity_model,
        device=device,
        narrator=Narrator(quiet=False),
    )
    _tell(made, as_json)


@app.command(
    epilog=examples(
        "augment merge data/versions/sst2@v0001 data/versions/sst2@v0003",
        "augment merge data/versions/sst2@v0001 data/versions/sst2@v0003 --out data/merged",
    )
)
def merge(
    versions: Annotated[list[str], typer.Argument(help="Versions of the same source rows.")],
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Unite versions: their source rows once, with all rows made from them or added, each once."""
    from augment.derive.merge import merge_versions
    from augment.progress import Narrator

    _tell(merge_versions(versions, out=out, narrator=Narrator(quiet=False)), as_json)


def _tell(version: Version, as_json: bool) -> None:
    """What was made."""
    from augment.cli.output import show_summary

    with after_commit(version.reference):
        if as_json:
            print_json({"path": str(version.path), **version.manifest.model_dump(mode="json")})
        else:
            show_summary(version)
