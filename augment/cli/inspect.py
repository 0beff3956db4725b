"""Commands that read what is there: versions, their rows and figures, the candidate store."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from augment.cli.output import derivation_line, marked, show_summary, stderr, stdout, versions_table
from augment.contract import (
    GENERATOR,
    SOFT_LABELS,
    WORD_REPLACEMENT,
    TaskSpec,
    Version,
    list_versions,
    open_version,
    verify,
)
from augment.contract.foreign import shown
from augment.contract.terminal import (
    AsJson,
    after_commit,
    labeled,
    number,
    print_document,
    print_json,
    print_lines,
)
from augment.replacement.edits import Edit, undo_edits

app = typer.Typer()

_MOST_SHOWN = 5
"""Classes of a row's distribution that are shown."""

Reference = Annotated[
    str, typer.Argument(help="data/versions/sst2, …/sst2@v0001, …/sst2@8c1f2a or a directory.")
]


@app.command("list", epilog="Example: augment list data/versions")
def list_command(
    root: Annotated[
        Path, typer.Argument(help="The root of all versions, or one task's folder.")
    ] = Path("data/versions"),
    as_json: AsJson = False,
) -> None:
    """List the versions below a root; one that is not readable is an error after the others."""
    versions = list(list_versions(root, skip_unreadable=True))
    if as_json:
        print_json([{"path": str(v.path), "id": v.manifest.id} for v in versions])
    elif versions:
        stdout.print(versions_table(versions))
    if not list(list_versions(root)) and not as_json:  # raises what is wrong with the others
        stderr.print(f"no versions below {shown(root)}; make one: augment run --help")


