"""The nearest words of words, each searched for once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from augment.vectors.lexicon import Lexicon
from augment.vectors.search import Nearest, search
from augment.vectors.table import Block, Memory, Table, build

WORDS_A_SEARCH = 256
KEPT = 100_000
"""Words whose neighbours are remembered: half a kilobyte each."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest words of one word, nearest first.

    Attributes:
        rows: Their rows in the table.
        words: The words.
        scores: Cosines.
    """

    rows: tuple[int, ...]
    words: tuple[str, ...]
    scores: tuple[float, ...]


class Vectors:
    """A table of word vectors that remembers the neighbours it has found.

    Attributes:
        table: Words and vectors.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self._known: dict[tuple[int, int], Nearest] = {}

    @classmethod
    def of(cls, words: Sequence[str], matrix: np.ndarray) -> Vectors:
        """Take words and their vectors, shape ``(rows, dimensions)``."""
        block = Block(words, np.ascontiguousarray(matrix, dtype=np.float32))
        return cls(build([block], Memory(), "the table"))

    @property
    def words(self) -> Lexicon:
        """The words, in the file's order."""
        return self.table.words

    @property
    def digest(self) -> str:
        """SHA-256 over the words and their vectors."""
        return self.table.digest

    def neighbours(self, words: Sequence[str], k: int) -> list[Neighbours]:
        """The K nearest words of each word, itself excluded; empty for unknown words.

        Rows without a direction, rows that are no plain words (``<unk>``) and rows that repeat a
        word are passed over. Equal cosines are ordered by row.
        """
        rows = {word: self.words.row_of(word) for word in dict.fromkeys(words)}
        asked = {row for row in rows.values() if row is not None and self.table.norms[row] > 0}
        nearest = self._nearest(sorted(asked), k)
        found = {
            word: self._named(nearest[row]) if row in nearest else Neighbours((), (), ())
            for word, row in rows.items()
        }
        return [found[word] for word in words]

    def _nearest(self, rows: Sequence[int], k: int) -> dict[int, Nearest]:
        """The nearest rows of rows, searched for where they are not remembered."""
        nearest = {row: self._known[row, k] for row in rows if (row, k) in self._known}
        due = [row for row in rows if row not in nearest]
        if len(self._known) + len(due) > KEPT:
            self._known.clear()
        for at in range(0, len(due), WORDS_A_SEARCH):
            part = due[at : at + WORDS_A_SEARCH]
            for row, found in zip(part, self._search(part, k), strict=True):
                nearest[row] = self._known[row, k] = found
        return nearest

    def _search(self, rows: Sequence[int], k: int) -> list[Nearest]:
        table = self.table
        return search(
            np.array(rows),
            k,
            codes=table.codes,
            matrix=table.matrix,
            norms=table.norms,
            usable=table.usable,
        )

    def _named(self, found: Nearest) -> Neighbours:
        rows = tuple(found.rows.tolist())
        return Neighbours(
            rows, tuple(self.words[row] for row in rows), tuple(found.cosines.tolist())
        )
