"""Recipes: every number of a distillation, typed and frozen; TOML in, canonical JSON out.

A recipe may hold overrides for single tasks, ``[task.cola.intermediate] epochs = 50``; they are
merged over the rest when the recipe is resolved for a task.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from distill.errors import RecipeInvalid
from distill.recipe_faults import faults

DEFAULT_RECIPE = "quick"


def _length(value: object) -> object:
    if value == "auto" or (type(value) is int and 8 <= value <= 512):
        return value
    raise ValueError(f'must be "auto" or 8 to 512 pieces, found {value!r}')


def _layers(value: object) -> object:
    if value in ("uniform", "top", "bottom"):
        return value
    if isinstance(value, list | tuple) and value and all(type(layer) is int for layer in value):
        return tuple(value)
    raise ValueError(f'must be "uniform", "top", "bottom" or a list of layers, found {value!r}')


def _weights(value: object) -> object:
    many = value if isinstance(value, list | tuple) else (value,)
    if many and all(type(weight) in (int, float) and weight >= 0 for weight in many):
        return tuple(many) if isinstance(value, list | tuple) else value
    raise ValueError(f"must be a number of at least 0, or a list of them, found {value!r}")


MaxLength = Annotated[int | Literal["auto"], BeforeValidator(_length)]
Layers = Annotated[Literal["uniform", "top", "bottom"] | tuple[int, ...], BeforeValidator(_layers)]
LayerWeights = Annotated[float | tuple[float, ...], BeforeValidator(_weights)]


class Section(BaseModel):
    """What every table of a recipe has in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Training(Section):
    """How one stage is trained.

    Attributes:
        epochs: Passes over the rows; the stage ends earlier at ``max_steps``.
        max_steps: The most optimiser steps, or nothing.
        batch_size: Rows a step, over all devices.
        learning_rate: Peak of the schedule.
        schedule: What follows the warm-up.
        warmup_ratio: Share of the steps in which the rate rises from 0.
        weight_decay: AdamW's; biases and layer norms are left out.
        max_grad_norm: The gradient's global norm is clipped to it.
        data: ``augmented`` (all rows) or ``original`` (``variant == 0``).
        evaluations: Evaluations on validation over the stage, the last step included; the best
            is kept. The intermediate stage is not evaluated and keeps its last step.
    """

    epochs: float = Field(3.0, gt=0)
    max_steps: int | None = Field(None, ge=1)
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(5e-5, gt=0)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_ratio: float = Field(0.1, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    data: Literal["augmented", "original"] = "augmented"
    evaluations: int = Field(5, ge=1)


class LossWeights(Section):
    """λ of Eq. 6: one number, or one per student layer."""

    attention: LayerWeights = 1.0
    hidden: LayerWeights = 1.0
    embedding: float = Field(1.0, ge=0)


class Intermediate(Training):
    """Stage 1: embeddings, hidden states and attention scores."""

    weights: LossWeights = LossWeights()


class Prediction(Training):
    """Stage 2: the teacher's logits, softened by ``temperature`` (t of Eq. 10)."""

    temperature: float = Field(1.0, gt=0)


class Original(Training):
    """Training on hard labels: the original rows, unless the recipe says otherwise."""

    data: Literal["augmented", "original"] = "original"


class DistillRecipe(Section):
    """Every number of a distillation.

    Attributes:
        seed: Of initialisation, dropout and the order of rows.
        max_length: Pieces a row is cut to; ``auto`` is 64 for single sentences, 128 for pairs.
        precision: Of the forward passes while training; losses are float32 always. ``auto``
            takes bfloat16 where the processor computes in it.
        layers: Student layer to teacher layer, see ``mapping.layer_map``.
        attention_reduction: How attention and hidden losses are averaged, see ``losses``.
        projection: Student width to teacher width: one matrix, one for each layer, or one for
            the embeddings and one for the layers.
        teacher: Fine-tuning of a teacher (``distill teacher``).
        intermediate: Stage 1.
        prediction: Stage 2.
        plain: The labels-only student that the distilled one is compared with.
    """

    seed: int = Field(0, ge=0, lt=2**31)
    max_length: MaxLength = "auto"
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    layers: Layers = "uniform"
    attention_reduction: Literal["masked", "official"] = "masked"
    projection: Literal["shared", "per_layer", "separate_embedding"] = "shared"
    teacher: Original = Original()
    intermediate: Intermediate = Intermediate()
    prediction: Prediction = Prediction()
    plain: Original = Original()


def shipped() -> tuple[str, ...]:
    """Names of the recipes that come with the package."""
    folder = resources.files("distill") / "recipes"
    return tuple(
        sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))
    )


def recipe_text(name: str) -> str:
    """A shipped recipe as TOML, comments included.

    Raises:
        RecipeInvalid: No recipe has that name.
    """
    if name not in shipped():
        raise RecipeInvalid(
            f"there is no recipe {name!r}; shipped are {', '.join(shipped())}.",
            "Name one of them, or a TOML file of your own.",
        )
    return (resources.files("distill") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")


def load_recipe(source: str | Path, task: str) -> DistillRecipe:
    """Read a shipped recipe or a TOML file, and resolve it for a task.

    Args:
        source: A name such as ``quick``, or a path that ends in ``.toml``.
        task: The task whose overrides apply.

    Raises:
        RecipeInvalid: The file is missing, is not TOML, or has faults (all are listed).
    """
    path = Path(source)
    if path.suffix == ".toml":
        if not path.is_file():
            raise RecipeInvalid(
                f"{path} is not there.", f"Make one: distill recipe {DEFAULT_RECIPE} > {path}"
            )
        text = path.read_text(encoding="utf-8")
    else:
        text = recipe_text(str(source))
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeInvalid(f"{source} is not TOML: {error}.") from error
    return resolve(raw, task, source=str(source))


def resolve(raw: dict[str, Any], task: str, *, source: str = "recipe") -> DistillRecipe:
    """Check a recipe with all its overrides, then merge those of one task.

    Raises:
        RecipeInvalid: With every fault of the recipe and of every override, by key path.
    """
    overrides = raw.get("task", {})
    base = {key: value for key, value in raw.items() if key != "task"}
    found = faults(DistillRecipe, base, _validate(base))
    if not isinstance(overrides, dict) or not all(isinstance(o, dict) for o in overrides.values()):
        found["task"] = "must hold one table for each task, such as [task.cola.intermediate]"
        overrides = {}
    for name, override in overrides.items():
        merged = _merge(base, override)
        for key, fault in faults(DistillRecipe, merged, _validate(merged)).items():
            if key not in found:
                found[f"task.{name}.{key}"] = fault
    if found:
        width = max(map(len, found))
        count = f"{len(found)} fault{'s' if len(found) > 1 else ''}"
        lines = "\n".join(f"{key:<{width}}  {fault}" for key, fault in found.items())
        raise RecipeInvalid(f"{source} has {count}", lines)
    return DistillRecipe.model_validate(_merge(base, overrides.get(task, {})))


def _validate(raw: dict[str, Any]) -> ValidationError | None:
    try:
        DistillRecipe.model_validate(raw)
    except ValidationError as error:
        return error
    return None


def _merge(base: dict[str, Any], override: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in override.items():
        old = merged.get(key)
        nested = isinstance(value, dict) and isinstance(old, dict)
        merged[key] = _merge(old, value) if nested else value  # type: ignore[arg-type]
    return merged
