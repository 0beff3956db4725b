"""The commands that look at runs: a list, one of them, several side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from augment.contract.terminal import AsJson, examples, print_json
from distill.cli.options import Threads, use

app = typer.Typer()


@app.command("list", epilog=examples("distill list runs", "distill list models --json"))
def list_command(
    folder: Annotated[Path, typer.Argument(help="Runs in it and below are listed.")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """List the runs and teachers of a folder: score, time, and whether each is finished."""
    from augment.contract.terminal import labeled, open_console
    from distill.runs.listing import list_runs
    from distill.tables.runs import print_runs, run_facts

    runs = list_runs(folder)
    if as_json:
        print_json([run_facts(run) for run in runs])
    elif runs:
        print_runs(runs, open_console())
    else:
        none = f"no runs in {folder} and below; distill run makes one"
        open_console(err=True).print(labeled("notice", none))


@app.command(epilog=examples("distill show runs/sst2", "distill show models/sst2-teacher --json"))
def show(
    run: Annotated[Path, typer.Argument(help="A run directory, or the folder of a teacher.")],
    as_json: AsJson = False,
) -> None:
    """Show a run: its result, what its recipe changes, its data, and the time of each part."""
    from augment.contract.terminal import open_console
    from distill.cli.output import print_ablation, print_general, print_result
    from distill.evaluation.results import EvaluationResult, GeneralResult
    from distill.runs.listing import open_run
    from distill.tables.runs import print_run, run_facts

    found = open_run(run)
    if as_json:
        changes = [own.to_json() for own in found.changes]
        result = found.outcome.to_json() if found.outcome else None
        calls = [call.to_json() for call in found.calls]
        facts = {**run_facts(found), "made_of": dict(found.identity), "changes": changes}
        print_json({**facts, "calls": calls, "result": result})
        return
    console = open_console()
    print_run(found, console)
    if isinstance(found.outcome, EvaluationResult):
        print_result(found.outcome, console)
    elif isinstance(found.outcome, GeneralResult):
        print_general(found.outcome, console)
    elif found.outcome:
        print_ablation(found.outcome, console)


@app.command(
    epilog=examples(
        "distill compare runs/sst2 runs/sst2-paper",
        "distill compare runs/a runs/b runs/c --split validation --json",
    )
)
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Finished runs on one version; two or more.")],
    version: Annotated[
        str | None, typer.Option(help="That version, where it is not found where it lay.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="A labeled split; tests, else the one that selected, if left out."),
    ] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Put runs side by side: recipes, scores on the same rows, rows that changed sides.

    The students answer the rows again; each run is compared with the first one.
    """
    use(threads)
    from distill.cli.output import emit
    from distill.runs.comparison import compare_runs
    from distill.tables.runs import print_comparison

    emit(compare_runs(runs, version=version, split=split), as_json, print_comparison)
