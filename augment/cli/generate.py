"""Commands that make things: versions, plans, previews, recipes and drafts of task files."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from augment.cli.options import (
    Device,
    LabelColumn,
    Limit,
    Mlm,
    NoVectorsCache,
    RecipeName,
    SimilarityModel,
    SkipMalformed,
    Source,
    TaskName,
    TaskOrFile,
    Teacher,
    TextColumns,
    Threads,
    Unlabeled,
    Variants,
    VectorsCache,
    VectorsFile,
    tables_kept,
)
from augment.contract import UsageError
from augment.contract.terminal import (
    MOST_PROCESSES,
    AsJson,
    after_commit,
    examples,
    labeled,
    number,
    print_document,
    print_json,
    to_copy,
)

app = typer.Typer()

STORE = ".candidates"
ENCODER = "google-bert/bert-base-uncased"
"""What a masked LM and a teacher may be, where the user has named no model yet."""
VECTORS = "glove-wiki-gigaword-100"
STUDENT = "tinybert-4l-312d"


@app.command(
    epilog=examples(
        "augment run sst2 --source glue/SST-2 --mlm google-bert/bert-base-uncased "
        "--vectors glove-wiki-gigaword-100",
        "augment run tickets.csv --mlm google-bert/bert-base-uncased --vectors "
        "glove-wiki-gigaword-100",
        "augment run tickets.csv --variants 0",
    )
)
def run(
    task: TaskOrFile,
    mlm: Mlm = None,
    vectors: VectorsFile = None,
    source: Source = None,
    out: Annotated[Path, typer.Option(help="The root of all versions.")] = Path("data/versions"),
    recipe: RecipeName = "official",
    variants: Variants = None,
    text: TextColumns = None,
    label: LabelColumn = None,
    split: Annotated[
        str | None,
        typer.Option(help="Your file's splits: 70/15/15, or 80/20 (no test)."),
    ] = None,
    unlabeled: Unlabeled = None,
    limit: Limit = None,
    engine: Annotated[str, typer.Option(help="local or ray.")] = "local",
    address: Annotated[str | None, typer.Option(help="Ray's HOST:PORT, or auto.")] = None,
    workers: Annotated[
        int | None,
        number(
            "Processes: 1; on Ray all that fit.",
            least=1,
            most=MOST_PROCESSES,
        ),
    ] = None,
    threads: Threads = None,
    device: Device = "cpu",
    teacher: Teacher = None,
    similarity_model: SimilarityModel = None,
    skip_malformed: SkipMalformed = False,
    store: Annotated[
        Path | None, typer.Option(help="Of candidates; else in OUT/.candidates.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep/--no-store", help="For later runs.")] = True,
    store_limit: Annotated[float, number("In GB.", most=10**6)] = 20.0,
    vectors_cache: VectorsCache = None,
    no_vectors_cache: NoVectorsCache = False,
    as_json: AsJson = False,
) -> None:
    """Augment a task's training split, or your own file's, and commit it as one version."""
    from augment.cli.output import show_summary, stdout
    from augment.pipeline import augment_task
    from augment.progress import Narrator

    version = augment_task(
        task,
        source=source,
        mlm=mlm,
        vectors=vectors,
        out=out,
        recipe=recipe,
        variants=variants,
        limit=limit,
        skip_malformed=skip_malformed,
        unlabeled=unlabeled or (),
        text=text or (),
        label=label,
        split=split,
        engine=engine,
        address=address,
        workers=workers,
        threads=threads,
        device=device,
        teacher=teacher,
        similarity_model=similarity_model,
        store=(store or out / STORE) if keep else None,
        store_limit=int(store_limit * 2**30),
        vectors_cache=tables_kept(vectors_cache, no_vectors_cache),
        narrator=Narrator(quiet=False),
    )
    with after_commit(version.reference):
        if as_json:
            print_json({"path": str(version.path), **version.manifest.model_dump(mode="json")})
            return
        show_summary(version)
        name, place, init = version.task.name, str(out / version.task.name), mlm or ENCODER
        command = ["distill", "run", place, "--teacher-init", init, "--student", STUDENT]
        command += ["--minutes", "30", "--out", f"runs/{name}"]
        stdout.print(to_copy("next", shlex.join(command)))
        if version.manifest.soft_labels:
            command = ["distill", "run", place, "--teacher", "labels", "--encoder", init]
            command += ["--student", STUDENT, "--out", f"runs/{name}"]
            stdout.print(to_copy("or", shlex.join(command)))


@app.command(
    "plan",
    epilog=examples(
        "augment plan sst2 --source glue/SST-2 --mlm google-bert/bert-base-uncased "
        "--vectors glove-wiki-gigaword-100",
        "augment plan tickets.toml --variants 0",
    ),
)
def plan_command(
    task: TaskName,
    mlm: Mlm = None,
    vectors: VectorsFile = None,
    source: Source = None,
    recipe: RecipeName = "official",
    variants: Variants = None,
    limit: Limit = None,
    threads: Threads = None,
    device: Device = "cpu",
    teacher: Teacher = None,
    similarity_model: SimilarityModel = None,
    skip_malformed: SkipMalformed = False,
    unlabeled: Unlabeled = None,
    vectors_cache: VectorsCache = None,
    no_vectors_cache: NoVectorsCache = False,
    as_json: AsJson = False,
) -> None:
    """Say how much work a run is before it begins: rows, masks, minutes, megabytes."""
    from augment.analysis.plan import plan_task
    from augment.cli.output import stderr, stdout
    from augment.progress import Narrator

    found = plan_task(
        task, mlm=mlm, vectors=vectors, source=source, recipe=recipe, variants=variants,
        limit=limit, skip_malformed=skip_malformed, unlabeled=unlabeled or (), threads=threads,
        device=device, teacher=teacher,
        similarity_model=similarity_model,
        vectors_cache=tables_kept(vectors_cache, no_vectors_cache),
        narrator=Narrator(quiet=False),
    )  # fmt: skip
    for warning in found.warnings:
        stderr.print(labeled("warning", warning))
    if as_json:
        print_json(asdict(found))
    else:
        for label, text in found.lines():
            stdout.print(labeled(label, text))


@app.command(
    "preview",
    epilog=examples(
        'augment preview sst2 --text "a clever ride" --mlm '
        "google-bert/bert-base-uncased --vectors glove-wiki-gigaword-100",
        'augment preview mrpc --text "a ride" --text "a trip" --mlm '
        "google-bert/bert-base-uncased --vectors glove-wiki-gigaword-100",
    ),
)
def preview_command(
    task: TaskName,
    text: Annotated[
        list[str], typer.Option(help="The text to look at; of a pair give it twice, in order.")
    ],
    mlm: Mlm = None,
    vectors: VectorsFile = None,
    recipe: RecipeName = "official",
    variants: Annotated[int, number("Variants to show.")] = 5,
    top: Annotated[int, number("Candidates to show for each word.", least=1)] = 6,
    device: Device = "cpu",
    vectors_cache: VectorsCache = None,
    no_vectors_cache: NoVectorsCache = False,
    as_json: AsJson = False,
) -> None:
    """Show each word's route and candidates, and some variants, before anything runs."""
    from augment.analysis.preview import preview
    from augment.cli.output import show_preview, stdout

    views = preview(
        task, text, mlm=mlm, vectors=vectors, recipe=recipe, device=device,
        vectors_cache=tables_kept(vectors_cache, no_vectors_cache),
    ).texts  # fmt: skip
    if as_json:
        shown_as = [{"column": column, **asdict(view)} for column, view in views.items()]
        print_json(shown_as if len(shown_as) > 1 else shown_as[0])
        return
    for column, view in views.items():
        if len(views) > 1:
            stdout.print(labeled(column, view.text))
        show_preview(view, variants, top)


