"""PURE: unit vectors as whole numbers with a known error, and exact products of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import isqrt

import numpy as np
import torch

LEVELS = 127
ROUNDING = 1e-5
"""More than float32 loses in making a code or a bound; quantising loses hundreds of times that."""
GROUP = 64
_NARROWEST = 16
"""Dimensions below which int8 gains nothing; a single one trips the kernel."""


@dataclass(frozen=True, slots=True)
class Codes:
    """Unit vectors as whole numbers, in groups of ``GROUP`` rows (the last may be shorter).

    Attributes:
        values: int8, shape ``(rows, dimensions)``.
        scales: float32, shape ``(groups,)``: a group's scale times ``values[r]`` is near the unit
            vector of its row r.
        errors: float32, shape ``(groups,)``: no row of the group is further from that.
    """

    values: np.ndarray
    scales: np.ndarray
    errors: np.ndarray


def norms_of(matrix: np.ndarray) -> np.ndarray:
    """Lengths of the rows in float64, each summed in one fixed order."""
    wide = matrix.astype(np.float64)
    wide *= wide
    lengths: np.ndarray = np.sqrt(wide.sum(axis=1))
    return lengths


def encode(matrix: np.ndarray, norms: np.ndarray) -> Codes:
    """Codes of the rows; rows without a direction get zeros.

    Args:
        matrix: float32, shape ``(rows, dimensions)``.
        norms: Their lengths, float64.
    """
    rows, dimensions = matrix.shape
    levels = min(LEVELS, isqrt((2**24 - 1) // dimensions))  # sums of products fit float32 as well
    unit = matrix * (1 / np.where(norms > 0, norms, np.inf)).astype(np.float32)[:, None]
    firsts = np.arange(0, rows, GROUP)
    scales = np.maximum.reduceat(np.abs(unit).max(axis=1), firsts) / np.float32(levels)
    scales[scales == 0] = 1
    wide = np.repeat(scales, GROUP)[:rows, None]
    values = np.rint(unit / wide)
    unit -= values * wide
    unit *= unit
    errors = np.maximum.reduceat(np.sqrt(unit.sum(axis=1)), firsts) + np.float32(ROUNDING)
    return Codes(np.clip(values, -levels, levels).astype(np.int8), scales, errors)


def products(left: np.ndarray, right: np.ndarray) -> torch.Tensor:
    """Products of codes as whole numbers, shape ``(left rows, right rows)``; exact either way."""
    ours, theirs = torch.from_numpy(left), torch.from_numpy(right)
    if left.shape[1] >= _NARROWEST and int8_pays():
        return torch._int_mm(ours, theirs.T)
    return ours.float() @ theirs.float().T


@cache
def int8_pays() -> bool:
    """Whether this processor multiplies int8 exactly, and faster than float32; tried once.

    Without the instructions for it, sums of two products may saturate at 16 bits, or the kernel is
    a plain loop.
    """
    generator = torch.Generator().manual_seed(0)
    left, right = (
        torch.randint(-LEVELS, LEVELS + 1, (rows, 256), generator=generator, dtype=torch.int8)
        for rows in (128, 2048)
    )
    left[:9], right[:9], right[9:19] = LEVELS, LEVELS, -LEVELS
    try:
        if not torch.equal(torch._int_mm(left, right.T).float(), left.float() @ right.float().T):
            return False
    except (RuntimeError, AttributeError):  # no such kernel here
        return False
    whole = _seconds(lambda: torch._int_mm(left, right.T))
    return whole < _seconds(lambda: left.float() @ right.float().T)


def _seconds(multiply: Callable[[], torch.Tensor]) -> float:
    """The best of three tries."""
    tries = []
    for _ in range(3):
        began = time.perf_counter()
        multiply()
        tries.append(time.perf_counter() - began)
    return min(tries)
