"""The parts of a report that set scores against size and time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup

from augment.contract.page import figures, note
from distill.evaluation.answer_times import EndToEnd
from distill.evaluation.results import Baseline, EvaluationResult, Measurement
from distill.reports.charts import Point, points
from distill.reports.reading import ReadRun
from distill.serving.export import ExportedForm

Times = Mapping[str, EndToEnd]
PYTORCH = "pytorch"
"""The form that all others of an export were made from: it is the student itself."""


def trade_off_parts(runs: Sequence[ReadRun], times: Times) -> Iterable[Markup]:
    """Score against size, and against the time of one raw text, of runs on the same data."""
    groups: dict[tuple[str, str], list[ReadRun]] = {}
    for own in runs:
        if (result := own.result) is not None:
            groups.setdefault((result.version_id, result.selection.metric), []).append(own)
    for (_, metric), members in groups.items():
        first = members[0].result
        assert first is not None
        about = f"{metric} on {first.selection.split} of {first.version}"
        drawn = []
        if sizes := _once(point for own in members for point in _sizes(own)):
            drawn.append(points(f"{about}, against size", sizes, x="MB on disk", y=metric))
        if timed := _once(point for own in members for point in _times(own, times)):
            order = [each.group for each in sizes]
            drawn.append(
                points(f"{about}, against time", timed, x="ms a raw text", y=metric, groups=order)
            )
        yield figures(drawn)
        yield note(
            "Vertical lines are 95% intervals. Times are medians from a raw text to its label, "
            "tokenizing included, on one thread: of students measured for this page, in turns; of "
            "exported forms and baselines when they were made."
        )


def _once(found: Iterable[Point]) -> list[Point]:
    """Points without those that several runs share: a baseline, or the same teacher."""
    kept: dict[object, Point] = {}
    for own in found:
        key = (own.group, "") if not own.name else (own.group, f"{own.x:.4g}", f"{own.y:.6f}")
        kept.setdefault(key, own)
    return list(kept.values())


def _sizes(run: ReadRun) -> Iterable[Point]:
    result = run.result
    assert result is not None
    for own in result.models:
        yield _point(run.name, own.model, result, own, own.file_bytes / 1e6)
    for simple in result.baselines:
        if simple.file_bytes:
            yield _point("", simple.name, result, simple, simple.file_bytes / 1e6)
    for form in _forms(run):
        yield Point(run.name, form.form, form.file_bytes / 1e6, result.selection.of(form.scores))


def _times(run: ReadRun, times: Times) -> Iterable[Point]:
    result = run.result
    assert result is not None
    if (timed := times.get(run.name)) is not None:
        yield _point(run.name, result.made.model, result, result.made, timed.batch_1)
    for form in _forms(run):
        for own in form.end_to_end[:1]:
            yield Point(run.name, form.form, own.batch_1, result.selection.of(form.scores))
    for simple in result.baselines:
        for own in simple.end_to_end[:1]:
            yield _point("", simple.name, result, simple, own.batch_1)


def _forms(run: ReadRun) -> Iterable[ExportedForm]:
    """The exported forms that were scored on what selects."""
    result = run.result
    for form in run.forms:
        known = result and result.selection.metric in form.scores.get(result.selection.split, {})
        if known and form.form != PYTORCH:
            yield form


def _point(
    name: str, group: str, result: EvaluationResult, own: Measurement | Baseline, x: float
) -> Point:
    found = own.intervals.get(result.selection.split)
    low, high = (found.low, found.high) if found else (None, None)
    return Point(name, group, x, result.selection.of(own.scores), low, high)
