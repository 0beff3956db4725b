"""Stage 2: the teacher's logits, labels, and states that baselines compare beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from distill.data.batching import SOFT_LABELS, model_inputs
from distill.distributed import gradient_scale
from distill.errors import ShapeMismatch
from distill.models.capture import ActivationCapture, Activations
from distill.models.limits import filter_inputs
from distill.models.projections import Kind, Pretrained, Projections
from distill.recipes.schema import Prediction as PredictionRecipe
from distill.recipes.schema import PredictionWeights
from distill.stages.base import Stage
from distill.stages.losses import (
    cosine_loss,
    label_loss,
    logits_loss,
    patient_loss,
    regression_loss,
)


class Prediction(Stage):
    """Prediction-layer loss (Eq. 10) on the soft labels that come with each batch.

    To it a recipe may add the labels of the data, and PKD's and DistilBERT's losses: those look
    into the teacher, which is run at every step then.

    Args:
        student: Trained.
        recipe: Loss, temperature and weights.
        teacher: Frozen, in evaluation mode; used where the recipe matches states.
        mapping: Teacher layer for each student layer; used there too.
        projection: How many projections, see ``projections.Projections``.
        pretrained: Projections of a general student's checkpoint.
    """

    name = "prediction"

    def __init__(
        self,
        student: PreTrainedModel,
        recipe: PredictionRecipe,
        *,
        teacher: PreTrainedModel | None = None,
        mapping: Sequence[int] = (),
        projection: Kind = "shared",
        pretrained: Pretrained = (),
    ) -> None:
        super().__init__(student, teacher if recipe.matches_states else None)
        self.recipe = recipe
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

    def terms(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """``prediction``, ``label``, ``patient`` and ``cosine``, each where it has a weight."""
        inputs, weights = model_inputs(batch), self.recipe.weights
        seen = self.states.answer(inputs) if self.states else None
        logits = seen.logits if seen else self.student(**filter_inputs(self.student, inputs)).logits
        assert logits is not None, "the student was run without its head"
        if weights.logits:
            yield "prediction", weights.logits * self._distance(logits, batch[SOFT_LABELS])
        if weights.labels:
            yield "label", weights.labels * label_loss(logits, batch["labels"])
        if self.states and seen:
            yield from self.states.terms(seen, inputs)

    def _distance(self, logits: Tensor, target: Tensor) -> Tensor:
        if logits.shape[-1] == 1:
            return regression_loss(logits, target)
        return logits_loss(logits, target, self.recipe.loss, self.recipe.temperature)


class StateTerms(nn.Module):
    """Hidden states of mapped layers, compared beside the answers; owns their projections.

    Both methods come from students as wide as their teacher, where the projection is the identity.

    Args:
        student: Trained by the stage that holds these terms.
        teacher: Frozen, in evaluation mode.
        mapping: Teacher layer for each student layer; ``patient`` needs it.
        weights: ``patient`` and ``cosine`` count here.
        projection: How many projections, see ``projections.Projections``.
        pretrained: Projections of a general student's checkpoint.

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
        projection: Kind = "shared",
        pretrained: Pretrained = (),
    ) -> None:
        super().__init__()
        self.weights = weights
        self.layers, self.top = (int(m.config.num_hidden_layers) for m in (student, teacher))
        self.pairs = list(enumerate(mapping[:-1], start=1)) if weights.patient else []
        if weights.patient and not self.pairs:
            raise ShapeMismatch(
                "prediction.weights.patient compares all student layers but the last; "
                "the student has 1 layer.",
                "Choose a student of at least 2 layers, or set the weight to 0.",
            )
        ours, theirs = [m for m, _ in self.pairs], [n for _, n in self.pairs]
        self.student_tap = ActivationCapture(student, [*ours, self.layers], scores=(), head=True)
        self.teacher_tap = ActivationCapture(teacher, [*theirs, self.top], scores=())
        self.projections = Projections(
            student.config.hidden_size,
            teacher.config.hidden_size,
            layers=self.layers,
            kind=projection,
            pretrained=pretrained,
        )

    def answer(self, inputs: dict[str, Tensor]) -> Activations:
        """One forward pass of the student: its logits and its states."""
        return self.student_tap(**inputs)

    def terms(self, seen: Activations, inputs: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """``patient`` and ``cosine``, each where it has a weight."""
        with torch.no_grad():
            target = self.teacher_tap(**inputs)
        if self.weights.patient:
            losses = [
                patient_loss(self.projections(seen.hidden[m], m), target.hidden[n])
                for m, n in self.pairs
            ]
            yield "patient", self.weights.patient * torch.stack(losses).sum()
        if self.weights.cosine:
            last = self.projections(seen.hidden[self.layers], self.layers)
            mask = inputs["attention_mask"]
            loss = cosine_loss(last, target.hidden[self.top], mask)
            yield "cosine", self.weights.cosine * gradient_scale(lambda: mask) * loss
