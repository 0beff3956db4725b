"""Columns of a version's training rows as a stream, numbered as tokenized rows are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from augment.contract import Version

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Some rows of a split."""

    split: str
    rows: pa.RecordBatch


def row_batches(version: Version, data: str, columns: Sequence[str]) -> Iterator[RowBatch]:
    """The rows that ``data`` names, in the order of ``TokenizedSplits.rows``; memory stays flat."""
    split = version.task.splits.train
    wanted = ["variant", *(name for name in columns if name != "variant")]
    for batch in version.batches(split, wanted):
        own = batch.filter(pc.equal(batch["variant"], 0)) if data == "original" else batch
        yield RowBatch(split, own)


def write_places(file: Path, places: Places, blocks: Iterable[NDArray[np.float32]]) -> None:
    """Write some rows of a stream of blocks, in float32; ``places`` of the rows are increasing."""
    first = 0
    with file.open("wb") as stream:
        for block in blocks:
            last = first + len(block)
            here = places[np.searchsorted(places, first) : np.searchsorted(places, last)]
            block[here - first].tofile(stream)
            first = last
