"""Stage 1: the teacher's embeddings, hidden states and attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel

from distill.data.batching import model_inputs
from distill.distributed import gradient_scale
from distill.errors import ShapeMismatch
from distill.models.capture import ActivationCapture, Activations
from distill.models.projections import Kind, Pretrained, Projections
from distill.recipes.schema import Layerwise
from distill.stages.base import Stage
from distill.stages.losses import (
    Reduction,
    attention_product_loss,
    attention_score_loss,
    hidden_loss,
    real_pairs,
    relation_loss,
)
from distill.stages.relations import plan_relations

MOST_SCORED = 192  # pieces; at 128 scores are faster, from 256 on products of heads are


class Intermediate(Stage):
    """Stage 1: embedding, hidden and attention losses (Eq. 7 to 9, weighted as in Eq. 6).

    Args:
        student: Trained together with the projections.
        teacher: Frozen, in evaluation mode.
        mapping: Teacher layer for each student layer, see ``mapping.layer_map``.
        recipe: Loss weights, and how attention is compared.
        reduction: See ``losses``.
        projection: How many projections, see ``projections.Projections``.
        pretrained: Projections of a general student's checkpoint.
        name: In the log and among the checkpoints.

    Attributes:
        relations: What is compared where attention is learnt by relations, or nothing.

    Raises:
        ShapeMismatch: The numbers of heads differ while scores are asked for, relation heads do
            not divide the widths, or there is not one weight for each layer.
        EncoderUnsupported: Attention counts, and one of the models does not show it.
    """

    whole = False

    def __init__(
        self,
        student: PreTrainedModel,
        teacher: PreTrainedModel,
        mapping: Sequence[int],
        *,
        recipe: Layerwise,
        reduction: Reduction = "masked",
        projection: Kind = "shared",
        pretrained: Pretrained = (),
        name: str = "intermediate",
    ) -> None:
        super().__init__(student, teacher)
        self.name = name
        self.pads_to_fixed_length = reduction == "official"
        self.mapping = tuple(mapping)
        self.reduction: Reduction = reduction
        self.relations = plan_relations(student, teacher, self.mapping, recipe)
        weights = 0.0 if self.relations else recipe.weights.attention
        self.attention_weights = _per_layer(weights, len(mapping), "attention")
        self.hidden_weights = _per_layer(recipe.weights.hidden, len(mapping), "hidden")
        self.embedding_weight = recipe.weights.embedding
        self.student_tap, self.teacher_tap = self._taps(student, teacher)
        self.projections = Projections(
            student.config.hidden_size,
            teacher.config.hidden_size,
            layers=len(mapping),
            kind=projection,
            pretrained=pretrained,
        )

    def _taps(
        self, student: PreTrainedModel, teacher: PreTrainedModel
    ) -> tuple[ActivationCapture, ActivationCapture]:
        """Listen to nothing that has no weight."""
        states = [m for m, weight in enumerate(self.hidden_weights, start=1) if weight]
        scores = [m for m, weight in enumerate(self.attention_weights, start=1) if weight]
        ours = [self.relations.student_layer] if self.relations else []
        theirs = [self.relations.teacher_layer] if self.relations else []
        longest = MOST_SCORED if self.reduction == "masked" else None
        return (
            ActivationCapture(student, states, scores=scores, heads=ours, longest=longest),
            ActivationCapture(
                teacher,
                self._mapped(states),
                scores=self._mapped(scores),
                heads=theirs,
                longest=longest,
            ),
        )

    def _mapped(self, layers: Sequence[int]) -> list[int]:
        return [self.mapping[layer - 1] for layer in layers]

    def terms(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """``attention`` (or ``relation``), ``hidden`` and ``embedding``, summed over layers."""
        inputs = model_inputs(batch)
        mask = inputs["attention_mask"]
        with torch.no_grad():
            target = self.teacher_tap(**inputs)
        seen = self.student_tap(**inputs)
        tokens = self._share(lambda: mask)
        if self.relations:
            yield "relation", tokens * self._relation(seen, target, mask)
        else:
            yield "attention", self._attention(seen, target, mask)
        yield "hidden", tokens * self._hidden(seen, target, mask)
        yield "embedding", tokens * self._embedding(seen, target, mask)

    def _attention(self, seen: Activations, target: Activations, mask: Tensor) -> Tensor:
        total = mask.new_zeros((), dtype=torch.float32)
        shares: dict[int | None, Tensor | float] = {}
        for layer, source, weight in self._weighted(self.attention_weights):
            reach = target.reach.get(source)
            if reach not in shares:
                shares[reach] = self._share(partial(real_pairs, mask, reach))
            if layer in seen.heads and source in target.heads:
                loss = attention_product_loss(seen.heads[layer], target.heads[source], mask)
            else:
                scores = seen.scores_of(layer), target.scores_of(source)
                loss = attention_score_loss(*scores, mask, self.reduction, reach)
            total = total + weight * shares[reach] * loss
        return total

    def _share(self, real: Callable[[], Tensor]) -> Tensor | float:
        """``official`` means run over padding too, alike in all processes."""
        return gradient_scale(real) if self.reduction == "masked" else 1.0

    def _relation(self, seen: Activations, target: Activations, mask: Tensor) -> Tensor:
        assert self.relations is not None
        ours = seen.heads[self.relations.student_layer]
        theirs = target.heads[self.relations.teacher_layer]
        total = mask.new_zeros((), dtype=torch.float32)
        for name, weight in self.relations.weights.items():
            pair = getattr(ours, name), getattr(theirs, name)
            total = total + weight * relation_loss(*pair, mask, self.relations.heads)
        return total

    def _hidden(self, seen: Activations, target: Activations, mask: Tensor) -> Tensor:
        total = mask.new_zeros((), dtype=torch.float32)
        for layer, source, weight in self._weighted(self.hidden_weights):
            states = self.projections(seen.hidden[layer], layer), target.hidden[source]
            total = total + weight * hidden_loss(*states, mask, self.reduction)
        return total

    def _embedding(self, seen: Activations, target: Activations, mask: Tensor) -> Tensor:
        if not self.embedding_weight:
            return mask.new_zeros((), dtype=torch.float32)
        states = self.projections(seen.embedding, 0), target.embedding
        return self.embedding_weight * hidden_loss(*states, mask, self.reduction)

    def _weighted(self, weights: Sequence[float]) -> Iterator[tuple[int, int, float]]:
        """Student layers that count, with their teacher layer and weight."""
        layers = zip(range(1, len(weights) + 1), self.mapping, weights, strict=True)
        yield from (layer for layer in layers if layer[-1])


def _per_layer(weights: float | tuple[float, ...], layers: int, name: str) -> tuple[float, ...]:
    if not isinstance(weights, tuple):
        return (weights,) * layers
    if len(weights) != layers:
        raise ShapeMismatch(
            f"weights.{name} lists {len(weights)} numbers, the student has {layers} layers.",
            "Give one number for each student layer, or a single one for all.",
        )
    return weights
