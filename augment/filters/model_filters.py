"""Gates that need a model: does a teacher still agree, is a text still near its original?

Every decision is the canonical one, see ``scoring``: float32 decides where it is clear, float64
where it is close.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from augment.filters.rules import ModelFilterRules

if TYPE_CHECKING:
    from augment.filters.scorer import Scorer, Scores


ROUNDING = 5e-5
"""More than float32 ever moves a logit or a part of a unit vector: 17 times the largest distance
from float64 seen on real texts with a fine-tuned model (2.9e-6)."""

GRID = 256
"""Kept logits are multiples of 1/256: exact in float32, and finer than what a distillation that
computes in bfloat16 can tell apart."""

Texts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """A row to be judged.

    Attributes:
        texts: The row's texts.
        original: Those of its source row.
        column: Which text was changed, or None for a source row, which is never refused.
        label: The source row's label.
    """

    texts: Texts
    original: Texts
    column: int | None
    label: int | float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judges say of a row.

    Attributes:
        reason: Why it is refused; empty for a row that passes.
        logits: The teacher's answer in the order of the task's labels, where it is kept.
    """

    reason: str = ""
    logits: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class ModelFilters:
    """The models of a recipe's gates.

    Attributes:
        rules: What the recipe asks of them.
        teacher: A classifier of the task, with logits in the order of its labels.
        encoder: A sentence encoder that gives unit vectors.
    """

    rules: ModelFilterRules
    teacher: Scorer | None = None
    encoder: Scorer | None = None

    def judge(self, cases: Sequence[Case]) -> list[Verdict]:
        """Judge rows; what the encoder refuses is not shown to the teacher."""
        near = self._near(cases)
        scores = None
        if self.teacher is not None:
            standing = [case for case, passes in zip(cases, near, strict=True) if passes]
            scores = self.teacher.score(texts for case in standing for texts in self._asked(case))
        return [
            self._verdict(case, scores) if passes else Verdict("dissimilar")
            for case, passes in zip(cases, near, strict=True)
        ]

    def _near(self, cases: Sequence[Case]) -> list[bool]:
        """Whether each changed text is as similar to its original as the recipe asks."""
        if self.encoder is None:
            return [True] * len(cases)
        pairs = [_changed(case) for case in cases]
        vectors = self.encoder.score(text for pair in pairs if pair for text in pair)
        least = self.rules.min_similarity
        return [pair is None or _similarity(vectors, *pair, least) >= least for pair in pairs]

    def _asked(self, case: Case) -> Iterator[Texts]:
        """What the teacher must read for a row."""
        generated = case.column is not None
        if self.rules.teacher_logits or (generated and self.rules.agreement != "off"):
            yield case.texts
        if generated and self.rules.agreement == "unchanged":
            yield case.original

    def _verdict(self, case: Case, scores: Scores | None) -> Verdict:
        if scores is None:
            return Verdict()
        if case.column is not None and not self._agrees(case, scores):
            return Verdict("teacher_disagrees")
        kept = on_grid(scores, case.texts) if self.rules.teacher_logits else None
        return Verdict("", kept)

    def _agrees(self, case: Case, scores: Scores) -> bool:
        rules = self.rules
        if rules.agreement == "off":
            return True
        own = case.original if rules.agreement == "unchanged" else None
        if rules.regression:
            return moved(scores, case.texts, own, case.label, rules.tolerance) <= rules.tolerance
        return best(scores, case.texts) == (case.label if own is None else best(scores, own))


def best(scores: Scores, texts: Texts) -> int:
    """The class of the largest logit; of exactly equal ones the first."""
    values = scores[texts]
    second, first = np.partition(values, -2)[-2:]
    if first - second < 2 * ROUNDING:
        values = scores.settle(texts)
    return int(values.argmax())


def moved(
    scores: Scores, texts: Texts, original: Texts | None, label: float, tolerance: float
) -> float:
    """How far a score lies from that of the original, or from the label where none is given."""

    def distance(of: Scores | _Settled) -> float:
        reference = label if original is None else float(of[original][0])
        return abs(float(of[texts][0]) - reference)

    found = distance(scores)
    return distance(_Settled(scores)) if abs(found - tolerance) < 2 * ROUNDING else found


def on_grid(scores: Scores, texts: Texts) -> tuple[float, ...]:
    """A row's values rounded to multiples of 1/``GRID``, halves upwards."""
    steps = scores[texts] * GRID
    if (np.abs(steps - np.floor(steps) - 0.5) < ROUNDING * GRID).any():
        steps = scores.settle(texts) * GRID
    return tuple(math.floor(step + 0.5) / GRID for step in steps.tolist())


@dataclass(frozen=True, slots=True)
class _Settled:
    """Scores of which every one that is read is canonical."""

    scores: Scores

    def __getitem__(self, texts: Texts) -> np.ndarray:
        return self.scores.settle(texts)


def _changed(case: Case) -> tuple[Texts, Texts] | None:
    """The changed text before and after, each as a row of its own."""
    if case.column is None:
        return None
    return (case.original[case.column],), (case.texts[case.column],)


def _similarity(vectors: Scores, before: Texts, after: Texts, least: float) -> float:
    """The cosine of two texts."""
    found = float((vectors[before] * vectors[after]).sum())
    if abs(found - least) < 2 * ROUNDING:
        found = float((vectors.settle(before) * vectors.settle(after)).sum())
    return found
