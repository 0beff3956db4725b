"""Random weights that are a function of a seed alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from transformers import set_seed

T = TypeVar("T")


def seeded(seed: int, build: Callable[[], T]) -> T:
    """Build something whose random weights are drawn from torch's global generator.

    The only place that seeds it: whatever was built before, the same call gives the same weights.
    """
    set_seed(seed)
    return build()
