"""What a table says of a model's probabilities: how far off, and what calibration brings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distill.evaluation.calibration import (
    CalibrationFit,
    Labels,
    ProbabilityQuality,
    fit_calibration,
    quality,
)
from distill.inference.probabilities import UNCALIBRATED, log_probabilities
from distill.inference.settings import Calibration
from distill.runs.records import Record


class CalibrationReport(Record):
    """A model's probabilities on one split, before and after calibration.

    Attributes:
        split: Where they were judged.
        rows: Of it.
        temperature: Of the calibration; 1 where there is none.
        bias: Of the calibration, in the order of the task's labels; empty for none.
        stored: Whether the model holds it. Else it is what a fit would give.
        cross_fitted: Whether ``after`` is of rows each answered by a fit of others, as it is on the
            split that calibrations are fitted on; else it is of the stored calibration as it is.
        before: The probabilities without calibration.
        after: With it; None where there is none.
        reason: Why there is none, as a clause.
    """

    split: str
    rows: int
    temperature: float
    bias: tuple[float, ...]
    stored: bool
    cross_fitted: bool
    before: ProbabilityQuality
    after: ProbabilityQuality | None
    reason: str


def describe_fit(fit: CalibrationFit) -> str:
    """What a calibration is and brings, in words."""
    if fit.after is None:
        return f"not: {fit.reason}; calibration error {fit.before.ece:.3f}"
    bias = " and a bias per class" if fit.calibration.bias else ""
    error = f"calibration error {fit.before.ece:.3f} before, {fit.after.ece:.3f} after"
    return f"temperature {fit.calibration.temperature:.2f}{bias} · {error}"


def calibration_report(
    logits: NDArray[np.floating],
    labels: Labels,
    metric: str,
    split: str,
    *,
    stored: Calibration,
    fits: bool,
) -> CalibrationReport:
    """Judge probabilities before and after calibration.

    Args:
        logits: Shape (rows, classes), in the order of the labels.
        labels: Class numbers, shape (rows,).
        metric: What a bias may not lower.
        split: Where they come from.
        stored: The model's own calibration; the identity where it has none.
        fits: Whether this is the split that calibrations are fitted on.
    """
    has, own, reason = stored != UNCALIBRATED, stored, "none is stored with the model"
    if fits:
        fit = fit_calibration(logits, labels, metric)
        before, after, reason = fit.before, fit.after, fit.reason
        own = stored if has else fit.calibration
    else:
        before = quality(log_probabilities(logits), labels)
        after = quality(log_probabilities(logits, stored), labels) if has else None
    return CalibrationReport(
        split=split,
        rows=len(labels),
        temperature=own.temperature,
        bias=own.bias,
        stored=has,
        cross_fitted=fits and after is not None,
        before=before,
        after=after,
        reason="" if after else reason,
    )
