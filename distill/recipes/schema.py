"""The sections of a recipe: how each stage is trained and what its losses weigh."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from typing_extensions import override

from augment.contract.foreign import counted
from distill.recipes.mixtures import Data, LabeledData, labeled_only


def _length(value: object) -> object:
    if value == "auto" or (type(value) is int and 8 <= value <= 512):
        return value
    raise ValueError(f'must be "auto" or 8 to 512 tokens, found {value!r}')


def _layers(value: object) -> object:
    if value in ("uniform", "top", "bottom"):
        return value
    if isinstance(value, list | tuple) and value and all(type(layer) is int for layer in value):
        return tuple(value)
    raise ValueError(f'must be "uniform", "top", "bottom" or a list of layers, found {value!r}')


def _dropout(value: object) -> object:
    if value == "auto":
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1:
        return value
    raise ValueError(f'must be "auto" or at least 0 and below 1, found {value!r}')


def _count(value: object) -> object:
    if value == "auto" or (type(value) is int and value >= 1):
        return value
    raise ValueError(f'must be "auto" or a number of at least 1, found {value!r}')


def _number(value: object) -> object:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value == "auto" or (number and 0 < value < math.inf):  # type: ignore[operator]
        return value
    raise ValueError(f'must be "auto" or a number greater than 0, found {value!r}')


def _weights(value: object) -> object:
    many = value if isinstance(value, list | tuple) else (value,)
    if many and all(type(weight) in (int, float) and weight >= 0 for weight in many):
        return tuple(many) if isinstance(value, list | tuple) else value
    raise ValueError(f"must be a number of at least 0, or a list of them, found {value!r}")


LIGHTEST, HEAVIEST = 1e-6, 1e6
"""Of a class: float32 holds the ratio of any two."""


def _class_weights(value: object) -> object:
    if value in ("none", "balanced"):
        return value
    if isinstance(value, dict) and value:
        for name, weight in value.items():
            if type(weight) not in (int, float) or not LIGHTEST <= weight <= HEAVIEST:
                raise ValueError(
                    f"the weight of {name!r} must be a number greater than 0 (from "
                    f"{LIGHTEST:g} to {HEAVIEST:g}), found {weight!r}"
                )
        return {name: float(weight) for name, weight in value.items()}
    raise ValueError(
        'must be "none", "balanced" or a table of weights by class name such as '
        f"{{ rare = 3.0 }}, found {value!r}"
    )


MaxLength = Annotated[int | Literal["auto"], BeforeValidator(_length)]
Layers = Annotated[Literal["uniform", "top", "bottom"] | tuple[int, ...], BeforeValidator(_layers)]
Count = Annotated[int | Literal["auto"], BeforeValidator(_count)]
Number = Annotated[float | Literal["auto"], BeforeValidator(_number)]
Dropout = Annotated[float | Literal["auto"], BeforeValidator(_dropout)]
ClassWeights = Annotated[
    Literal["none", "balanced"] | dict[str, float], BeforeValidator(_class_weights)
]
LayerWeights = Annotated[float | tuple[float, ...], BeforeValidator(_weights)]


class Section(BaseModel):
    """What every table of a recipe has in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class LossWeights(Section):
    """λ of Eq. 6: one number, or one per student layer."""

    attention: LayerWeights = 1.0
    hidden: LayerWeights = 1.0
    embedding: float = Field(1.0, ge=0)


class Relations(Section):
    """MiniLMv2's losses on how tokens relate; they take the place of attention scores.

    Attributes:
        heads: Relation heads, the same number on both sides; it divides both widths. ``auto`` is
            the largest one up to 48 (the paper's, for 12 heads) that leaves 8 numbers a head.
        layer: The teacher layer that the student's last layer learns from. ``auto`` is the one
            it is mapped to: the last, unless ``layers`` says otherwise.
        query: Weight of the query-query relations; ``key`` and ``value`` likewise.
    """

    heads: Count = "auto"
    layer: Count = "auto"
    query: float = Field(1.0, ge=0)
    key: float = Field(1.0, ge=0)
    value: float = Field(1.0, ge=0)


class PredictionWeights(Section):
    """What the prediction stage adds up.

    Attributes:
        logits: The teacher's answers.
        labels: The labels of the data; an augmented row carries its original's.
        patient: PKD's [CLS] states of the mapped layers, the last one left out.
        cosine: DistilBERT's angle between last hidden states.
    """

    logits: float = Field(1.0, ge=0)
    labels: float = Field(0.0, ge=0)
    patient: float = Field(0.0, ge=0)
    cosine: float = Field(0.0, ge=0)


