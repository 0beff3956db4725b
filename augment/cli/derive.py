"""Commands that make versions from versions: rows of other tools added, gates applied, merged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from augment.cli.inspect import Reference
from augment.cli.options import Device, RecipeName, SimilarityModel, SkipMalformed, Teacher
from augment.cli.output import show_summary
from augment.contract import Version
from augment.contract.terminal import AsJson, after_commit, print_json

app = typer.Typer()

Out = Annotated[
    Path | None, typer.Option(help="The root of all versions; by default that of VERSION.")
]


@app.command(
    epilog="Example: augment add data/versions/sst2 --rows paraphrases.jsonl --source paraphrase"
)
def add(
    version: Reference,
    rows: Annotated[str, typer.Option(help="CSV, TSV, JSON or Parquet: texts, label, idx.")],
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
    from augment.derive.gates import GateModels
    from augment.progress import Narrator

    made = add_rows(
        version,
        rows,
        generator=source,
        out=out,
        recipe=recipe,
        models=GateModels(teacher, similarity_model, device),
        skip_malformed=skip_malformed,
        narrator=Narrator(quiet=False),
    )
    _tell(made, as_json)


def _tell(version: Version, as_json: bool) -> None:
    """What was made."""
    with after_commit(version.reference):
        if as_json:
            print_json({"path": str(version.path), **version.manifest.model_dump(mode="json")})
        else:
            show_summary(version)
