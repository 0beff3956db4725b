"""How many steps a stage takes, and which rows it sees in them."""

from __future__ import annotations

import math
from itertools import islice

import datasets
import numpy as np
from numpy.typing import NDArray

from distill.batching import LengthGrouped
from distill.errors import UsageInvalid
from distill.lengths import lengths_of
from distill.processes import several
from distill.recipe_sections import Optimisation


def total_steps(rows: int, training: Optimisation) -> int:
    """Optimiser steps of a stage: its epochs, or ``max_steps`` if that is less."""
    steps = max(1, math.ceil(training.epochs * math.ceil(rows / training.batch_size)))
    return min(steps, training.max_steps or steps)


def rows_drawn(rows: datasets.Dataset, training: Optimisation, seed: int) -> NDArray[np.int64]:
    """Places of the rows that a stage will see, increasing: all, unless its steps end earlier."""
    ahead = 1  # a batch is fetched while the one before it is trained on
    drawn = (total_steps(len(rows), training) + ahead) * training.batch_size
    if drawn >= len(rows):
        return np.arange(len(rows))
    order = iter(row_order(rows, training.batch_size, seed))
    return np.sort(np.fromiter(islice(order, drawn), dtype=np.int64))


def row_order(rows: datasets.Dataset, batch_size: int, seed: int) -> LengthGrouped:
    """The order in which rows are drawn; the same whoever asks."""
    return LengthGrouped(lengths_of(rows), batch_size, seed)


def rows_a_process(training: Optimisation) -> int:
    """Rows a step of one process; together the processes see the rows that one alone would see.

    Raises:
        UsageInvalid: The processes cannot have equal parts.
    """
    rows, rest = divmod(training.batch_size, several())
    if rest or not rows:
        raise UsageInvalid(
            f"batch_size = {training.batch_size} is not a multiple of the {several()} processes.",
            "Start another number of processes, or change batch_size in the recipe.",
        )
    return rows
