"""Recipes: every number of a distillation, typed and frozen; TOML in, canonical JSON out.

A recipe may hold overrides for single tasks, ``[task.cola.intermediate] epochs = 50``; they are
merged over the rest when the recipe is resolved for a task.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from augment.contract.recipes import Recipes
from distill.recipes.mixtures import Data, parts_of
from distill.recipes.schema import (
    General,
    Intermediate,
    Layers,
    MaxLength,
    Original,
    Prediction,
    Section,
)

DEFAULT_RECIPE = "quick"


class DistillRecipe(Section):
    """Every number of a distillation.

    Attributes:
        seed: Of initialization, dropout and the order of rows.
        max_length: Tokens a row is cut to; ``auto`` is 64 for single sentences, 128 for pairs.
        precision: Of the forward passes while training; losses are float32 always. ``auto``
            takes bfloat16 where the processor is faster in it.
        log: Where losses and scores go beside ``metrics.jsonl``: ``tensorboard`` writes a folder
            ``tensorboard``, one below for each stage. It decides no weight.
        layers: Student layer to teacher layer, see ``layer_mapping.layer_map``.
        attention_reduction: How attention and hidden losses are averaged, see ``losses``.
        projection: Student width to teacher width: one matrix, one for each layer, or one for
            the embeddings and one for the layers.
        teacher: Fine-tuning of a teacher (``distill teacher``).
        intermediate: Stage 1.
        prediction: Stage 2.
        plain: The labels-only student that the distilled one is compared with.
        general: General distillation on raw text (``distill general``).
    """

    seed: int = Field(0, ge=0, lt=2**31)
    max_length: MaxLength = "auto"
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    log: Literal["none", "tensorboard"] = "none"
    layers: Layers = "uniform"
    attention_reduction: Literal["masked", "official"] = "masked"
    projection: Literal["shared", "per_layer", "separate_embedding"] = "shared"
    teacher: Original = Original()
    intermediate: Intermediate = Intermediate()
    prediction: Prediction = Prediction()
    plain: Original = Original()
    general: General = General()

    @property
    def compares_tokens(self) -> bool:
        """Whether a loss compares hidden states or attention of teacher and student."""
        return self.intermediate.enabled or self.prediction.matches_states

    @property
    def drawn(self) -> dict[str, Data]:
        """The rows that the stages of a run draw from, by section."""
        first = {"intermediate": self.intermediate.draws_from} if self.intermediate.enabled else {}
        return {**first, "prediction": self.prediction.draws_from, "plain": self.plain.draws_from}

    @property
    def draws_unlabeled(self) -> bool:
        """Whether a stage of a run draws from rows without labels."""
        return any("unlabeled" in parts_of(data) for data in self.drawn.values())

    @property
    def maps_layers(self) -> bool:
        """Whether a loss asks which teacher layer a student layer learns from."""
        return self.intermediate.enabled or self.prediction.weights.patient > 0


RECIPES = Recipes(DistillRecipe, "distill", f"distill recipe {DEFAULT_RECIPE} > my.toml")
load_recipe = RECIPES.load
