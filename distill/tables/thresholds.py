"""What a person reads of thresholds of confidence, and of a cascade."""

from __future__ import annotations

from rich.console import Console

from augment.contract.foreign import counted, shown
from augment.contract.terminal import labeled
from distill.evaluation.thresholds import FEWEST, OperatingPoint
from distill.serving.cascade import WITHIN, Cascade, CascadePoint, ThresholdResult, Wanted
from distill.tables.cells import Cells, print_table

_USES = {
    "training": "a model of this version was trained on these rows",
    "selection": "these rows also chose the model's step and calibration",
}


def print_thresholds(result: ThresholdResult, console: Console) -> None:
    """Print who is answered at each threshold, what was asked for, and the cascade."""
    split, rows = next(iter(result.rows.items()))
    console.print(labeled("thresholds", f"{result.model} · {result.version} · {split}"))
    head = ["threshold", "answered", "rows", "right"]
    print_table(head, [_cells(own) for own in result.points], console, words=())
    notes = [f"answered = of {counted(rows, 'row')}; right = of those answered"]
    if not result.calibrated:
        notes.append("the model holds no calibration; distill export fits one")
    if result.used_for:
        notes.append(f"{_USES[result.used_for]}: --split test tells")
    for note in notes:
        console.print(f"  {shown(note)}")
    for wanted in result.wanted:
        console.print(labeled("wanted", _sentence(wanted)))
    if result.cascade:
        _print_cascade(result.cascade, result, rows, console)


def _cells(point: OperatingPoint) -> Cells:
    return [
        f"{point.threshold:.4f}",
        f"{point.coverage:.1%}",
        f"{point.answered:,}",
        _share(point.precision),
    ]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _sentence(wanted: Wanted) -> str:
    point = wanted.point
    whose = f" of {wanted.label!r}" if wanted.label else ""
    if wanted.abstain is not None:
        about = f"at most {wanted.abstain:.1%} without an answer"
    else:
        about = f"precision {wanted.precision:.3f}{whose}"
    if point is None:
        return f"{about}: no threshold gives it on {FEWEST} rows or more"
    said = f"{about}: --abstain-below {point.threshold:.4f}"
    return (
        f"{said} answers {point.answered:,} of {counted(point.rows, 'row')}{whose}, "
        f"{_share(point.precision)} right (at least {_share(point.low)} by the 95% interval)"
    )


def _print_cascade(found: Cascade, result: ThresholdResult, rows: int, console: Console) -> None:
    metric = result.selection.metric
    console.print(labeled("cascade", f"{found.teacher} answers below the threshold"))
    head = ["threshold", "handed over", metric, "a text"]
    points = [*found.points, found.alone]
    print_table(head, [_cascade_cells(own, rows) for own in points], console, words=())
    console.print(
        "  – = the teacher alone; a text = mean time of one, from its characters to its label"
    )
    chosen = _cascade_cells(found.chosen, rows)
    if found.chosen.threshold is None:
        said = "the teacher alone: no threshold is cheaper and within a point of it"
    elif found.chosen.handed_over == 0:
        said = f"the student alone: {metric} {chosen[2]}, {chosen[3]} a text"
    else:
        said = f"threshold {chosen[0]}: {chosen[1]} handed over, {metric} {chosen[2]}, {chosen[3]}"
    near = f"within {WITHIN} of the teacher's {metric} at the least cost"
    console.print(labeled("choice", f"{said}; {near}"))


def _cascade_cells(point: CascadePoint, rows: int) -> Cells:
    return [
        "–" if point.threshold is None else f"{point.threshold:.4f}",
        f"{point.handed_over / rows:.1%}",
        f"{point.score:.3f}",
        f"{point.milliseconds:.1f} ms",
    ]