@app.command(epilog="Example: augment show data/versions/sst2@v0001 --rows 5")
def show(
    reference: Reference,
    rows: Annotated[int, number("How many source rows to show.")] = 3,
    variants: Annotated[int, number("Variants of each.")] = 3,
    rejected: Annotated[
        bool, typer.Option("--rejected", help="Show refused rows, so many for each reason.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a version is, and some of its rows with their replacements marked."""
    version = open_version(reference)
    if rejected:
        _show_rejected(version, rows, as_json)
        return
    if as_json:
        print_document(version.manifest.to_json(), "json")
        return
    show_summary(version)
    splits = " · ".join(f"{name} {version.rows(name):,}" for name in version.splits)
    stdout.print(labeled("splits", splits))
    stdout.print(labeled("labels", _labels_of(version.task)))
    _show_origin(version)
    _show_rows(version, rows, variants)


def _show_origin(version: Version) -> None:
    """The recipe, and where rows came from that no recipe made."""
    from augment.analysis.stats import made_by

    recipe = version.manifest.recipe
    line = " · ".join(f"{key} {value}" for key, value in recipe.items())
    if recipe.get("variants") == 0:
        line = "variants 0: the rows as they are"
    if line:
        stdout.print(labeled("recipe", line))
    if version.manifest.derivation is not None:
        stdout.print(labeled("made", derivation_line(version.manifest.derivation)))
        for split, counts in made_by(version).items():
            parts = (f"{count:,} {name}" for name, count in counts.items())
            stdout.print(labeled(f"{split} by", " · ".join(parts)))


def _labels_of(task: TaskSpec) -> str:
    """The classes in the order of their numbers, or what the score is called."""
    names = task.label.names
    numbered = (f"{at} {shown(name)}" for at, name in enumerate(names))
    return f"{shown(task.label.column)}: " + (" · ".join(numbered) or "a number")


def _label_name(task: TaskSpec, value: int | float | None) -> str:
    """What a row's label is called; a row of a split that hides them has none."""
    names = task.label.names
    if value is None or (names and not 0 <= value < len(names)):
        return "none"
    return shown(names[int(value)]) if names else f"{value:g}"


def _soft_labels(task: TaskSpec, values: list[float] | None) -> str:
    """A row's distribution, best classes first; of a score the number."""
    if values is None:
        return ""
    named = sorted(zip(values, task.label.names or ["score"], strict=False), reverse=True)
    parts = [f"{shown(name)} {value:.2f}" for value, name in named[:_MOST_SHOWN]]
    return f" · soft {', '.join(parts)}" + ", …" * (len(named) > _MOST_SHOWN)


def _show_rows(version: Version, rows: int, variants: int) -> None:
    """The first source rows, each with its first variants."""
    seen = drawn = 0
    original: dict[str, str] = {}
    for batch in version.batches(version.task.splits.train, rows=1024):
        for record in batch.to_pylist():
            if record["variant"] == 0:
                seen, drawn, original = seen + 1, 0, record
                if seen > rows:
                    return
                texts = _texts(version.task, record)
                label = _label_name(version.task, record[version.task.label.column])
                soft = _soft_labels(version.task, record.get(SOFT_LABELS))
                stdout.print(f"\n  row {record['idx']} · label {label}{soft}", Text(shown(texts)))
            elif drawn < variants:
                drawn += 1
                _show_made(version.task, record, original)


def _show_made(task: TaskSpec, record: dict[str, Any], original: dict[str, Any]) -> None:
    """A row that is no source row: with its replacements marked, or as another tool made it."""
    if record["edits"] and record["idx"] == original.get("idx"):
        column = record["edits"][0]["column"]
        text = marked(original[column], _edits_of(record))
        stdout.print(f"  {record['variant']:4} {shown(column)}", text)
        return
    label = record[task.label.column]
    is_own = record["idx"] != original.get("idx") or label != original[task.label.column]
    says = f" · label {_label_name(task, label)}" * is_own
    whose = f"row {record['idx']} ·" if record["idx"] != original.get("idx") else ""
    place = f"{whose} {record['variant']:4} {record.get(GENERATOR) or ''}{says}"
    stdout.print(f"  {shown(place)}", Text(shown(_texts(task, record))))


def _edits_of(record: dict[str, Any]) -> list[Edit]:
    return [
        Edit(e["start"], e["end"], e["before"], e["after"], e["source"]) for e in record["edits"]
    ]


def _show_rejected(version: Version, rows: int, as_json: bool) -> None:
    """Refused rows, the first ones of each reason, with their replacements marked."""
    found: dict[str, list[dict[str, Any]]] = {}
    for batch in version.rejected():
        for record in batch.to_pylist():
            examples = found.setdefault(record["reason"], [])
            if len(examples) < rows:
                examples.append(record)
    if as_json:
        print_json(found)
        return
    if not version.manifest.rejected:
        stderr.print(
            f"{shown(version.reference)} keeps no refused rows; to keep them: keep_rejected = true "
            "in the recipe"
        )
    for reason, examples in sorted(found.items()):
        counts = version.manifest.counts
        names = (f"dropped.{reason}", f"unlabeled.dropped.{reason}")
        count = sum(counts.get(name, 0) for name in names)
        stdout.print("\n ", Text(shown(reason), style="bold"), f"· {count:,} rows")
        for record in examples:
            edits = _edits_of(record)
            name = record["edits"][0]["column"] if record["edits"] else version.task.text_columns[0]
            place = f"  row {record['idx']} variant {record['variant']}"
            text = marked(undo_edits(record[name], edits), edits)
            if (made_by := record.get(GENERATOR, WORD_REPLACEMENT)) != WORD_REPLACEMENT:
                place += f" {shown(made_by)}"
                text = Text(shown(_texts(version.task, record)))
            stdout.print(place, text)


def _texts(task: TaskSpec, record: dict[str, Any]) -> str:
    return " | ".join(record[name] for name in task.text_columns)


@app.command("verify", epilog="Example: augment verify data/versions/sst2@v0001")
def verify_command(reference: Reference) -> None:
    """Read every file of a version and compare it with the manifest."""
    version = open_version(reference)
    count = verify(version)
    print_lines(
        f"{version.reference}: {count} files agree with the manifest ({version.manifest.id[:12]})"
    )


@app.command(
    "store",
    epilog="Example: augment store data/versions/.candidates --prune 2",
)
def store_command(
    folder: Annotated[Path, typer.Argument(help="A candidate store.")],
    prune: Annotated[
        float | None, number("Drop the oldest entries beyond this many GB.", most=10**6)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how large a candidate store is, and prune it."""
    from augment.replacement.candidate_store import candidate_store

    found = candidate_store(folder, prune_gb=prune)
    files, dropped = found.files, found.dropped
    if as_json:
        entries = [{"file": f.path.name, "entries": f.entries, "bytes": f.bytes} for f in files]
        print_json({"files": entries, "dropped": dropped})
        return
    for file in files:
        print_lines(f"  {file.path.name}  {file.entries:,} positions · {file.bytes / 2**20:.1f} MB")
    total = sum(file.bytes for file in files) / 2**20
    print_lines(
        f"  {len(files)} masked LMs · {total:.1f} MB" + (f" · {dropped:,} dropped" * bool(dropped))
    )


@app.command("vectors", epilog="Example: augment vectors --verify")
def vectors_command(
    folder: Annotated[
        Path | None, typer.Argument(help="Another cache than the user's own.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every byte and compare it with the digests.")
    ] = False,
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove all: files are parsed again when needed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the tables of word vectors that are kept for later starts."""
    from augment.vectors.cache import vector_tables

    found = vector_tables(folder, verify=verify, clear=clear)
    place, tables, removed = found.folder, found.tables, found.removed
    if as_json:
        print_json({"folder": str(place), "tables": list(tables), "removed": removed})
        return
    for row in tables:
        state = "" if row["state"] == "whole" else " · damaged: it is made again when needed"
        shape = f"{row.get('rows', 0):,} x {row.get('dimensions', 0)}"
        size = row["bytes"] / 2**20
        print_lines(f"  {row.get('source', row['entry'])}  {shape} · {size:,.1f} MB{state}")
    total = sum(row["bytes"] for row in tables) / 2**20
    print_lines(
        f"  {len(tables)} tables · {total:,.1f} MB in {place}" + " · removed" * bool(removed)
    )


@app.command("stats", epilog="Example: augment stats data/versions/sst2@v0001")
def stats_command(reference: Reference, as_json: AsJson = False) -> None:
    """Replacement rate by route, distinct-n, length drift, label balance, duplicates."""
    from augment.analysis.stats import lines, version_stats

    found = version_stats(open_version(reference))
    if as_json:
        print_json(asdict(found))
    else:
        print_lines(*(f"  {line}" for line in lines(found)))


@app.command(
    "diff", epilog="Example: augment diff data/versions/sst2@v0001 data/versions/sst2@v0002"
)
def diff_command(
    first: Reference,
    second: Reference,
    examples: Annotated[int, number("Changed rows to show.")] = 3,
    as_json: AsJson = False,
) -> None:
    """How the second version differs from the first: recipe, counts, rows."""
    from augment.analysis.stats import difference, lines

    found = difference(open_version(first), open_version(second), examples)
    if as_json:
        print_json(asdict(found))
        return
    print_lines(*(f"  {line}" for line in lines(found)))
    for example in found.examples:
        place = f"{example['split']} row {example['idx']} variant {example['variant']}"
        print_lines("", f"  {place}")
        print_lines(f"    - {example['first']}", f"    + {example['second']}")


@app.command(epilog="Example: augment report data/versions/sst2 --out sst2.html")
def report(
    reference: Reference,
    out: Annotated[Path, typer.Option(help="The page to write; its name ends in .html.")],
) -> None:
    """Write what a version holds as one HTML page: counts, figures, rows with marked edits."""
    from augment.analysis.report import write_report

    place = write_report(reference, out)
    with after_commit(place):
        stdout.print(labeled("report", str(place)))