@app.command(
    epilog=examples(
        "augment recipe sst2 > my.toml",
        "augment recipe tickets.toml --preset paper",
    )
)
def recipe(
    task: TaskName,
    preset: Annotated[str, typer.Option(help="official, paper, long, or a file.")] = "official",
) -> None:
    """Print the recipe of a task with comments, ready to be changed."""
    from augment.recipes.load import describe, recipe_for
    from augment.tasks import get_task

    print_document(describe(recipe_for(get_task(task).spec, preset)), "toml")


@app.command(
    epilog=examples(
        "augment init tickets.csv --split 70/15/15",
        "augment init tickets.csv --split 80/20 --unlabeled more.csv --out data/tickets",
        "augment init reviews.csv > reviews.toml",
    )
)
def init(
    data: Annotated[Path, typer.Argument(help="A CSV, TSV, JSON or Parquet file.")],
    split: Annotated[
        str | None,
        typer.Option(help="Also write splits: train/validation/test as 70/15/15, or 80/20."),
    ] = None,
    text: TextColumns = None,
    label: LabelColumn = None,
    seed: Annotated[int, number("Decides which rows go into which split.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Where splits and task file go; by default beside DATA.")
    ] = None,
    unlabeled: Annotated[
        list[str] | None,
        typer.Option(help="A file of rows without labels for the task file; may be repeated."),
    ] = None,
    skip_malformed: SkipMalformed = False,
) -> None:
    """Make a task file for your own data from its columns; with --split also its splits."""
    from augment.cli.output import stdout
    from augment.sources.drafts import with_second_file
    from augment.sources.infer import draft_of
    from augment.sources.splitting import parse_shares
    from augment.sources.write_splits import split_file

    shares = parse_shares(split) if split is not None else None
    draft = draft_of(data, texts=text or [], label=label)
    if shares is None:
        if out is not None or unlabeled or skip_malformed:
            raise UsageError(
                "--out, --unlabeled and --skip-malformed are for --split.",
                "Write the splits too: --split 70/15/15",
            )
        _say_all(draft.lines())
        print_document(with_second_file(draft), "toml")
        return
    written = split_file(
        draft, shares, seed=seed, out=out, unlabeled=unlabeled or [],
        skip_malformed=skip_malformed,
    )  # fmt: skip
    with after_commit(written.task):
        _say_all([*written.draft.lines(), *written.lines()])
        stdout.print(labeled("task", str(written.task)))
        run_it = ["augment", "run", str(written.task)]
        plain = shlex.join([*run_it, "--variants", "0"])
        models = shlex.join([*run_it, "--mlm", ENCODER, "--vectors", VECTORS])
        stdout.print(to_copy("next", f"{models}   # generates rows"))
        stdout.print(to_copy("or", f"{plain}   # the rows as they are"))


def _say_all(lines: Sequence[tuple[str, str]]) -> None:
    from augment.cli.output import stderr

    for label, text in lines:
        stderr.print(labeled(label, text))
