"""Commands that read what is there: versions, their rows and figures, the candidate store."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from augment.cli.options import complete_versions
from augment.contract.foreign import counted, shown, sized
from augment.contract.terminal import (
    AsJson,
    PageOut,
    examples,
    labeled,
    number,
    print_document,
    print_json,
    print_lines,
    print_written,
)

app = typer.Typer()

Reference = Annotated[
    str,
    typer.Argument(
        help="data/versions/sst2, …/sst2@v0001, …/sst2@8c1f2a or a directory.",
        autocompletion=complete_versions,
    ),
]


@app.command(
    "list",
    epilog=examples(
        "augment list data/versions",
        "augment list data/versions/sst2 --json",
    ),
)
def list_command(
    root: Annotated[
        Path, typer.Argument(help="The root of all versions, or one task's folder.")
    ] = Path("data/versions"),
    as_json: AsJson = False,
) -> None:
    """List the versions below a root; one that is not readable is an error after the others."""
    from augment.cli.output import show_versions, stderr
    from augment.contract import list_versions

    versions = list(list_versions(root, skip_unreadable=True))
    if as_json:
        print_json([{"path": str(v.path), "id": v.manifest.id} for v in versions])
    elif versions:
        show_versions(versions)
    if not list(list_versions(root)) and not as_json:  # raises what is wrong with the others
        stderr.print(f"no versions below {shown(root)}; make one: augment run --help")


@app.command(
    epilog=examples(
        "augment show data/versions/sst2@v0001 --rows 5",
        "augment show data/versions/sst2 --rejected",
    )
)
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
    from augment.cli.output import show_summary, stdout
    from augment.cli.rows import labels_of, show_origin, show_rejected, show_rows
    from augment.contract import open_version

    version = open_version(reference)
    if rejected:
        show_rejected(version, rows, as_json)
        return
    if as_json:
        print_document(version.manifest.to_json(), "json")
        return
    show_summary(version)
    splits = " · ".join(f"{name} {version.rows(name):,}" for name in version.splits)
    stdout.print(labeled("splits", splits))
    stdout.print(labeled("labels", labels_of(version.task)))
    show_origin(version)
    show_rows(version, rows, variants)


@app.command(
    "verify",
    epilog=examples(
        "augment verify data/versions/sst2",
        "augment verify data/versions/sst2@v0001",
    ),
)
def verify_command(reference: Reference) -> None:
    """Read every file of a version and compare it with the manifest."""
    from augment.contract import open_version, verify

    version = open_version(reference)
    count = verify(version)
    print_lines(
        f"{version.reference}: {counted(count, 'file', 'agree')} with the manifest "
        f"({version.manifest.id[:12]})"
    )


@app.command(
    "store",
    epilog=examples(
        "augment store data/versions/.candidates",
        "augment store data/versions/.candidates --prune 2",
    ),
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
        print_lines(
            f"  {file.path.name}  {counted(file.entries, 'position')} · {sized(file.bytes)}"
        )
    total = sum(file.bytes for file in files)
    print_lines(
        f"  {counted(len(files), 'masked LM')} · {sized(total)}"
        + (f" · {dropped:,} dropped" * bool(dropped))
    )


@app.command(
    "vectors",
    epilog=examples(
        "augment vectors",
        "augment vectors --verify",
    ),
)
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
        print_lines(f"  {row.get('source', row['entry'])}  {shape} · {sized(row['bytes'])}{state}")
    total = sum(row["bytes"] for row in tables)
    print_lines(
        f"  {counted(len(tables), 'table')} · {sized(total)} in "
        f"{place}" + " · removed" * bool(removed)
    )


@app.command(
    "stats",
    epilog=examples(
        "augment stats data/versions/sst2",
        "augment stats data/versions/sst2@v0001 --json",
    ),
)
def stats_command(reference: Reference, as_json: AsJson = False) -> None:
    """Replacement rate by route, distinct-n, length drift, label balance, duplicates."""
    from augment.analysis.stats import lines, version_stats
    from augment.contract import open_version

    found = version_stats(open_version(reference))
    if as_json:
        print_json(asdict(found))
    else:
        print_lines(*(f"  {line}" for line in lines(found)))


@app.command(
    "diff",
    epilog=examples(
        "augment diff data/versions/sst2@v0001 data/versions/sst2@v0002",
        "augment diff data/versions/sst2@v0001 data/versions/sst2@v0002 --examples 10",
    ),
)
def diff_command(
    first: Reference,
    second: Reference,
    examples: Annotated[int, number("Changed rows to show.")] = 3,
    as_json: AsJson = False,
) -> None:
    """How the second version differs from the first: recipe, counts, rows."""
    from augment.analysis.stats import difference, lines
    from augment.contract import open_version

    found = difference(open_version(first), open_version(second), examples)
    if as_json:
        print_json(asdict(found))
        return
    print_lines(*(f"  {line}" for line in lines(found)))
    for example in found.examples:
        place = f"{example['split']} row {example['idx']} variant {example['variant']}"
        print_lines("", f"  {place}")
        print_lines(f"    - {example['first']}", f"    + {example['second']}")


@app.command(
    epilog=examples(
        "augment report data/versions/sst2 --out sst2.html",
        "augment report data/versions/tickets@v0001 --out tickets.html",
    )
)
def report(
    reference: Reference,
    out: PageOut,
) -> None:
    """Write what a version holds as one HTML page: counts, figures, rows with marked edits."""
    from augment.analysis.report import write_report

    print_written("report", write_report(reference, out))
