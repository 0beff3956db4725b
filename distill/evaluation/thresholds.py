"""What a threshold of confidence gives: who is answered, and how many of these answers are right.

Confidence is the probability of the label that is named. A row is answered where it is not below
the threshold, as ``distill predict --abstain-below`` does. Thresholds have four decimals, rounded
down, so that the rows they were found on are answered by whoever types them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.runs.records import Record

Numbers = NDArray[np.float64]
STEPS = 10_000
SHARES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Of the rows that a table has a threshold for."""
FEWEST = 10
"""Rows that a precision is believed of."""


class OperatingPoint(Record):
    """A threshold on some labeled rows.

    Attributes:
        threshold: Rows with at least this confidence are answered.
        rows: Of them all.
        answered: Rows that are answered.
        right: Answers that are the label.
        low: Lower end of the 95% interval of the precision (Wilson, 1927), or nothing.
    """

    threshold: float
    rows: int
    answered: int
    right: int
    low: float | None

    @property
    def coverage(self) -> float:
        """Share of the rows that is answered."""
        return self.answered / self.rows

    @property
    def precision(self) -> float | None:
        """Share of the answers that is right; of all labels together, their accuracy."""
        return self.right / self.answered if self.answered else None


@dataclass(frozen=True, slots=True)
class Ranked:
    """Rows in falling order of confidence.

    Attributes:
        confidence: Shape (rows,).
        right: Answers that are the label among the first 0, 1, … rows, shape (rows + 1,).
    """

    confidence: Numbers
    right: NDArray[np.int64]

    @classmethod
    def of(cls, confidence: Numbers, right: NDArray[np.bool_]) -> Ranked:
        """Rank rows by confidence, shape (rows,), and whether their answers are right."""
        order = np.argsort(-confidence, kind="stable")
        return cls(confidence[order], np.concatenate([[0], np.cumsum(right[order])]))

    def answered(self, threshold: float) -> int:
        """Rows with at least this confidence."""
        return int(np.searchsorted(-self.confidence, -threshold, side="right"))

    def at(self, threshold: float) -> OperatingPoint:
        """What a threshold gives."""
        from scipy.stats import binomtest

        answered = self.answered(threshold)
        right = int(self.right[answered])
        low = binomtest(right, answered).proportion_ci(method="wilson").low if answered else None
        return OperatingPoint(
            threshold=threshold,
            rows=len(self.confidence),
            answered=answered,
            right=right,
            low=None if low is None else float(low),
        )

    def threshold_of(self, rows: int) -> float:
        """The threshold that answers these first rows, and whoever is as sure as they are."""
        if rows >= len(self.confidence):
            return 0.0
        return rounded(float(self.confidence[max(rows, 1) - 1]))

    def for_precision(self, wanted: float) -> OperatingPoint | None:
        """The threshold that answers the most rows with a precision; None where none does.

        Of the rows that it answers there are at least 10.
        """
        # the last row of each threshold; the whole split is answered from 0 on
        steps = np.minimum(np.floor(self.confidence * STEPS), STEPS - 1)
        answered = np.append(np.flatnonzero(np.diff(steps)) + 1, self._rows)
        right = self.right[answered] >= wanted * answered
        enough = answered[right & (answered >= max(1, min(FEWEST, self._rows)))]
        return self.at(self.threshold_of(int(enough[-1]))) if len(enough) else None

    def for_abstaining(self, most: float) -> OperatingPoint:
        """The highest threshold that leaves at most a share of the rows without an answer."""
        needed = int(np.ceil((1 - most) * self._rows - 1e-9))
        return self.at(self.threshold_of(needed))

    def curve(self, shares: Sequence[float] = SHARES) -> tuple[OperatingPoint, ...]:
        """Thresholds that answer about these shares of the rows, from the lowest on."""
        thresholds = {self.threshold_of(round(share * self._rows)) for share in shares}
        return tuple(map(self.at, sorted(thresholds)))

    @property
    def _rows(self) -> int:
        return len(self.confidence)


def rounded(confidence: float) -> float:
    """A confidence as a threshold: not above it, and below 1, which few readers' floats reach."""
    return min(math.floor(confidence * STEPS), STEPS - 1) / STEPS
