"""Class by class: how much of it was found, how much that was called so is, what is confused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distill.evaluation.metrics import Array
from distill.runs.records import Record

HARDLY = 0.1
"""Recall up to which a class is hardly ever found."""
FEWEST_ROWS = 5
"""Of a class; fewer are missed by chance."""


class ClassScore(Record):
    """How well one class is told from the others.

    Attributes:
        name: Of the class.
        precision: Share of the rows with this answer that are of the class; 0 without any.
        recall: Share of the rows of the class that were found; 0 without any.
        f1: Their harmonic mean.
        support: Rows of the class.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


class ClassReport(Record):
    """Every class of a task on one split.

    Attributes:
        scores: In the order of the task's labels, whether or not they occur.
        confusion: Name of the label to name of the answer to rows, where there are any.
    """

    scores: tuple[ClassScore, ...]
    confusion: dict[str, dict[str, int]]

    @property
    def by_recall(self) -> list[ClassScore]:
        """The classes that have rows, those that are found least first."""
        return sorted((own for own in self.scores if own.support), key=lambda own: own.recall)

    @property
    def lost(self) -> list[ClassScore]:
        """Classes of at least 5 rows of which at most a tenth is found."""
        return [o for o in self.by_recall if o.recall <= HARDLY and o.support >= FEWEST_ROWS]

    def answered(self, label: str, answer: str) -> int:
        """Rows of a class that got an answer."""
        return self.confusion.get(label, {}).get(answer, 0)


def class_report(answers: Array, labels: Array, names: Sequence[str]) -> ClassReport:
    """Count the answers to the rows of every class.

    Args:
        answers: Class numbers, shape (rows,).
        labels: Likewise.
        names: Of the classes.
    """
    pairs, counts = np.unique(np.stack([labels, answers]), axis=1, return_counts=True)
    confusion: dict[str, dict[str, int]] = {}
    rows, given, right = (np.zeros(len(names), dtype=np.int64) for _ in range(3))
    for label, answer, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
        confusion.setdefault(names[label], {})[names[answer]] = count
        rows[label] += count
        given[answer] += count
        right[label] += count * (label == answer)
    shares = (right / np.maximum(part, 1) for part in (given, rows, (given + rows) / 2))
    figures = zip(names, *(own.tolist() for own in shares), rows.tolist(), strict=True)
    return ClassReport(
        scores=tuple(
            ClassScore(name=name, precision=precision, recall=recall, f1=f1, support=support)
            for name, precision, recall, f1, support in figures
        ),
        confusion=confusion,
    )
