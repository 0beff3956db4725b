"""Recipes whose stages have the same steps, batches and rates whatever the rows are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distill.recipes.load import DistillRecipe, load_recipe

Sections = Mapping[str, Mapping[str, Any]]


def with_sections(recipe: DistillRecipe, sections: Sections, **own: Any) -> DistillRecipe:
    """The recipe with other keys in some of its sections, and of its own, checked anew."""
    changed = recipe.model_dump() | own
    for name, keys in sections.items():
        changed[name] = changed[name] | dict(keys)
    return DistillRecipe.model_validate(changed)


def equal_steps(
    task: str, seed: int, steps: tuple[int, int], batch: int, data: str | dict[str, int]
) -> DistillRecipe:
    """``quick`` with so many steps of stage 1 and stage 2, both on the same rows."""
    same: dict[str, Any] = {"epochs": 100_000.0, "batch_size": batch, "data": data}
    first, second = steps
    sections = {
        "intermediate": same | {"max_steps": first, "learning_rate": 5e-4},
        "prediction": same | {"max_steps": second, "learning_rate": 1e-4, "patience": None},
    }
    return with_sections(load_recipe("quick", task), sections, seed=seed)
