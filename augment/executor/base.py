"""A chunk of rows and the engine that runs it; the engine cannot change a byte."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_SPECIALS = 6.0
"""What the special tokens add to a text's length, in characters."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Where the chunks of a run are done, and how they are cut.

    Attributes:
        name: ``local`` or ``ray``.
        workers: Worker processes; None: one here, on Ray as many as there is room for.
        threads: Threads of each worker; None: the processors shared out here, one on Ray.
        address: Ray: address of a cluster, ``auto`` for the one that runs on this machine, or None
            to start Ray here for this run alone.
        chunk_rows: Source rows of a chunk: what a worker does at once. A stopped run goes on from
            its chunks only with the same number.
        start_method: How loaders of a pool start: as fresh processes, whatever threads this has.
        max_starts: Ray: how often a chunk is begun: what has killed that many workers is no
            accident, and Ray alone would begin it for ever.
    """

    name: str = "local"
    workers: int | None = None
    threads: int | None = None
    address: str | None = None
    chunk_rows: int = 512
    start_method: str = "spawn"
    max_starts: int = 5

    @property
    def threads_per_worker(self) -> int | None:
        """How many threads a worker gets, or None for torch's own choice."""
        if self.threads is not None:
            return self.threads
        if self.name == "ray":
            return 1
        if self.workers is None or self.workers == 1:
            return None
        return max(1, (os.cpu_count() or 1) // self.workers)

    def chunks(self, table: pa.Table, first: int = 0) -> list[Chunk]:
        """The rows of a table in stretches of ``chunk_rows``, numbered from ``first``."""
        starts = range(0, table.num_rows, self.chunk_rows)
        return [Chunk(i, table.slice(at, self.chunk_rows)) for i, at in enumerate(starts, first)]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A contiguous stretch of source rows."""

    number: int
    rows: pa.Table

    def weight(self, columns: Sequence[str]) -> float:
        """How much work the texts of these columns are, about.

        Each word is masked once and its whole text read for it: that grows with the square.
        """
        lengths = [pc.cast(pc.utf8_length(self.rows[name]), pa.float64()) for name in columns]
        squares = (pc.multiply(of, pc.add(of, _SPECIALS)) for of in lengths)
        return 1.0 + sum(pc.sum(of).as_py() or 0.0 for of in squares)

    def __reduce__(self) -> tuple[Callable[[int, bytes], Chunk], tuple[Any, ...]]:
        """Pickle the rows alone: a slice of a table would carry the whole table along."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.rows.schema) as stream:
            stream.write_table(self.rows)
        return _unpacked, (self.number, bytes(sink.getvalue()))


def _unpacked(number: int, rows: bytes) -> Chunk:
    return Chunk(number, pa.ipc.open_stream(rows).read_all())
