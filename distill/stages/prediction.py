"""Prediction-layer distillation, stage 2: logits, labels, and the states that baselines match."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from distill.data.batching import SOFT_LABELS, model_inputs
from distill.errors import ShapeMismatch
from distill.models.capture import ActivationCapture, Activations
from distill.models.limits import filter_inputs
from distill.models.projections import Kind, Pretrained, Projections
from distill.recipes.schema import Prediction, PredictionWeights
from distill.runs.distributed import gradient_scale
from distill.stages.base import Stage
from distill.stages.hard_labels import LabelTerm
from distill.stages.losses import cosine_loss, logits_loss, patient_loss


class PredictionStage(Stage):
    """Prediction-layer loss (Eq. 10) on the soft labels that come with each batch.

    A recipe may add hard labels, and the losses of PKD and DistilBERT: those match states, and the
    teacher is run at every step.

    Args:
        student: The model that is trained.
        recipe: Loss, temperature and weights.
        teacher: Frozen, in evaluation mode; used, like what follows, if the recipe matches states.
        mapping: Teacher layer for each student layer.
        projection: See ``projections.Projections``, as for ``pretrained``.
        class_weights: See ``hard_labels.LabelTerm``.
    """

    name = "prediction"

    def __init__(
        self,
        student: PreTrainedModel,
        recipe: Prediction,
        *,
        teacher: PreTrainedModel | None = None,
        mapping: Sequence[int] = (),
        projection: Kind = "shared",
        pretrained: Pretrained = (),
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(student, teacher if recipe.matches_states else None)
        self.recipe = recipe
        self.label_term = LabelTerm(class_weights)
        self.states: StateTerms | None = None
        if self.teacher is not None:
            self.states = StateTerms(
                student,
                self.teacher,
                mapping,
                weights=recipe.weights,
                projection=projection,
                pretrained=pretrained,
            )

    def notices(self) -> dict[str, str]:
        """Pretrained projections that are left out."""
        notice = self.states.projections.notice if self.states else ""
        return {"projections": notice} if notice else {}

    def terms(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """``prediction``, ``label``, ``patient`` and ``cosine``, each if it has a weight."""
        inputs, weights = model_inputs(batch), self.recipe.weights
        activations = self.states.student_capture(**inputs) if self.states else None
        output: Any = activations or self.student(**filter_inputs(self.student, inputs))
        logits: Tensor = output.logits
        if weights.logits:
            yield "prediction", weights.logits * self._distance(logits, batch[SOFT_LABELS])
        if weights.labels:
            yield "label", weights.labels * self.label_term(logits, batch["labels"])
        if self.states and activations:
            yield from self.states.terms(activations, inputs)

    def _distance(self, logits: Tensor, target: Tensor) -> Tensor:
        """A regression's is the error to the teacher's score (docs/method.md, departure 14)."""
        kind = "mse" if logits.shape[-1] == 1 else self.recipe.loss
        return logits_loss(logits, target, kind, self.recipe.temperature)


class StateTerms(nn.Module):
    """PKD's and DistilBERT's losses on hidden states of mapped layers, with their projections.

    Both methods have students as wide as their teacher, where the projection is the identity.
    Arguments are those of the stage.

    Raises:
        ShapeMismatch: PKD leaves out the last layer, and the student has one only.
    """

    def __init__(
        self,
        student: PreTrainedModel,
        teacher: PreTrainedModel,
        mapping: Sequence[int],
        *,
        weights: PredictionWeights,
        projection: Kind,
        pretrained: Pretrained,
    ) -> None:
        super().__init__()
        self.weights = weights
        self.last, self.teacher_last = (
            int(model.config.num_hidden_layers) for model in (student, teacher)
        )
        self.pairs = list(enumerate(mapping[:-1], start=1)) if weights.patient else []
        if weights.patient and not self.pairs:
            raise ShapeMismatch(
                "prediction.weights.patient compares all student layers but the last; "
                "the student has 1 layer.",
                "Choose a student of at least 2 layers, or set the weight to 0.",
            )
        layers = [*(m for m, _ in self.pairs), self.last]
        teacher_layers = [*(n for _, n in self.pairs), self.teacher_last]
        self.student_capture = ActivationCapture(student, layers, scores=(), task_head=True)
        self.teacher_capture = ActivationCapture(teacher, teacher_layers, scores=())
        self.projections = Projections(
            student.config.hidden_size,
            teacher.config.hidden_size,
            layers=self.last,
            kind=projection,
            pretrained=pretrained,
        )

    def terms(
        self, student: Activations, inputs: dict[str, Tensor]
    ) -> Iterator[tuple[str, Tensor]]:
        """``patient`` and ``cosine``, each if it has a weight; the teacher reads the inputs too."""
        with torch.no_grad():
            teacher = self.teacher_capture(**inputs)
        if self.weights.patient:
            losses = [
                patient_loss(self.projections(student.hidden[m], m), teacher.hidden[n])
                for m, n in self.pairs
            ]
            yield "patient", self.weights.patient * torch.stack(losses).sum()
        if self.weights.cosine:
            projected = self.projections(student.hidden[self.last], self.last)
            mask = inputs["attention_mask"]
            loss = cosine_loss(projected, teacher.hidden[self.teacher_last], mask)
            yield "cosine", self.weights.cosine * gradient_scale(lambda: mask) * loss
