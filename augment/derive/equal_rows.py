"""Which rows are equal but for case and spaces, among rows that nobody holds in memory as texts."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from augment.contract import TaskSpec
from augment.sources.digests import row_digest

Digests = NDArray[np.bytes_]
Mask = NDArray[np.bool_]


def digests_of(batch: pa.RecordBatch, task: TaskSpec) -> Digests:
    """16 bytes a row, as the leak guard compares rows, shape (rows,)."""
    columns = (batch[column].to_pylist() for column in task.text_columns)
    return np.array([row_digest(row) for row in zip(*columns, strict=True)], dtype="S16")


def all_digests(batches: Iterable[pa.RecordBatch], task: TaskSpec) -> Digests:
    """The same of many rows."""
    return np.concatenate([np.zeros(0, "S16"), *(digests_of(batch, task) for batch in batches)])


def first_of_each(digests: Digests) -> Mask:
    """Which rows are the first of those that equal them."""
    first = np.zeros(len(digests), dtype=np.bool_)
    first[np.unique(digests, return_index=True)[1]] = True
    return first


def found_among(digests: Digests, others: Iterable[pa.RecordBatch], task: TaskSpec) -> Mask:
    """Which rows equal one of the others, which are read as a stream."""
    known = np.unique(digests)
    seen = np.zeros(len(known), dtype=np.bool_)
    for batch in others if len(known) else ():
        asked = digests_of(batch, task)
        places = np.minimum(np.searchsorted(known, asked), len(known) - 1)
        seen[places[known[places] == asked]] = True
    return seen[np.searchsorted(known, digests)] if len(known) else np.zeros(0, dtype=np.bool_)
