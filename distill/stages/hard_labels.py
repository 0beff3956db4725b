"""Fine-tuning on hard labels, the labels of the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from distill.data.batching import model_inputs
from distill.models.limits import filter_inputs
from distill.runs.distributed import gradient_scale
from distill.stages.base import Stage
from distill.stages.losses import label_counts, label_loss


class HardLabelStage(Stage):
    """Fine-tuning of a teacher, or of the plain student that distillation is compared with.

    Args:
        student: The model that is trained.
        name: Of the stage.
        class_weights: See ``LabelTerm``.
    """

    def __init__(
        self, student: PreTrainedModel, name: str, class_weights: Sequence[float] | None = None
    ) -> None:
        super().__init__(student)
        self.name = name
        self.label_term = LabelTerm(class_weights)

    def terms(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """``label``: cross-entropy, or squared error for a regression."""
        logits = self.student(**filter_inputs(self.student, model_inputs(batch))).logits
        yield "label", self.label_term(logits, batch["labels"])


class LabelTerm(nn.Module):
    """``losses.label_loss``; several processes together average over the labeled rows of all.

    Args:
        class_weights: What a row of each class counts for, at least 1; all the same if left out.
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The term, a float32 scalar."""
        weights = self.class_weights
        share = gradient_scale(lambda: label_counts(labels, weights))
        return share * label_loss(logits, labels, weights)
