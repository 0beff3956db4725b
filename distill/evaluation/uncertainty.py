"""How far a score on so many rows may be from what all rows would give, by a formula. PURE."""

from __future__ import annotations

import math

CORRELATIONS = ("matthews", "pearson", "spearman", "pearson_spearman")


def standard_error(metric: str, score: float, rows: int) -> float:
    """Of a score on so many rows.

    A share of rows has the variance of a coin, a correlation r that of (1 - r^2).
    """
    score = min(max(score, -1.0), 1.0)
    spread = 1 - score**2 if metric in CORRELATIONS else math.sqrt(max(score * (1 - score), 0.0))
    return spread / math.sqrt(rows)
