"""Columns of a version's training rows as a stream, numbered as tokenized rows are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from augment.contract import Version
from distill.recipes.mixtures import Data, parts_of, unlabeled_split

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Some rows of a split."""

    split: str
    rows: pa.RecordBatch


def row_batches(version: Version, data: Data, columns: Sequence[str]) -> Iterator[RowBatch]:
    """The rows that ``data`` names, in the order of ``TokenizedSplits.rows``; memory stays flat."""
    named, split = parts_of(data), version.task.splits.train
    wanted = ["variant", *(name for name in columns if name != "variant")]
    chosen = [part == "augmented" for part in named if part != "unlabeled"]
    for batch in version.batches(split, wanted) if chosen else ():
        made = batch["variant"].to_numpy() > 0
        own = batch if len(chosen) > 1 else batch.filter(pa.array(made == chosen[0]))
        yield RowBatch(split, own)
    blind = unlabeled_split(version)
    if blind and "unlabeled" in named:
        for batch in version.batches(blind, wanted):
            yield RowBatch(blind, batch)


def list_values(column: pa.ListArray, width: int) -> NDArray[np.float32]:
    """A column of lists of one length, shape (rows, width); NaN where a row has none."""
    values = np.full((len(column), width), np.nan, dtype=np.float32)
    known = column.is_valid().to_numpy(zero_copy_only=False)
    values[known] = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return values


def write_places(file: Path, places: Places, blocks: Iterable[NDArray[np.float32]]) -> None:
    """Write some rows of a stream of blocks, in float32; ``places`` of the rows are increasing."""
    first = 0
    with file.open("wb") as stream:
        for block in blocks:
            last = first + len(block)
            here = places[np.searchsorted(places, first) : np.searchsorted(places, last)]
            block[here - first].tofile(stream)
            first = last
