"""Intermediate-layer distillation, stage 1: embeddings, hidden states and attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel

from augment.contract.foreign import counted
from distill.data.batching import TEACHER_STATES, model_inputs
from distill.errors import ShapeMismatch
from distill.models.capture import ActivationCapture, Activations
from distill.models.projections import Kind, Pretrained, Projections
from distill.recipes.schema import Layerwise
from distill.runs.distributed import gradient_scale
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
from distill.stages.states import StateLayout

# Tokens up to which attention is compared by its scores, beyond it by ``attention_product_loss``.
# Measured, attention and loss of a layer on one thread: 254 ms instead of 425 at 128 tokens, but
# 928 instead of 406 at 256 and 2,177 instead of 613 at 512.
MAX_SCORE_LENGTH = 192


class IntermediateStage(Stage):
    """Stage 1: embedding, hidden and attention losses (Eq. 7 to 9, weighted as in Eq. 6).

    Args:
        student: Trained together with the projections.
        teacher: Frozen, in evaluation mode.
        mapping: Teacher layer for each student layer, see ``layer_mapping.layer_map``.
        recipe: Loss weights, and how attention is compared.
        reduction: See ``losses.attention_score_loss``.
        projection: See ``projections.Projections``, as for ``pretrained``.
        max_score_length: Of longer texts, in tokens, no scores are computed (docs/method.md,
            section 8.3).

    Attributes:
        relations: What is compared if attention is learnt by relations, or None.
        layout: How batches bring the teacher's states, or None: it is asked.

    Raises:
        ShapeMismatch: The numbers of heads differ while scores are asked for, relation heads do
            not divide the widths, or there is not one weight for each layer.
        EncoderUnsupported: Attention has a weight, and that of a model cannot be captured.
    """

    trains_all_parameters = False

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
        max_score_length: int = MAX_SCORE_LENGTH,
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
        longest = max_score_length if reduction == "masked" else None
        plan, layers = self.relations, self.mapping
        self.student_capture = self._capture(
            student, range(1, len(layers) + 1), [plan.student_layer] if plan else [], longest
        )
        self.teacher_capture = self._capture(
            teacher, layers, [plan.teacher_layer] if plan else [], longest
        )
        self.layout: StateLayout | None = None
        self.projections = Projections(
            student.config.hidden_size,
            teacher.config.hidden_size,
            layers=len(mapping),
            kind=projection,
            pretrained=pretrained,
        )

    def _capture(
        self,
        model: PreTrainedModel,
        layers: Sequence[int],
        related: Sequence[int],
        longest: int | None,
    ) -> ActivationCapture:
        """Capture those of a model's layers, one for each of the student's, that have a weight."""
        return ActivationCapture(
            model,
            [layer for layer, weight in zip(layers, self.hidden_weights, strict=True) if weight],
            scores=[n for n, weight in zip(layers, self.attention_weights, strict=True) if weight],
            qkv=related,
            max_score_length=longest,
        )

    def notices(self) -> dict[str, str]:
        """What attention is learnt by, and pretrained projections that are left out."""
        notices = {"attention": str(self.relations or ""), "projections": self.projections.notice}
        return {label: notice for label, notice in notices.items() if notice}

    def terms(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """``attention`` (or ``relation``), ``hidden`` and ``embedding``, summed over layers."""
        inputs = model_inputs(batch)
        mask = inputs["attention_mask"]
        with torch.no_grad():
            if self.layout and TEACHER_STATES in batch:
                teacher = self.layout.split(batch[TEACHER_STATES])
            else:
                teacher = self.teacher_capture(**inputs)
        student = self.student_capture(**inputs)
        scale = self._scale(lambda: mask)
        if self.relations:
            yield "relation", scale * self._relation(student, teacher, mask)
        else:
            yield "attention", self._attention(student, teacher, mask)
        yield "hidden", scale * self._hidden(student, teacher, mask)
        yield "embedding", scale * self._embedding(student, teacher, mask)

    def plan_states(self, inputs: dict[str, Tensor]) -> str:
        """Find out, on some row, how the teacher's states can be kept: ``layout`` says it then.

        Returns:
            Why they cannot be kept, as the rest of a sentence; empty if they can.
        """
        if self.pads_to_fixed_length:
            return "this loss counts padding, which is not kept"
        found = self._kept(inputs)
        products = all(
            torch.equal(scores, found.qkv[layer].scores()) for layer, scores in found.scores.items()
        )
        if found.windows or not products:
            return "its attention scores are not products of queries and keys alone"
        names = tuple(self.relations.weights) if self.relations else ("query", "key")
        self.layout = StateLayout.of(found, names)
        return ""

    def states(self, inputs: dict[str, Tensor]) -> Tensor:
        """The teacher's states of a batch in their layout, shape (batch, length, numbers)."""
        assert self.layout is not None, "no layout is known"
        return self.layout.join(self._kept(inputs))

    @torch.no_grad()
    def _kept(self, inputs: dict[str, Tensor]) -> Activations:
        """What is compared, computed as when it is asked; queries and keys beside the scores."""
        asked = self.teacher_capture
        capture = ActivationCapture(
            asked.model,
            asked.layers,
            scores=asked.scores,
            qkv=[*asked.scores, *asked.qkv],
            max_score_length=asked.max_score_length,
        )
        return capture(**inputs)

    def _attention(self, student: Activations, teacher: Activations, mask: Tensor) -> Tensor:
        total = mask.new_zeros((), dtype=torch.float32)
        scales: dict[int | None, Tensor | float] = {}
        for layer, mapped, weight in self._weighted(self.attention_weights):
            window = teacher.windows.get(mapped)
            if window not in scales:
                scales[window] = self._scale(partial(real_pairs, mask, window))
            if layer in student.qkv and mapped in teacher.qkv:
                loss = attention_product_loss(student.qkv[layer], teacher.qkv[mapped], mask)
            else:
                scores = student.scores_of(layer), teacher.scores_of(mapped)
                loss = attention_score_loss(*scores, mask, self.reduction, window)
            total = total + weight * scales[window] * loss
        return total

    def _scale(self, counted: Callable[[], Tensor]) -> Tensor | float:
        """The factor of a mean over what counts; ``official`` means run over padding too."""
        return gradient_scale(counted) if self.reduction == "masked" else 1.0

    def _relation(self, student: Activations, teacher: Activations, mask: Tensor) -> Tensor:
        assert self.relations is not None
        student_qkv = student.qkv[self.relations.student_layer]
        teacher_qkv = teacher.qkv[self.relations.teacher_layer]
        total = mask.new_zeros((), dtype=torch.float32)
        for name, weight in self.relations.weights.items():
            pair = getattr(student_qkv, name), getattr(teacher_qkv, name)
            total = total + weight * relation_loss(*pair, mask, self.relations.heads)
        return total

    def _hidden(self, student: Activations, teacher: Activations, mask: Tensor) -> Tensor:
        total = mask.new_zeros((), dtype=torch.float32)
        for layer, mapped, weight in self._weighted(self.hidden_weights):
            states = self.projections(student.hidden[layer], layer), teacher.hidden[mapped]
            total = total + weight * hidden_loss(*states, mask, self.reduction)
        return total

    def _embedding(self, student: Activations, teacher: Activations, mask: Tensor) -> Tensor:
        if not self.embedding_weight:
            return mask.new_zeros((), dtype=torch.float32)
        states = self.projections(student.embedding, 0), teacher.embedding
        return self.embedding_weight * hidden_loss(*states, mask, self.reduction)

    def _weighted(self, weights: Sequence[float]) -> Iterator[tuple[int, int, float]]:
        """Student layers with a weight: layer, teacher layer, weight."""
        layers = zip(range(1, len(weights) + 1), self.mapping, weights, strict=True)
        yield from (layer for layer in layers if layer[-1])


def _per_layer(weights: float | tuple[float, ...], layers: int, name: str) -> tuple[float, ...]:
    if not isinstance(weights, tuple):
        return (weights,) * layers
    if len(weights) != layers:
        raise ShapeMismatch(
            f"weights.{name} lists {counted(len(weights), 'number')}, the student "
            f"has {counted(layers, 'layer')}.",
            "Give one number for each student layer, or a single one for all.",
        )
    return weights
