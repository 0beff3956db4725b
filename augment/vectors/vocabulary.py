"""The words of a table as three arrays that can be memory-mapped: a dict of them would not be."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary(Sequence[str]):
    """Words by row, and rows by word.

    Attributes:
        text: All words in UTF-8 behind each other, uint8.
        ends: Where each word ends, int64, shape ``(rows,)``.
        order: The rows sorted by their words' bytes, equal words in order of rows; int32.
    """

    text: np.ndarray
    ends: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, words: Iterable[str]) -> Vocabulary:
        """Take the words in order of rows."""
        encoded = [word.encode() for word in words]
        order = sorted(range(len(encoded)), key=encoded.__getitem__)
        return cls(
            text=np.frombuffer(b"".join(encoded), np.uint8),
            ends=np.cumsum([len(word) for word in encoded], dtype=np.int64),
            order=np.array(order, np.int32),
        )

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        return self._bytes(row % len(self)).decode()

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and self.row_of(word) is not None

    def row_of(self, word: str) -> int | None:
        """The first row of a word, or None."""
        wanted = word.encode("utf-8", "surrogatepass")
        at = bisect_left(self.order, wanted, key=self._bytes)
        if at == len(self.order) or self._bytes(self.order[at]) != wanted:
            return None
        return int(self.order[at])

    def repeated(self) -> np.ndarray:
        """Which rows hold a word that an earlier row holds, bool, shape ``(rows,)``."""
        found = np.zeros(len(self), bool)
        before: bytes | None = None
        for row in self.order:
            word = self._bytes(row)
            found[row] = word == before
            before = word
        return found

    def _bytes(self, row: int) -> bytes:
        start = self.ends[row - 1] if row else 0
        return self.text[start : self.ends[row]].tobytes()
