"""Fine-tuning on hard labels, the labels of the data."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from transformers import PreTrainedModel

from distill.data.batching import model_inputs
from distill.distributed import gradient_scale
from distill.models.limits import filter_inputs
from distill.stages.base import Stage
from distill.stages.losses import has_label, label_loss


class HardLabelStage(Stage):
    """Fine-tuning of a teacher, or of the plain student that distillation is compared with."""

    def __init__(self, student: PreTrainedModel, name: str) -> None:
        super().__init__(student)
        self.name = name

    def terms(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """``label``: cross-entropy, or squared error for a regression."""
        logits = self.student(**filter_inputs(self.student, model_inputs(batch))).logits
        yield "label", label_term(logits, batch["labels"])


def label_term(logits: Tensor, labels: Tensor) -> Tensor:
    """``losses.label_loss``; several processes together average over the labeled rows of all."""
    return gradient_scale(lambda: has_label(labels)) * label_loss(logits, labels)
