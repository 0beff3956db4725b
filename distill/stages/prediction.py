"""Stage 2: the teacher's answers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import PreTrainedModel

from distill.batching import model_inputs
from distill.losses import regression_loss, soft_cross_entropy
from distill.models import Classifier
from distill.stages.base import Stage


class Prediction(Stage):
    """Stage 2: the teacher's logits (Eq. 10), or its score for a regression.

    Args:
        student: Trained.
        teacher: Gives logits in the order of the data's labels.
        temperature: t of Eq. 10.
    """

    name = "prediction"

    def __init__(
        self, student: PreTrainedModel, teacher: Classifier, temperature: float = 1.0
    ) -> None:
        super().__init__(student, teacher.model)
        self._classifier = teacher
        self.temperature = temperature

    def terms(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """``prediction``: soft cross-entropy, or squared error against the teacher's score."""
        inputs = model_inputs(batch)
        with torch.no_grad():
            target = self._classifier.logits(inputs)
        logits = self.student(**inputs).logits
        if logits.shape[-1] == 1:
            yield "prediction", regression_loss(logits, target)
        else:
            yield "prediction", soft_cross_entropy(logits, target, self.temperature)
