"""The command that writes runs as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from augment.contract.terminal import PageOut, examples, print_written

app = typer.Typer()


@app.command(
    epilog=examples(
        "distill report runs/sst2 --out sst2.html", "distill report runs/* --out runs.html"
    )
)
def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Run directories, teachers, ablations; finished or not.")
    ],
    out: PageOut,
) -> None:
    """Write runs as one HTML page: scores, curves, classes, calibration, rows, data, commands."""
    from distill.reports.writing import write_report

    print_written("report", write_report(runs, out))
