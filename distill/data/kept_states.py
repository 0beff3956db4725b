"""A teacher's states of rows in a mapped file, and rows that bring theirs."""

from __future__ import annotations

from dataclasses import dataclass

import datasets
import numpy as np
from numpy.typing import NDArray

from distill.data.batching import TEACHER_STATES, TaughtRows
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


class StateRows(TaughtRows):
    """Tokenized rows with the teacher's states beside them."""

    field = TEACHER_STATES

    def __init__(self, rows: datasets.Dataset, states: TeacherStates) -> None:
        super().__init__(rows)
        self.states = states

    def taught(self, indices: list[int]) -> list[NDArray[np.float32]]:
        """States of rows, each of shape (tokens, numbers)."""
        return [self.states.of(at) for at in indices]
