"""The command that says what each part of the method is worth on one's own data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from augment.contract.terminal import AsJson, examples, number
from distill.cli.options import Quiet, Recipe, Threads, Version, use

app = typer.Typer()


@app.command(
    epilog=examples(
        "distill ablate data/versions/cola --teacher models/cola-teacher --student "
        "tinybert-4l-312d --general models/general/student --seeds 3 --out "
        "runs/ablation",
        "distill ablate data/versions/cola --teacher models/cola-teacher --student "
        "tinybert-4l-312d --arm no-da --arm no-td --out runs/two-arms",
    )
)
def ablate(
    version: Version,
    teacher: Annotated[str, typer.Option(help="Folder or hub name of a fine-tuned classifier.")],
    student: Annotated[
        str, typer.Option(help="A shape such as 4x312-1200-12: how a student without GD starts.")
    ],
    out: Annotated[Path, typer.Option(help="The directory of the ablation.")],
    general: Annotated[
        str | None,
        typer.Option(help="A general student (distill general); without one there is no no-gd."),
    ] = None,
    recipe: Recipe = "quick",
    arm: Annotated[
        list[str] | None,
        typer.Option(
            help="no-gd, no-td, no-da, no-embd, no-pred, no-trm, no-attn, no-hidn, top or bottom; "
            "several times for several, all if left out. whole is always run."
        ),
    ] = None,
    seeds: Annotated[int, number("Runs of each arm, with seeds 0, 1, …", least=1)] = 1,
    threads: Threads = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run the paper's Tables 2 to 4 on a version: leave out one part at a time.

    Arms share the tokens and, where it is the same, the first stage; the same command again goes
    on where it was interrupted, and with more seeds or arms adds them.
    """
    use(threads)
    from distill.ablation import ablate_task
    from distill.cli.output import emit, print_ablation

    result = ablate_task(
        version,
        teacher=teacher,
        student=student,
        out=out,
        general=general,
        recipe=recipe,
        arms=arm or [],
        seeds=range(seeds),
        quiet=quiet,
    )
    emit(result, as_json, print_ablation, kept=out)
