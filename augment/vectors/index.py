"""The nearest words of words, each searched for once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from augment.vectors.search import Nearest, search
from augment.vectors.table import Block, Table, build, gather_in_memory
from augment.vectors.vocabulary import Vocabulary

QUERIES_PER_SEARCH = 256
MAX_REMEMBERED = 100_000
"""Words whose neighbors are remembered: half a kilobyte each."""


@dataclass(frozen=True, slots=True)
class Neighbors:
    """The nearest words of one word, nearest first; ``scores`` are cosines."""

    rows: tuple[int, ...]
    words: tuple[str, ...]
    scores: tuple[float, ...]


class Vectors:
    """A table of word vectors that remembers the neighbors it has found."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._remembered: dict[tuple[int, int], Nearest] = {}

    @classmethod
    def of(cls, words: Sequence[str], matrix: np.ndarray) -> Vectors:
        """Take words and their vectors, shape ``(rows, dimensions)``."""
        block = Block(words, np.ascontiguousarray(matrix, dtype=np.float32))
        return cls(build([block], gather_in_memory, "the table"))

    @property
    def words(self) -> Vocabulary:
        """The words, in the file's order."""
        return self.table.words

    @property
    def digest(self) -> str:
        """SHA-256 over the words and their vectors."""
        return self.table.digest

    def neighbors(self, words: Sequence[str], k: int) -> list[Neighbors]:
        """The K nearest words of each word, itself excluded; empty for unknown words.

        Rows without a direction, rows that are no plain words (``<unk>``) and rows that repeat a
        word are passed over. Equal cosines are ordered by row.
        """
        rows = {word: self.words.row_of(word) for word in dict.fromkeys(words)}
        queries = {row for row in rows.values() if row is not None and self.table.norms[row] > 0}
        nearest = self._nearest(sorted(queries), k)
        neighbors = {
            word: self._named(nearest[row]) if row in nearest else Neighbors((), (), ())
            for word, row in rows.items()
        }
        return [neighbors[word] for word in words]

    def _nearest(self, rows: Sequence[int], k: int) -> dict[int, Nearest]:
        """The nearest rows of rows, searched for where they are not remembered."""
        nearest = {row: self._remembered[row, k] for row in rows if (row, k) in self._remembered}
        missing = [row for row in rows if row not in nearest]
        if len(self._remembered) + len(missing) > MAX_REMEMBERED:
            self._remembered.clear()
        for start in range(0, len(missing), QUERIES_PER_SEARCH):
            queries = missing[start : start + QUERIES_PER_SEARCH]
            found = search(np.array(queries), k, self.table)
            for row, rows_near in zip(queries, found, strict=True):
                nearest[row] = self._remembered[row, k] = rows_near
        return nearest

    def _named(self, nearest: Nearest) -> Neighbors:
        rows = tuple(nearest.rows.tolist())
        words = tuple(self.words[row] for row in rows)
        return Neighbors(rows, words, tuple(nearest.cosines.tolist()))
