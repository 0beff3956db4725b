"""What a person reads of probabilities: how far off they are, before and after calibration."""

from __future__ import annotations

from rich.console import Console

from augment.contract.foreign import shown
from augment.contract.terminal import labeled
from distill.evaluation.reliability import CalibrationReport
from distill.evaluation.results import EvaluationResult
from distill.tables.cells import Cells, print_table


def print_calibration(result: EvaluationResult, console: Console) -> None:
    """Print calibration error, Brier score and log loss of each model, before and after."""
    reports = {own.model: own.calibration for own in result.models if own.calibration}
    if not reports:
        return
    first = next(iter(reports.values()))
    console.print(labeled("calibration", f"{first.split} · probabilities without → with it"))
    head = ["model", "temperature", "ECE", "Brier", "log loss"]
    print_table(head, [_cells(name, own) for name, own in reports.items()], console)
    notes = [
        "ECE = expected calibration error, of confidence against accuracy in 15 bins; Brier = "
        "squared distance from certainty, 0 to 2"
    ]
    if any(own.cross_fitted for own in reports.values()):
        notes.append("with = each row answered by a fit of other rows")
    notes += [
        f"{name}: not stored with the model; distill export stores it"
        for name, own in reports.items()
        if own.after and not own.stored
    ]
    notes += [f"{name}: a bias per class too" for name, own in reports.items() if own.bias]
    notes += [f"{name}: none: {own.reason}" for name, own in reports.items() if own.reason]
    for note in notes:
        console.print(f"  {shown(note)}")


def _cells(name: str, report: CalibrationReport) -> Cells:
    before, after = report.before, report.after
    pairs = [
        (before.ece, after and after.ece),
        (before.brier, after and after.brier),
        (before.log_loss, after and after.log_loss),
    ]
    shifts = [f"{one:.3f}" + (f" → {two:.3f}" if two is not None else "") for one, two in pairs]
    return [name, f"{report.temperature:.2f}" if after else "–", *shifts]
