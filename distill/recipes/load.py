"""Recipes: every number of a distillation, typed and frozen; TOML in, canonical JSON out.

A recipe may hold overrides for single tasks, ``[task.cola.intermediate] epochs = 50``; they are
merged over the rest when the recipe is resolved for a task.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from augment.contract.validation import faults
from distill.errors import RecipeInvalid
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
            takes bfloat16 where the processor computes in it.
        layers: Student layer to teacher layer, see ``mapping.layer_map``.
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
    def maps_layers(self) -> bool:
        """Whether a loss asks which teacher layer a student layer learns from."""
        return self.intermediate.enabled or self.prediction.weights.patient > 0


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


def load_recipe(source: str | Path | DistillRecipe, task: str) -> DistillRecipe:
    """Read a shipped recipe or a TOML file, and resolve it for a task.

    Args:
        source: A name such as ``quick``, a path that ends in ``.toml``, or a resolved recipe.
        task: The task whose overrides apply.

    Raises:
        RecipeInvalid: The file is missing, is not TOML, or has faults (all are listed).
    """
    if isinstance(source, DistillRecipe):
        return source
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