class Course(Section):
    """How weights are trained, whatever the number of steps.

    Attributes:
        schedule: What follows the warm-up.
        warmup_ratio: Share of the steps in which the rate rises from 0.
        weight_decay: AdamW's; biases and layer norms are left out.
        max_grad_norm: The gradient's global norm is clipped to it.
        dropout: Of the student while the stage lasts; ``auto`` is what its config says.
        evaluations: Evaluations on validation over the stage, the last step included. The
            intermediate stage is not evaluated and keeps its last step.
    """

    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_ratio: float = Field(0.1, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    dropout: Dropout = "auto"
    evaluations: int = Field(5, ge=1)


class Optimization(Course):
    """How weights are trained, on whatever rows: all in numbers.

    Attributes:
        epochs: Passes over the rows; the stage ends earlier at ``max_steps``.
        max_steps: The most optimizer steps, or nothing.
        batch_size: Rows a step, over all devices.
        learning_rate: Peak of the schedule.
        head_factor: How many times the head's rate is the encoder's: a fresh head has to find the
            range of the answers first.
    """

    epochs: float = Field(3.0, gt=0)
    max_steps: int | None = Field(None, ge=1)
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(5e-5, gt=0)
    head_factor: float = Field(1.0, gt=0)


_LATER = {
    "keep": "best",
    "class_weights": "none",
    "sampling": "natural",
    "teacher_states_gb": 0.0,
}
"""What was decided before there was a choice."""


class Training(Course):
    """How one stage is trained on a version; ``auto`` is what ``recipes/auto.py`` says.

    Attributes:
        epochs: As in ``Optimization``; likewise the next four.
        keep: Which evaluated step is kept: ``best``, the first of those with the best score on
            validation; ``latest``, the latest whose score is within a standard error of it.
        patience: Evaluations in a row without a better score after which the stage ends, before
            its last step. Nothing: it goes on to its last step, as does what is not evaluated.
        data: ``original`` (``variant == 0``), ``augmented`` (those and the ones made from them),
            ``unlabeled``, ``all``, or a table of shares: see ``mixtures.Shares``.
    """

    epochs: Number = 3.0
    max_steps: Count | None = None
    batch_size: Count = 32
    learning_rate: Number = 5e-5
    head_factor: Number = 1.0
    keep: Literal["best", "latest"] = "best"
    patience: int | None = Field(None, ge=1)
    data: Data = "augmented"

    @property
    def draws_from(self) -> Data:
        """``data``, less the rows that the stage can learn nothing from."""
        return self.data

    @model_serializer(mode="wrap")
    def _lean(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what is as if nobody knew of it: older runs are still those they were."""
        found: dict[str, Any] = write(self)
        return {name: own for name, own in found.items() if _LATER.get(name, ...) != own}

    @property
    def numbers(self) -> Optimization:
        """What is left when nothing is ``auto`` any more, see ``auto.resolve``."""
        return Optimization.model_validate(self.model_dump(include={*Optimization.model_fields}))


class Layerwise(Section):
    """What is compared layer by layer.

    Attributes:
        weights: λ by loss and layer.
        attention: ``scores``: raw scores, head by head and layer by layer (Eq. 7);
            ``relations``: those of one layer, for any numbers of heads; ``auto``: scores where
            teacher and student have the same number of heads, else relations.
        relations: What the latter compares.
    """

    weights: LossWeights = LossWeights()
    attention: Literal["auto", "scores", "relations"] = "auto"
    relations: Relations = Relations()

    @model_validator(mode="after")
    def _relations_are_of_one_layer(self) -> Self:
        if self.attention == "relations" and isinstance(self.weights.attention, tuple):
            raise ValueError("relations are those of one layer: weights.attention is one number")
        return self

    @property
    def attends(self) -> bool:
        """Whether attention counts."""
        return _counts(self.weights.attention)

    @property
    def matches_states(self) -> bool:
        """Whether hidden states or embeddings count."""
        return _counts(self.weights.hidden) or self.weights.embedding > 0


class Intermediate(Training, Layerwise):
    """Stage 1: embeddings, hidden states and attention.

    Attributes:
        enabled: Whether the stage is run at all.
        teacher_states_gb: Gigabytes of the disk, at most, that the teacher's states may take
            while the stage lasts, where rows are drawn more than twice: it is asked once for
            each row, not at every step. 0: never kept.
    """

    enabled: bool = True
    teacher_states_gb: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _something_is_learnt(self) -> Self:
        if self.enabled and not self.attends and not self.matches_states:
            raise ValueError("every weight is 0; to leave the stage out: enabled = false")
        return self


class General(Optimization, Layerwise):
    """General distillation (docs/method.md, section 4): the losses of stage 1 on blocks of text.

    Its last step is kept; ``--tokens`` and ``--hours`` stand for ``epochs`` and ``max_steps``.

    Attributes:
        length: The most tokens a block has, special ones included.
        min_length: Ends of documents with fewer are left out; 3 keeps all that is not empty.
        held_out: Share of the documents that losses are measured on and that are never trained on.
    """

    learning_rate: float = Field(1e-3, gt=0)
    warmup_ratio: float = Field(0.05, ge=0, lt=1)
    evaluations: int = Field(10, ge=1)
    length: int = Field(128, ge=8, le=512)
    min_length: int = Field(8, ge=3, le=512)
    held_out: float = Field(0.01, ge=0, lt=0.5)

    @model_validator(mode="after")
    def _there_is_something_to_learn(self) -> Self:
        if self.min_length > self.length:
            raise ValueError(
                f"min_length {self.min_length} leaves no block of at most "
                f"{counted(self.length, 'token')}"
            )
        if not self.attends and not self.matches_states:
            raise ValueError("every weight is 0")
        return self


class Labeled(Training):
    """How labels of uneven classes are learned from.

    Attributes:
        class_weights: What a row counts for in the loss on labels: ``none``, all the same;
            ``balanced``, each class the same; or a table of weights by class name, 1 where a class
            is not named.
        sampling: How an epoch draws rows: ``natural``, each once; ``balanced``, every class
            equally often.
    """

    class_weights: ClassWeights = "none"
    sampling: Literal["natural", "balanced"] = "natural"

    @model_validator(mode="after")
    def _classes_are_evened_once(self) -> Self:
        if self.class_weights == self.sampling == "balanced":
            raise ValueError(
                'sampling = "balanced" makes the classes even already: leave class_weights out'
            )
        return self


class Prediction(Labeled):
    """Stage 2: the teacher's answers.

    Attributes:
        loss: How logits are compared, see ``losses.logits_loss``; a regression is always
            compared by squared difference.
        temperature: t of Eq. 10.
        teacher_weight: Of the teacher's answer where a row brings a soft label too; the rest is
            the soft label's. 1 leaves soft labels out.
        weights: Of the teacher's answers and of what is added to them.
    """

    loss: Literal["soft_cross_entropy", "kl", "mse"] = "soft_cross_entropy"
    temperature: float = Field(1.0, gt=0)
    teacher_weight: float = Field(1.0, ge=0, le=1)
    weights: PredictionWeights = PredictionWeights()

    @model_validator(mode="after")
    def _something_is_learnt(self) -> Self:
        if self.weights.logits == self.weights.labels == 0:
            raise ValueError("weights.logits or weights.labels must be greater than 0")
        if self.loss == "mse" and self.temperature != 1:
            raise ValueError('loss = "mse" compares logits as they are: temperature must be 1')
        if self.class_weights != "none" and not self.weights.labels:
            raise ValueError("class_weights weigh labels, and weights.labels is 0")
        if self._needs_labels and labeled_only(self.data) is None:
            raise ValueError("unlabeled rows teach nothing where weights.logits is 0")
        return self

    @property
    def _needs_labels(self) -> bool:
        """Whether a row without a label would teach nothing."""
        return not self.weights.logits and not self.matches_states

    @property
    @override
    def draws_from(self) -> Data:
        """``data``; where labels alone are learned from, that of it which has them."""
        return (labeled_only(self.data) or self.data) if self._needs_labels else self.data

    @property
    def matches_states(self) -> bool:
        """Whether hidden states of the teacher count beside its answers."""
        return self.weights.patient > 0 or self.weights.cosine > 0


class Original(Labeled):
    """Training on hard labels: the original rows, unless the recipe says otherwise.

    ``all`` means all that have a label.
    """

    data: LabeledData = "original"


def _counts(weights: float | tuple[float, ...]) -> bool:
    return any(weights) if isinstance(weights, tuple) else weights > 0
