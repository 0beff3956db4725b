"""Filters that ask a model: is a text still near its original, does a teacher still agree?

Every decision is the canonical one, see ``scorer``: float32 decides where it is clear, float64
where it is close.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from augment.versions.rows import OutputRow, Texts

if TYPE_CHECKING:
    from augment.filters.scorer import Scorer, Scores

LOGIT_STEPS = 256
"""Kept logits are multiples of 1/256: exact in float32, and finer than what a distillation that
computes in bfloat16 can tell apart."""


@dataclass(frozen=True, slots=True)
class SimilarityFilter:
    """Refuses rows of which a changed text is no longer near its original.

    A row without an original passes.

    Attributes:
        scorer: A sentence encoder that gives unit vectors.
        min_similarity: Least cosine of a changed text and its original.
    """

    scorer: Scorer
    min_similarity: float

    def apply(self, rows: Sequence[OutputRow]) -> list[OutputRow]:
        """Refuse dissimilar rows; the encoder sees the changed text alone."""
        asked = [row for row in rows if row.variant and not row.reason]
        vectors = self.scorer.score(
            texts for row in asked for pair in _before_and_after(row) for texts in pair
        )
        return [
            replace(row, reason="dissimilar")
            if row.variant and not row.reason and not self._is_near(row, vectors)
            else row
            for row in rows
        ]

    def _is_near(self, row: OutputRow, vectors: Scores) -> bool:
        def cosine(vector_of: Callable[[Texts], np.ndarray], pair: tuple[Texts, Texts]) -> float:
            before, after = map(vector_of, pair)
            return float((before * after).sum())

        return all(
            vectors.measure(partial(cosine, pair=pair), self.min_similarity) >= self.min_similarity
            for pair in _before_and_after(row)
        )


def _before_and_after(row: OutputRow) -> list[tuple[Texts, Texts]]:
    """Each changed text before and after, as rows of their own; none without an original."""
    pairs: list[tuple[Texts, Texts]] = [
        ((before,), (after,)) for before, after in zip(row.original, row.texts, strict=False)
    ]
    return [pair for pair in pairs if pair[0] != pair[1]] or pairs[row.column : row.column + 1]


@dataclass(frozen=True, slots=True)
class TeacherFilter:
    """Refuses rows to which a teacher gives another label, and keeps its logits.

    Attributes:
        scorer: A classifier of the task, with logits in the order of its labels.
        agreement: ``off``, ``unchanged`` (the teacher's label of the original) or ``gold``.
        tolerance: How far a score may lie off, for regression.
        regression: Whether the teacher gives a score instead of classes.
        keep_logits: Whether rows that pass get the teacher's logits, source rows too.
    """

    scorer: Scorer
    agreement: str = "off"
    tolerance: float = 0.5
    regression: bool = False
    keep_logits: bool = False

    def apply(self, rows: Sequence[OutputRow]) -> list[OutputRow]:
        """Refuse rows that the teacher does not agree with."""
        passing = (row for row in rows if not row.reason)
        scores = self.scorer.score(texts for row in passing for texts in self._asked(row))
        return [row if row.reason else self._filtered(row, scores) for row in rows]

    def _asked(self, row: OutputRow) -> Iterator[Texts]:
        """What the teacher must read for a row."""
        if self.keep_logits or self._judges(row):
            yield row.texts
        if self._judges(row) and self._expects_the_same(row):
            yield row.original

    def _judges(self, row: OutputRow) -> bool:
        """Whether there is anything to agree with."""
        has_measure = bool(row.original) or row.label is not None
        return bool(row.variant) and self.agreement != "off" and has_measure

    def _expects_the_same(self, row: OutputRow) -> bool:
        """Whether the teacher's answer must be that of the original; else the row's label."""
        return row.label is None or (self.agreement == "unchanged" and not row.own_label)

    def _filtered(self, row: OutputRow, scores: Scores) -> OutputRow:
        if self._judges(row) and not self._agrees(row, scores):
            return replace(row, reason="teacher_disagrees")
        return replace(row, logits=rounded_logits(scores, row.texts)) if self.keep_logits else row

    def _agrees(self, row: OutputRow, scores: Scores) -> bool:
        original = row.original if self._expects_the_same(row) else None
        if self.regression:
            moved = score_distance(scores, row.texts, original, row.label, self.tolerance)
            return moved <= self.tolerance
        expected = row.label if original is None else best_class(scores, original)
        return best_class(scores, row.texts) == expected


def best_class(scores: Scores, texts: Texts) -> int:
    """The class of the largest logit; of exactly equal ones the first."""
    values = scores[texts]
    second, first = np.partition(values, -2)[-2:]
    if first - second < 2 * scores.rounding:
        values = scores.settle(texts)
    return int(values.argmax())


def score_distance(
    scores: Scores, texts: Texts, original: Texts | None, label: float | None, tolerance: float
) -> float:
    """How far a score lies from that of the original, or from the label where none is given."""

    def distance(value_of: Callable[[Texts], np.ndarray]) -> float:
        reference = label
        if original is not None:
            reference = float(value_of(original)[0])
        assert reference is not None
        return abs(float(value_of(texts)[0]) - reference)

    return scores.measure(distance, tolerance)


def rounded_logits(scores: Scores, texts: Texts) -> tuple[float, ...]:
    """A row's values rounded to multiples of 1/``LOGIT_STEPS``, halves upwards."""
    steps = scores[texts] * LOGIT_STEPS
    if (np.abs(steps - np.floor(steps) - 0.5) < scores.rounding * LOGIT_STEPS).any():
        steps = scores.settle(texts) * LOGIT_STEPS
    return tuple(math.floor(step + 0.5) / LOGIT_STEPS for step in steps.tolist())
