"""Stage 1: the teacher's embeddings, hidden states and attention scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from distill.batching import model_inputs
from distill.errors import ShapeMismatch
from distill.losses import Reduction, attention_score_loss, hidden_loss
from distill.projections import Pretrained, Projections
from distill.recipe import Intermediate as IntermediateRecipe
from distill.stages.base import Stage
from distill.taps import Tap


class Intermediate(Stage):
    """Stage 1: embedding, hidden and attention-score losses (Eq. 7 to 9, weighted as in Eq. 6).

    Args:
        student: Trained together with the projections.
        teacher: Frozen, in evaluation mode.
        mapping: Teacher layer for each student layer, see ``mapping.layer_map``.
        recipe: Loss weights.
        reduction: See ``losses``.
        projection: How many projections, see ``projections.Projections``.
        pretrained: Projections of a general student's checkpoint.

    Raises:
        ShapeMismatch: The numbers of heads differ while attention counts, or there is not one
            weight for each layer.
    """

    name = "intermediate"
    whole = False

    def __init__(
        self,
        student: PreTrainedModel,
        teacher: PreTrainedModel,
        mapping: Sequence[int],
        *,
        recipe: IntermediateRecipe,
        reduction: Reduction = "masked",
        projection: Literal["shared", "per_layer", "separate_embedding"] = "shared",
        pretrained: Pretrained = (),
    ) -> None:
        super().__init__(student, teacher)
        self.mapping = tuple(mapping)
        self.reduction: Reduction = reduction
        self.attention_weights = _per_layer(recipe.weights.attention, len(mapping), "attention")
        self.hidden_weights = _per_layer(recipe.weights.hidden, len(mapping), "hidden")
        self.embedding_weight = recipe.weights.embedding
        if any(self.attention_weights):
            _same_heads(student, teacher)
        self.student_tap = Tap(student, range(1, len(mapping) + 1))
        self.teacher_tap = Tap(teacher, self.mapping)
        self.projections = Projections(
            student.config.hidden_size,
            teacher.config.hidden_size,
            layers=len(mapping),
            kind=projection,
            pretrained=pretrained,
        )

    def terms(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """``attention``, ``hidden`` and ``embedding``, each summed over the layers."""
        inputs = model_inputs(batch)
        mask = inputs["attention_mask"]
        with torch.no_grad():
            target = self.teacher_tap(**inputs)
        seen = self.student_tap(**inputs)
        attention, hidden = mask.new_zeros(2, dtype=torch.float32).unbind()
        for layer, source in enumerate(self.mapping, start=1):
            if weight := self.attention_weights[layer - 1]:
                scores = seen.scores[layer], target.scores[source]
                attention = attention + weight * attention_score_loss(*scores, mask, self.reduction)
            if weight := self.hidden_weights[layer - 1]:
                states = self.projections(seen.hidden[layer], layer), target.hidden[source]
                hidden = hidden + weight * hidden_loss(*states, mask, self.reduction)
        embedding = hidden_loss(
            self.projections(seen.embedding, 0), target.embedding, mask, self.reduction
        )
        yield "attention", attention
        yield "hidden", hidden
        yield "embedding", self.embedding_weight * embedding


def _per_layer(weights: float | tuple[float, ...], layers: int, name: str) -> tuple[float, ...]:
    if not isinstance(weights, tuple):
        return (weights,) * layers
    if len(weights) != layers:
        raise ShapeMismatch(
            f"intermediate.weights.{name} lists {len(weights)} numbers, "
            f"the student has {layers} layers.",
            "Give one number for each student layer, or a single one for all.",
        )
    return weights


def _same_heads(student: PreTrainedModel, teacher: PreTrainedModel) -> None:
    ours, theirs = student.config.num_attention_heads, teacher.config.num_attention_heads
    if ours != theirs:
        raise ShapeMismatch(
            f"the student has {ours} attention heads, the teacher {theirs}; attention scores are "
            "matched head by head.",
            f"Choose a student with {theirs} heads (such as 4x312-1200-{theirs}), "
            "or set intermediate.weights.attention = 0.",
        )
