"""Losses and weights that are no finite numbers any more, and the rows that made them so."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from distill.batching import ROW_NUMBERS
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
        step: The optimiser step, counted from 1.
        stage: Batch to named losses.
        batch: With the row numbers ``idx`` and ``variant``, shape (batch,).
    """
    guilty = []
    with torch.no_grad():
        for at in range(len(batch["labels"])):
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
        step: The optimiser step that made them.
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


def _named(batch: dict[str, Tensor], guilty: list[int]) -> str:
    """Rows as ``idx/variant``: the guilty ones, or all where no single one is."""
    columns = [batch[name].tolist() for name in ROW_NUMBERS if name in batch]
    rows = ["/".join(map(str, numbers)) for numbers in zip(*columns, strict=True)]
    chosen = [rows[at] for at in guilty] or rows
    more = f" and {len(chosen) - MOST_ROWS} more" if len(chosen) > MOST_ROWS else ""
    whose = "because of" if guilty else "in a batch of"
    return f"{whose} the rows (idx/variant) {', '.join(chosen[:MOST_ROWS])}{more}"
