"""Mean and deviation over seeds, as results keep them; None where there are too few."""

from __future__ import annotations

import statistics
from collections.abc import Iterable


def mean(values: Iterable[float], digits: int = 4) -> float | None:
    """Rounded; None of nothing."""
    own = [*values]
    return round(statistics.fmean(own), digits) if own else None


def deviation(values: Iterable[float], digits: int = 4) -> float | None:
    """The standard deviation of a sample, rounded; None of fewer than two."""
    own = [*values]
    return round(statistics.stdev(own), digits) if len(own) > 1 else None
