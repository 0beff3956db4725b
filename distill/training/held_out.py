"""The losses of a stage on blocks that it is not trained on."""

from __future__ import annotations

from dataclasses import dataclass

import datasets
import numpy as np
import torch
from transformers import PreTrainedModel

from distill.data.batching import Collator, length_batches
from distill.models.bf16 import autocast
from distill.stages import Stage

MOST_BLOCKS = 256


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Measures a stage, without dropout; no random generator is touched.

    Attributes:
        stage: Measured as it stands.
        rows: At most ``MOST_BLOCKS`` of them count, spread over all.
        collator: Rows to batch.
        batch_size: Rows a forward pass.
        precision: Of the forward passes, as in training.
    """

    stage: Stage
    rows: datasets.Dataset
    collator: Collator
    batch_size: int
    precision: str

    def __call__(self, student: PreTrainedModel, done: float) -> dict[str, float]:  # noqa: ARG002
        """The mean of each term over the blocks, and of their sum as ``loss``."""
        some = np.linspace(0, len(self.rows) - 1, min(len(self.rows), MOST_BLOCKS)).astype(int)
        rows = self.rows.select(some)
        sums: dict[str, float] = {}
        self.stage.eval()
        for chosen in length_batches(rows, self.batch_size):
            batch = self.collator([rows[index] for index in chosen.tolist()])
            inputs = {name: tensor.to(student.device) for name, tensor in batch.items()}
            with torch.no_grad(), autocast(student.device, self.precision):
                terms = self.stage(**inputs)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value.item() * len(chosen)
        return {name: total / len(rows) for name, total in sums.items()}
