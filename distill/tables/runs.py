"""Runs as a person reads them: a list, one of them, several side by side."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from augment.contract.foreign import counted, shown, span
from augment.contract.terminal import labeled, to_copy
from distill.evaluation.intervals import few_rows
from distill.evaluation.results import AblationResult, EvaluationResult, GeneralResult
from distill.runs.comparison import Comparison, Lead
from distill.runs.listing import Run, State
from distill.tables.cells import INTERVAL, print_table

MOST_ROWS = 10
"""Rows that changed sides, of each pair."""
_LONGEST = 200


def run_facts(run: Run) -> dict[str, Any]:
    """A run as JSON values."""
    facts = {
        "path": str(run.path),
        "kind": run.kind,
        "state": run.state,
        "task": run.task,
        "version_id": run.version_id,
        "version": str(run.version_path or ""),
        "problem": run.problem,
        "seconds": dict(run.seconds),
    }
    return {key: value for key, value in facts.items() if value not in ("", {})}


def print_runs(runs: Sequence[Run], console: Console) -> None:
    """Print runs, one a line, and what is wrong with those that cannot be read."""
    lines = [
        [str(run.path), run.kind, run.task or "–", _score(run), _took(run), run.state]
        for run in runs
    ]
    print_table(
        ["run", "made by", "task", "score", "took", ""], lines, console, (0, 1, 2, 5), (1, 4)
    )
    for run in runs:
        if run.problem:
            console.print(labeled("warning", run.problem))


def print_run(run: Run, console: Console) -> None:
    """Print what a run is, but for its table of models."""
    console.print(labeled("run", f"{run.path} · distill {run.kind} · {run.state}"))
    if run.version_id:
        where = f" · {run.version_path}" if run.version_path else ""
        name = getattr(run.outcome, "version", run.task or "version")
        console.print(labeled("data", f"{name} · {run.version_id[:6]}{where}"))
    for key in ("teacher", "student", "init"):
        if value := run.identity.get(key):
            console.print(labeled(key, _brief(value)))
    if run.calls:
        last = run.calls[-1]
        console.print(labeled("recipe", last.recipe or "made in Python"))
        console.print(labeled("begun", _moment(run.calls[0].at)))
        if last.command:
            console.print(to_copy("command", shlex.join(last.command)))
    if run.seconds:
        parts = " · ".join(f"{name} {span(spent)}" for name, spent in run.seconds.items())
        console.print(labeled("took", f"{span(sum(run.seconds.values()))}: {parts}"))
    if run.changes:
        console.print(labeled("changed", "from the default recipe"))
        rows = [[own.key, _brief(own.before), _brief(own.after)] for own in run.changes]
        print_table(["key", "default", "here"], rows, console, (0,))
    if run.state is State.UNFINISHED:
        console.print(labeled("next", "repeat the command that began it: it goes on from there"))


def _moment(at: str) -> str:
    """``2026-11-30 09:37 UTC``, of an ISO time."""
    return re.sub(r"T(\d\d:\d\d)[^+]*\+00:00$", r" \1 UTC", at)


def print_comparison(found: Comparison, console: Console) -> None:
    """Print runs side by side, and the rows that changed sides."""
    place = f"{found.version} · {found.split}, {counted(found.rows, 'row')} · {found.metric}"
    console.print(labeled("compared", place))
    leads = {lead.run: lead for lead in found.leads}
    lines = [
        [
            str(number),
            own.run,
            f"{own.score:.3f}",
            f"{own.interval.low:.3f}–{own.interval.high:.3f}",
            _ahead(leads.get(own.run)),
        ]
        for number, own in enumerate(found.runs, start=1)
    ]
    print_table(["", "run", found.metric, INTERVAL, "to run 1"], lines, console, (1,))
    for number, lead in enumerate(found.leads, start=2):
        console.print(labeled(f"run {number}", lead.sentence))
    console.print(f"  {INTERVAL} = where {found.metric} of resampled rows lies (bootstrap)")
    if few := few_rows(found.rows):
        console.print(labeled("notice", few))
    if found.recipe:
        console.print(labeled("recipe", "what is not the same"))
        names = [f"run {number}" for number in range(1, len(found.runs) + 1)]
        rows = [[own.key, *map(_brief, own.values)] for own in found.recipe]
        print_table(["key", *names], rows, console, (0,))
    for number, lead in enumerate(found.leads, start=2):
        _print_changed(number, lead, console)


def _print_changed(number: int, lead: Lead, console: Console) -> None:
    if not lead.rows:
        return
    counts = (
        f"run {number} is right on {lead.gained:,} where run 1 is wrong, wrong on {lead.lost:,}"
    )
    console.print(labeled("changed", f"{counts} where run 1 is right"))
    for row in lead.rows[:MOST_ROWS]:
        says = f"row {row.idx} · label {row.label} · run 1 {row.before} · run {number} {row.after}"
        texts = shown(" | ".join(row.texts), limit=_LONGEST)
        console.print(f"    {shown(says)} · {texts}")
    if len(lead.rows) > MOST_ROWS:
        console.print(f"    … and {len(lead.rows) - MOST_ROWS:,} more: --json has all")


def _ahead(lead: Lead | None) -> str:
    return "" if lead is None else f"{round(lead.difference, 3) + 0.0:+.3f}"


def _score(run: Run) -> str:
    own = run.outcome
    if isinstance(own, EvaluationResult):
        return f"{own.selection.metric} {own.selection.of(own.made.scores):.3f}"
    if isinstance(own, AblationResult):
        return counted(len(own.arms), "arm")
    return counted(own.tokens, "token") if isinstance(own, GeneralResult) else "–"


def _took(run: Run) -> str:
    return span(sum(run.seconds.values())) if run.seconds else "–"


def _brief(value: object) -> str:
    """A value in a cell; a digest by its first digits."""
    text = "–" if value is None else str(value)
    return text[:12] if len(text) == 64 and text.isalnum() else shown(text, limit=60)
