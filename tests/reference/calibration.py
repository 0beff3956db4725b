"""Expected calibration error, row by row and bin by bin, as its definition reads."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction


def expected_calibration_error(
    shares: Sequence[Sequence[float]], labels: Sequence[int], bins: int = 15
) -> float:
    """Guo et al., 2017, equation 3; confidences are compared with the edges exactly."""
    total = Fraction(0)
    for number in range(1, bins + 1):
        low, high = Fraction(number - 1, bins), Fraction(number, bins)
        inside = []
        for row, label in zip(shares, labels, strict=True):
            confidence = Fraction(max(row))
            if low < confidence <= high:
                inside.append((confidence, list(row).index(max(row)) == label))
        if inside:
            accuracy = Fraction(sum(right for _, right in inside), len(inside))
            confidence = sum((own for own, _ in inside), Fraction(0)) / len(inside)
            total += Fraction(len(inside), len(labels)) * abs(accuracy - confidence)
    return float(total)
