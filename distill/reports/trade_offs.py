"""The parts of a report that set scores against size and time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from augment.contract.page import figures, note
from distill.evaluation.results import Baseline, EvaluationResult, Measurement
from distill.reports.charts import Point, points
from distill.reports.reading import ReadRun


def trade_off_parts(runs: Sequence[ReadRun]) -> Iterable[Markup]:
    """Score against size, and against the time of one sentence, of runs on the same data."""
    groups: dict[tuple[str, str], list[tuple[str, EvaluationResult]]] = {}
    for own in runs:
        if (result := own.result) is not None:
            groups.setdefault((result.version_id, result.selection.metric), []).append(
                (own.name, result)
            )
    for (_, metric), results in groups.items():
        first = results[0][1]
        about = f"{metric} on {first.selection.split} of {first.version}"
        sizes = [point for name, own in results for point in _sizes(name, own)]
        times = [point for name, own in results for point in _times(name, own)]
        drawn = []
        if sizes:
            drawn.append(points(f"{about}, against size", sizes, x="MB on disk", y=metric))
        if times:
            drawn.append(points(f"{about}, against time", times, x="ms a sentence", y=metric))
        yield figures(drawn)
        yield note("Lines are 95% intervals; each table of results has the numbers.")


def _sizes(name: str, result: EvaluationResult) -> Iterable[Point]:
    named: list[tuple[str, Measurement | Baseline]] = [(own.model, own) for own in result.models]
    named += [(own.name, own) for own in result.baselines]
    for group, own in named:
        if own.file_bytes:
            yield _point(name, group, result, own, own.file_bytes / 1e6)


def _times(name: str, result: EvaluationResult) -> Iterable[Point]:
    for own in result.models:
        yield _point(name, own.model, result, own, own.latency.batch_1)


def _point(
    name: str, group: str, result: EvaluationResult, own: Measurement | Baseline, x: float
) -> Point:
    found = own.intervals.get(result.selection.split)
    low, high = (found.low, found.high) if found else (None, None)
    return Point(name, group, x, result.selection.of(own.scores), low, high)
