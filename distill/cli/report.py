"""The command that writes runs as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command(
    epilog="Example: distill report runs/sst2 --out sst2.html\n\n"
    "Example: distill report runs/* --out runs.html"
)
def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Run directories, teachers, ablations; finished or not.")
    ],
    out: Annotated[Path, typer.Option(help="The page to write; its name ends in .html.")],
) -> None:
    """Write runs as one HTML page: scores, curves, classes, calibration, rows, data, commands."""
    from augment.contract.terminal import after_commit, labeled, open_console
    from distill.reports.writing import write_report

    place = write_report(runs, out)
    with after_commit(place):
        open_console().print(labeled("report", str(place)))
