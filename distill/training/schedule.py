"""Steps, the order of rows and dropout: what a stage's numbers mean for its rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Literal

import datasets
import numpy as np
from numpy.typing import NDArray
from torch import nn

from augment.contract.foreign import counted
from distill.data.batching import LengthGrouped, lengths_of
from distill.data.mixtures import Mixture
from distill.errors import UsageError
from distill.recipes.schema import Optimization
from distill.runs.distributed import world_size


@contextmanager
def use_dropout(model: nn.Module, share: float | Literal["auto"]) -> Iterator[None]:
    """Drop this share of the model's numbers, and its own share again afterwards.

    Args:
        model: Whose config is not changed.
        share: From 0 to below 1; ``auto`` leaves what the architecture says.
    """
    own = list(_shares(model)) if share != "auto" else []
    for module, name, _ in own:
        setattr(module, name, share)
    try:
        yield
    finally:
        for module, name, before in own:
            setattr(module, name, before)


def _shares(model: nn.Module) -> Iterator[tuple[nn.Module, str, float]]:
    for module in model.modules():
        name = "p" if isinstance(module, nn.Dropout) else "attention_dropout"  # ModernBERT's
        if isinstance(before := getattr(module, name, None), float | int):
            yield module, name, float(before)


def total_steps(rows: int, training: Optimization) -> int:
    """Optimizer steps of a stage: its epochs, or ``max_steps`` if that is less."""
    steps = max(1, math.ceil(training.epochs * math.ceil(rows / training.batch_size)))
    return min(steps, training.max_steps or steps)


def passes(rows: int, training: Optimization) -> float:
    """How often a stage goes over its rows: its epochs, or what ``max_steps`` leaves of them."""
    return total_steps(rows, training) / math.ceil(rows / training.batch_size)


def rows_drawn(
    rows: datasets.Dataset, training: Optimization, seed: int, mixture: Mixture | None = None
) -> NDArray[np.int64]:
    """Places of the rows that a stage will see, increasing: all, unless its steps end earlier."""
    ahead = 1  # a batch is fetched while the one before it is trained on
    steps = total_steps(len(rows), training) + ahead
    if mixture is None and steps * training.batch_size >= len(rows):
        return np.arange(len(rows))
    order = row_order(rows, training.batch_size, seed, mixture)
    epochs, rest = divmod(steps, math.ceil(len(rows) / training.batch_size))
    order.set_epoch(epochs)
    last = np.fromiter(islice(order, rest * training.batch_size), dtype=np.int64)
    return np.sort(last) if mixture is None else np.union1d(mixture.seen(seed, epochs), last)


def row_order(
    rows: datasets.Dataset, batch_size: int, seed: int, mixture: Mixture | None = None
) -> LengthGrouped:
    """The order in which rows are drawn; the same whoever asks."""
    return LengthGrouped(lengths_of(rows), batch_size, seed, mixture)


def rows_a_process(training: Optimization) -> int:
    """Rows a step of one process; together the processes see the rows that one alone would see.

    Raises:
        UsageError: The processes cannot have equal parts.
    """
    rows, rest = divmod(training.batch_size, world_size())
    if rest or not rows:
        raise UsageError(
            f"batch_size = {training.batch_size} is not a multiple of the "
            f"{counted(world_size(), 'process')}.",
            "Start another number of processes, or change batch_size in the recipe.",
        )
    return rows
