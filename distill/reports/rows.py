"""The parts of a report that come from answers row by row: calibration, and who disagrees."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from augment.contract.foreign import counted
from augment.contract.page import Cell, Column, figures, note, number, table
from distill.evaluation.results import Role
from distill.inference.probabilities import UNCALIBRATED
from distill.reports.charts import Curve, Point, points, reliability
from distill.reports.scores import label_cell
from distill.runs.answers import ModelAnswers, RowAnswers

MOST_ROWS = 200
"""Rows of a table."""
MOST_TEXT = 20_000
"""Characters of all texts of one row."""
BINS, FEWEST = 10, 5
"""Bins of confidence, and rows that one needs to be drawn."""


def calibration_parts(answers: RowAnswers) -> Iterable[Markup]:
    """How often each model is right when it is so sure; of a regression, answers against scores."""
    if not answers.names:
        yield figures(_scatter(answers, name, own) for name, own in answers.models.items())
        return
    drawn = []
    for name, own in answers.models.items():
        lines = [("as it answers", own)]
        if own.calibration != UNCALIBRATED:
            lines.append(("without calibration", ModelAnswers(own.logits, UNCALIBRATED)))
        curves = [curve for what, each in lines if (curve := _curve(what, each, answers)).x]
        if curves:
            drawn.append(reliability(name, curves))
    yield figures(drawn)
    of = "all " * (len(answers.idx) == answers.total) + counted(len(answers.idx), "row")
    yield note(
        f"{of} of {answers.split}, in {BINS} bins of confidence; bins of fewer than {FEWEST} "
        "rows are left out. On the diagonal a model is right as often as it says. A calibration "
        "that was fitted on these rows looks a little better here than elsewhere."
    )


def _curve(name: str, own: ModelAnswers, answers: RowAnswers) -> Curve:
    shares, right = own.probabilities.max(axis=1), own.classes == answers.labels
    finite = np.isfinite(shares)  # in no bin lies what a model that has diverged is sure of
    shares, right = shares[finite], right[finite]
    bins = np.clip(np.ceil(shares * BINS), 1, BINS).astype(np.int64) - 1
    rows = np.bincount(bins, minlength=BINS)
    kept = rows >= FEWEST
    x, y = (np.bincount(bins, values, BINS)[kept] / rows[kept] for values in (shares, right))
    return Curve(name, x.tolist(), y.tolist())


def _scatter(answers: RowAnswers, name: str, own: ModelAnswers) -> Markup:
    labels = np.asarray(answers.labels, dtype=np.float64)
    step = max(1, len(labels) // 300)
    some = [
        Point("", name, x, y)
        for x, y in zip(labels[::step].tolist(), own.scores[::step].tolist(), strict=True)
    ]
    return points(f"{name}: answers against labels", some, x="label", y="answer", log=False)


def disagreement_parts(answers: RowAnswers) -> Iterable[Markup]:
    """Rows to which teacher and student give different answers, the surest first."""
    teacher, student = (answers.models.get(role) for role in (Role.TEACHER, Role.DISTILLED))
    if teacher is None or student is None:
        yield note("There is no teacher model to compare the student with, row by row.")
    elif answers.names:
        yield from _classes(answers, teacher, student)
    else:
        yield from _scores(answers, teacher, student)


def _classes(answers: RowAnswers, teacher: ModelAnswers, student: ModelAnswers) -> Iterable[Markup]:
    one, two, names = teacher.classes, student.classes, answers.names
    labels = np.asarray(answers.labels, dtype=np.int64)
    ones, twos = teacher.probabilities, student.probabilities
    at = np.arange(len(labels))
    sure = ones[at, one] + twos[at, two]
    apart = np.flatnonzero(one != two)
    apart = apart[np.argsort(-sure[apart], kind="stable")]
    right = {
        "teacher": int((one[apart] == labels[apart]).sum()),
        "student": int((two[apart] == labels[apart]).sum()),
    }
    if not len(apart):
        yield note(
            f"Teacher and student give the same answer to all {counted(len(labels), 'row')}."
        )
        return
    yield note(
        f"Of {counted(len(labels), 'row')} of {answers.split} {len(apart):,} get "
        f"different answers; the "
        f"teacher is right on {right['teacher']:,} of them, the student on {right['student']:,}."
    )
    heads = [Column("row", number=True), Column("text"), Column("label", choice=len(names) <= 40)]
    heads += [Column("right", "whose answer is the label", choice=True)]
    heads += [Column("teacher says"), Column("surely", "probability of its answer", True)]
    heads += [Column("label, teacher", "probability of the label", True)]
    heads += [Column("student says"), Column("surely", "probability of its answer", True)]
    heads += [Column("label, student", "probability of the label", True)]
    lines = []
    for row in _few(apart):
        label = labels[row]
        who = "teacher" if one[row] == label else "student" if two[row] == label else "neither"
        cells = [_index(answers, row), _text(answers, row), label_cell(names[label])]
        cells.append(Cell(who))
        for own, shares in ((one, ones), (two, twos)):
            cells += [label_cell(names[own[row]]), number(float(shares[row, own[row]]), 2)]
            cells.append(number(float(shares[row, label]), 2))
        lines.append(cells)
    about = f"Different answers, the surest {len(lines):,} of {len(apart):,} first"
    yield table(about, heads, lines, filters=True)


def _scores(answers: RowAnswers, teacher: ModelAnswers, student: ModelAnswers) -> Iterable[Markup]:
    gap = np.abs(teacher.scores - student.scores)
    heads = [Column("row", number=True), Column("text")]
    heads += [Column(name, number=True) for name in ("label", "teacher", "student", "difference")]
    labels = np.asarray(answers.labels, dtype=np.float64)
    lines = [
        [_index(answers, row), _text(answers, row)]
        + [number(float(own[row]), 2) for own in (labels, teacher.scores, student.scores, gap)]
        for row in _few(np.argsort(-gap, kind="stable"))
    ]
    yield table("Rows whose scores differ most", heads, lines, filters=True)


def _few(rows: NDArray[np.int64]) -> list[int]:
    return [int(row) for row in rows[:MOST_ROWS]]


def _index(answers: RowAnswers, row: int) -> Cell:
    index = int(answers.idx[row])
    return Cell(index, index)


def _text(answers: RowAnswers, row: int) -> Cell:
    return Cell(" ▸ ".join(text[:MOST_TEXT] for text in answers.texts[row]), foreign=True)
