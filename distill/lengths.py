"""Tokenised rows by how many pieces they have."""

from __future__ import annotations

import datasets
import numpy as np
from numpy.typing import NDArray


def lengths_of(rows: datasets.Dataset) -> NDArray[np.int32]:
    """The ``length`` column, shape (rows,); of chosen rows those, in their order.

    Taken from the mapped table: by way of ``rows["length"]`` it takes a minute for millions.
    """
    lengths = np.asarray(rows.data.column("length").to_numpy())
    chosen = rows._indices
    return lengths if chosen is None else lengths[chosen.column(0).to_numpy()]


def spread(rows: datasets.Dataset, count: int) -> NDArray[np.int64]:
    """Places of ``count`` rows at even ranks of length; of fewer rows, some of them twice."""
    ranks = (np.arange(count) + 0.5) * len(rows) / count
    return np.argsort(lengths_of(rows), kind="stable")[ranks.astype(np.int64)]


def longest(rows: datasets.Dataset, count: int) -> NDArray[np.int64]:
    """Places of the longest rows, at most ``count``."""
    return np.argsort(lengths_of(rows), kind="stable")[-count:]
