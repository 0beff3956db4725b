"""The stages of a distillation: a batch in, named losses out.

A stage is the module that the trainer trains: the student and, for the intermediate stage, the
projections. The teacher stays outside the module tree, so checkpoints do not hold it, no
optimiser sees it and ``train()`` does not reach it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from distill.batching import model_inputs
from distill.errors import ShapeMismatch
from distill.losses import (
    Reduction,
    attention_score_loss,
    hidden_loss,
    label_loss,
    regression_loss,
    soft_cross_entropy,
)
from distill.models import Classifier
from distill.projections import Pretrained, Projections
from distill.recipe import Intermediate as IntermediateRecipe
from distill.taps import Tap


class Stage(nn.Module, ABC):
    """What the trainer knows of a stage.

    Attributes:
        student: The model that is trained.
        teacher: The model that is not, or nothing.
        whole: Whether every weight of the student takes part in the loss.
    """

    name: str
    whole = True

    def __init__(self, student: PreTrainedModel, teacher: PreTrainedModel | None = None) -> None:
        super().__init__()
        self.student = student
        self._outside = (teacher,)

    @property
    def teacher(self) -> PreTrainedModel | None:
        """The teacher, which no ``parameters()`` of this module returns."""
        return self._outside[0]

    def start(self, device: torch.device) -> None:
        """Called once before training: put the teacher to its place and check that it rests."""
        if self.teacher is not None:
            nn.Module.to(self.teacher, device)
            assert_at_rest(self.teacher)

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        """Losses of a batch.

        Returns:
            ``loss``, which is minimised, and its terms by name, each as it counts in ``loss``.
        """
        terms = dict(self.terms(batch))
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}

    @abstractmethod
    def terms(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """The named terms of the loss, float32 scalars."""


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


class HardLabels(Stage):
    """Plain fine-tuning: of a teacher, or of the student that distillation is compared with."""

    def __init__(self, student: PreTrainedModel, name: str) -> None:
        super().__init__(student)
        self.name = name

    def terms(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """``label``: cross-entropy, or squared error for a regression."""
        yield "label", label_loss(self.student(**model_inputs(batch)).logits, batch["labels"])


def assert_at_rest(teacher: PreTrainedModel) -> None:
    """The teacher is frozen and in evaluation mode: no dropout in the targets (METHOD §12 row 16).

    Raises:
        AssertionError: It is not; a fault of this program.
    """
    moving = [name for name, weight in teacher.named_parameters() if weight.requires_grad]
    awake = [name for name, module in teacher.named_modules() if module.training]
    assert not moving, f"teacher weights are not frozen: {moving[:3]}"
    assert not awake, f"teacher modules are in training mode: {awake[:3]}"


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
