"""The command line: ``augment run``, ``list``, ``show``, ``verify``, ``preview``, ``recipe``."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from augment.contract import Fault, Version, list_versions, open_version, verify
from augment.recipe import describe, load_recipe


class _Commands(TyperGroup):
    """Turns faults into a sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except Fault as fault:
            print(fault.describe(), file=sys.stderr)
            sys.exit(fault.exit_code)
        except KeyboardInterrupt:
            print("  the same command goes on from there.", file=sys.stderr)
            sys.exit(130)


app = typer.Typer(
    name="augment",
    cls=_Commands,
    help="Expand text data sets by word replacement into versioned Parquet.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

STORE = ".candidates"
TaskName = Annotated[str, typer.Argument(help="A GLUE task (sst2, …) or a task file (.toml).")]
Reference = Annotated[
    str, typer.Argument(help="data/versions/sst2, …/sst2@v0001, …/sst2@8c1f2a or a directory.")
]
Mlm = Annotated[str, typer.Option(help="Masked LM: a folder or a hub name.")]
VectorsFile = Annotated[str, typer.Option(help="Vectors: GloVe or word2vec file, or gensim name.")]
RecipeName = Annotated[str, typer.Option(help="official, paper, or a recipe file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of each worker.")]
Device = Annotated[str, typer.Option(help="Where the masked LM runs: cpu, cuda, …")]


@app.command(
    epilog="Example: augment run sst2 --source glue/SST-2 --mlm google-bert/bert-base-uncased "
    "--vectors glove-wiki-gigaword-100 --out data/versions"
)
def run(
    task: TaskName,
    mlm: Mlm,
    vectors: VectorsFile,
    source: Annotated[
        str | None, typer.Option(help="Folder, file or hub data set (owner/name:config).")
    ] = None,
    out: Annotated[Path, typer.Option(help="The root of all versions.")] = Path("data/versions"),
    recipe: RecipeName = "official",
    limit: Annotated[int | None, typer.Option(min=1, help="First training rows only.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    threads: Threads = None,
    device: Device = "cpu",
    skip_malformed: Annotated[
        bool, typer.Option("--skip-malformed", help="Leave malformed rows out, counted.")
    ] = False,
    store: Annotated[
        Path | None, typer.Option(help="Candidate store; by default OUT/.candidates.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep/--no-store", help="Keep candidates for later runs.")
    ] = True,
    store_limit: Annotated[float, typer.Option(min=0, help="Largest store, in GB.")] = 20.0,
    as_json: AsJson = False,
) -> None:
    """Augment a task's training split and commit it as one version."""
    from augment.console import ConsoleNarrator, show_summary
    from augment.console import out as console
    from augment.pipeline import augment_task

    version = augment_task(
        task,
        source=source,
        mlm=mlm,
        vectors=vectors,
        out=out,
        recipe=recipe,
        limit=limit,
        skip_malformed=skip_malformed,
        workers=workers,
        threads=threads or (max(1, (os.cpu_count() or 1) // workers) if workers > 1 else None),
        device=device,
        store=(store or out / STORE) if keep else None,
        store_limit=int(store_limit * 2**30),
        narrator=ConsoleNarrator(),
    )
    if as_json:
        print(json.dumps({"path": str(version.path), **version.manifest.model_dump(mode="json")}))
        return
    show_summary(version)
    name = version.task.name
    console.print(
        f"  next        distill teacher {out / name} --init {mlm} --out models/{name}-teacher"
    )


@app.command("list", epilog="Example: augment list data/versions")
def list_command(
    root: Annotated[Path, typer.Argument(help="The root of all versions, or one task's folder.")],
    as_json: AsJson = False,
) -> None:
    """List the versions below a root."""
    versions = list(list_versions(root))
    if as_json:
        print(json.dumps([{"path": str(v.path), "id": v.manifest.id} for v in versions]))
        return
    from augment.console import err, versions_table
    from augment.console import out as console

    if versions:
        console.print(versions_table(versions))
    else:
        err.print(f"no versions below {root}; make one: augment run --help")


@app.command(epilog="Example: augment show data/versions/sst2@v0001 --rows 5")
def show(
    reference: Reference,
    rows: Annotated[int, typer.Option(min=0, help="How many source rows to show.")] = 3,
    variants: Annotated[int, typer.Option(min=0, help="Variants of each.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Show what a version is, and some of its rows with their replacements marked."""
    version = open_version(reference)
    if as_json:
        print(version.manifest.to_json(), end="")
        return
    from augment.console import out as console
    from augment.console import show_summary

    show_summary(version)
    splits = " · ".join(f"{name} {version.rows(name):,}" for name in version.splits)
    console.print(f"  splits      {splits}")
    recipe = version.manifest.recipe.items()
    console.print("  recipe      " + " · ".join(f"{key} {value}" for key, value in recipe))
    _show_rows(version, rows, variants)


def _show_rows(version: Version, rows: int, variants: int) -> None:
    """The first source rows, each with its first variants."""
    from rich.text import Text

    from augment.console import marked
    from augment.console import out as console
    from augment.replace import Edit

    shown = drawn = 0
    original: dict[str, str] = {}
    for batch in version.table(version.task.splits.train).to_batches(max_chunksize=1024):
        for record in batch.to_pylist():
            if record["variant"] == 0:
                shown, drawn, original = shown + 1, 0, record
                if shown > rows:
                    return
                texts = " | ".join(record[name] for name in version.task.text_columns)
                label = record[version.task.label.column]
                console.print(f"\n  row {record['idx']} · label {label}", Text(texts))
            elif drawn < variants:
                drawn += 1
                column = record["edits"][0]["column"] if record["edits"] else ""
                edits = [
                    Edit(e["start"], e["end"], e["before"], e["after"], e["source"])
                    for e in record["edits"]
                ]
                name = column or version.task.text_columns[0]
                console.print(f"  {record['variant']:4} {column}", marked(original[name], edits))


@app.command("verify", epilog="Example: augment verify data/versions/sst2@v0001")
def verify_command(reference: Reference) -> None:
    """Read every file of a version and compare it with the manifest."""
    version = open_version(reference)
    count = verify(version)
    print(
        f"{version.reference}: {count} files agree with the manifest ({version.manifest.id[:12]})"
    )


@app.command(
    "preview",
    epilog='Example: augment preview sst2 --text "a clever ride" --mlm DIR --vectors FILE',
)
def preview_command(
    task: TaskName,
    text: Annotated[str, typer.Option(help="The sentence to look at.")],
    mlm: Mlm,
    vectors: VectorsFile,
    recipe: RecipeName = "official",
    variants: Annotated[int, typer.Option(min=0, help="Variants to show.")] = 5,
    top: Annotated[int, typer.Option(min=1, help="Candidates to show for each word.")] = 6,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Show each word's route and candidates, and some variants, before anything runs."""
    from augment.console import show_preview
    from augment.engine import Work
    from augment.preview import preview
    from augment.tasks import get_task

    spec = get_task(task).spec
    plan = load_recipe(recipe, spec.name)
    finder = Work(spec, plan, mlm, vectors, device, None).load()
    finder.refuse_long([("the text", text)])
    view = preview(text, finder, spec.name)
    if as_json:
        print(json.dumps(asdict(view), ensure_ascii=False))
    else:
        show_preview(view, variants, top)


@app.command(
    "store",
    epilog="Example: augment store data/versions/.candidates --prune 2",
)
def store_command(
    folder: Annotated[Path, typer.Argument(help="A candidate store.")],
    prune: Annotated[
        float | None, typer.Option(min=0, help="Drop the oldest entries beyond this many GB.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how large a candidate store is, and prune it."""
    from augment.store import describe_store
    from augment.store import prune as prune_store

    dropped = prune_store(folder, int(prune * 2**30)) if prune is not None else 0
    files = describe_store(folder)
    if as_json:
        entries = [{"file": f.path.name, "entries": f.entries, "bytes": f.bytes} for f in files]
        print(json.dumps({"files": entries, "dropped": dropped}))
        return
    for file in files:
        print(f"  {file.path.name}  {file.entries:,} positions · {file.bytes / 2**20:.1f} MB")
    total = sum(file.bytes for file in files) / 2**20
    print(
        f"  {len(files)} masked LMs · {total:.1f} MB" + (f" · {dropped:,} dropped" * bool(dropped))
    )


@app.command(epilog="Example: augment recipe sst2 > my.toml")
def recipe(
    task: TaskName,
    preset: Annotated[str, typer.Option(help="official, paper, or a recipe file.")] = "official",
) -> None:
    """Print the recipe of a task with comments, ready to be changed."""
    from augment.tasks import get_task

    print(describe(load_recipe(preset, get_task(task).spec.name)), end="")


@app.command(epilog="Example: augment init reviews.csv > reviews.toml")
def init(data: Annotated[Path, typer.Argument(help="A CSV, JSONL or Parquet file.")]) -> None:
    """Draft a task file for your own data from its columns."""
    from augment.sniff import sniff

    print(sniff(data), end="")


def main() -> None:
    """Entry point of the ``augment`` command.

    Idle OpenMP threads sleep instead of spinning, unless the user says otherwise: on a machine that
    does anything else, spinning threads make small products up to ten times slower.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()


if __name__ == "__main__":
    main()
