"""Losses and weights that are no finite numbers any more, and the rows that made them so."""

from __future__ import annotations

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distill.data.batching import ROW_NUMBERS
from distill.errors import TrainingFailed

MOST_ROWS = 10
_HINT = (
    "Look at these rows. If they are sound, lower this stage's learning_rate in the recipe and "
    "choose another --out.\nThe last whole checkpoint from before this step is kept."
)


def not_finite(title: str, step: int, stage: nn.Module, batch: dict[str, Tensor]) -> TrainingFailed:
    """The error for a loss that is not finite; it names the rows whose own loss is not.

    Args:
        title: Of the stage.
        step: The optimizer step, counted from 1.
        stage: Batch to named losses.
        batch: With row numbers, shape (batch,).
    """
    guilty = []
    with torch.no_grad():
        for at in range(len(next(iter(batch.values())))):
            row = {name: tensor[at : at + 1] for name, tensor in batch.items()}
            if not torch.isfinite(stage(**row)["loss"]):
                guilty.append(at)
    return TrainingFailed(
        f"{title}: the loss is not a finite number at step {step}; {_named(batch, guilty)}.", _HINT
    )


def check_weights(title: str, step: int, stage: nn.Module, batch: dict[str, Tensor]) -> None:
    """Refuse weights that are not finite before they are scored or saved.

    Args:
        title: Of the stage.
        step: The optimizer step that made them.
        stage: What is trained.
        batch: The batch of that step.

    Raises:
        TrainingFailed: With the rows of that batch.
    """
    if not all(bool(torch.isfinite(weight).all()) for weight in stage.parameters()):
        raise TrainingFailed(
            f"{title}: the weights are not finite numbers after step {step}; {_named(batch, [])}.",
            _HINT,
        )


def check_logits(name: str, logits: NDArray[np.float32], rows: datasets.Dataset) -> None:
    """Refuse a teacher's logits that are not finite.

    Args:
        name: Of the teacher.
        logits: Shape (rows, classes).
        rows: What was answered, with the row numbers.

    Raises:
        TrainingFailed: With the rows.
    """
    bad = np.flatnonzero(~np.isfinite(logits).all(axis=-1))
    if len(bad):
        keys = [key for key in ROW_NUMBERS if key in rows.column_names]
        columns = {key: torch.from_numpy(np.asarray(rows[key])[bad]) for key in keys}
        raise TrainingFailed(
            f"{name}: its answers to the rows (idx/variant) {_listed(_numbers(columns))} are not "
            "finite numbers.",
            'Look at these rows, or try precision = "float32" in the recipe.',
        )


def _named(batch: dict[str, Tensor], guilty: list[int]) -> str:
    """The guilty rows, or all where no single one is."""
    rows = _numbers(batch)
    if guilty:
        return f"because of the rows {_kind(batch)} {_listed([rows[at] for at in guilty])}"
    return f"in a batch of the rows {_kind(batch)} {_listed(rows)}"


def _kind(batch: dict[str, Tensor]) -> str:
    return f"({'/'.join(name for name in ROW_NUMBERS if name in batch)})"


def _numbers(batch: dict[str, Tensor]) -> list[str]:
    columns = [batch[name].tolist() for name in ROW_NUMBERS if name in batch]
    return ["/".join(map(str, numbers)) for numbers in zip(*columns, strict=True)]


def _listed(rows: list[str]) -> str:
    more = f" and {len(rows) - MOST_ROWS} more" if len(rows) > MOST_ROWS else ""
    return f"{', '.join(rows[:MOST_ROWS])}{more}"
