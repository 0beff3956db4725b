"""What PKD and DistilBERT add to the teacher's answers: its hidden states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from distill.errors import ShapeMismatch
from distill.losses import cosine_loss, patient_loss
from distill.processes import share
from distill.projections import Kind, Pretrained, Projections
from distill.recipe_sections import PredictionWeights
from distill.taps import Tap, Tapped


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
        self.student_tap = Tap(student, [*ours, self.layers], scores=(), head=True)
        self.teacher_tap = Tap(teacher, [*theirs, self.top], scores=())
        self.projections = Projections(
            student.config.hidden_size,
            teacher.config.hidden_size,
            layers=self.layers,
            kind=projection,
            pretrained=pretrained,
        )

    def answer(self, inputs: dict[str, Tensor]) -> Tapped:
        """One forward pass of the student: its logits and its states."""
        return self.student_tap(**inputs)

    def terms(self, seen: Tapped, inputs: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
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
            yield "cosine", self.weights.cosine * share(lambda: mask) * loss
