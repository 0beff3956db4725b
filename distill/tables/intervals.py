"""Scores as a person reads them: each beside the interval that tells how sure it is."""

from __future__ import annotations

from collections.abc import Sequence

from distill.evaluation.intervals import FEWEST_ROWS, few_rows
from distill.evaluation.results import (
    Baseline,
    EvaluationResult,
    Measurement,
    Selection,
    metric_columns,
)
from distill.tables.cells import INTERVAL

Scored = Measurement | Baseline


def score_heads(result: EvaluationResult) -> list[str]:
    """Names of the score columns; an interval stands behind the metric that it is of."""
    names = [name for name, _ in metric_columns(result.models[0].scores)]
    for at in reversed(_places(result.models[0], result.selection, _measured(result))):
        names.insert(at + 1, INTERVAL)
    return names


def score_cells(own: Scored, result: EvaluationResult) -> list[str]:
    """The cells of those columns."""
    cells = [f"{value:.3f}" for _, value in metric_columns(own.scores)]
    splits = _measured(result)
    places = _places(own, result.selection, splits)
    for split, at in reversed([*zip(splits, places, strict=True)]):
        found = own.intervals.get(split)
        cells.insert(at + 1, f"{found.low:.3f}–{found.high:.3f}" if found else "–")
    return cells


def interval_notes(result: EvaluationResult) -> list[str]:
    """What the columns mean, and on which split nothing was chosen."""
    notes = []
    if _measured(result):
        metric = result.selection.metric
        notes.append(f"{INTERVAL} = where {metric} of resampled rows lies (bootstrap)")
        known = (
            (split, few_rows(result.rows.get(split, FEWEST_ROWS))) for split in _measured(result)
        )
        notes += [f"{split}: {few}" for split, few in known if few]
    if result.tests:
        chosen = f"the best step of a stage was chosen on {result.selection.split}"
        notes.append(f"{' and '.join(result.tests)}: nothing was chosen there; {chosen}")
    return notes


def _measured(result: EvaluationResult) -> list[str]:
    """The splits with an interval of some model."""
    rows: Sequence[Scored] = [*result.models, *result.baselines]
    return [s for s in result.models[0].scores if any(s in own.intervals for own in rows)]


def _places(own: Scored, selection: Selection, splits: Sequence[str]) -> list[int]:
    """Where the selection metric of each split stands among all columns."""
    columns = [(split, metric) for split, scores in own.scores.items() for metric in scores]
    return [columns.index((split, selection.metric)) for split in splits]
