"""A teacher's states of rows in a mapped file, and rows that bring theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from distill.data.batching import TEACHER_STATES
from distill.data.row_batches import Places


@dataclass(frozen=True, slots=True)
class TeacherStates:
    """States in a file that is mapped into memory: memory does not grow with the rows.

    Attributes:
        values: Token after token, float32 of shape (tokens, numbers).
        starts: Place of a row to its first token; -1 where it is never drawn.
        lengths: Of all rows, in tokens.
    """

    values: NDArray[np.float32]
    starts: Places
    lengths: NDArray[np.int32]

    def of(self, row: int) -> NDArray[np.float32]:
        """The states of a row, shape (tokens, numbers).

        Raises:
            AssertionError: They are not kept; a fault of this program.
        """
        start = self.starts[row]
        assert start >= 0, "a row without states was drawn"
        return self.values[start : start + self.lengths[row]]


class StateRows(Dataset[dict[str, Any]]):
    """Tokenized rows with the teacher's states beside them."""

    def __init__(self, rows: datasets.Dataset, states: TeacherStates) -> None:
        self.rows = rows
        self.states = states

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        """Rows of a batch."""
        rows = self.rows.__getitems__(indices)
        return [
            {**row, TEACHER_STATES: self.states.of(at)}
            for at, row in zip(indices, rows, strict=True)
        ]
