"""Reading recipes: a shipped preset or a file, resolved for one task, and printed with comments."""

from __future__ import annotations

import tomlkit

from augment.contract.recipes import Recipes, faults, refuse
from augment.recipes.schema import AugmentRecipe

RECIPES = Recipes(AugmentRecipe, "augment", "augment recipe sst2 > my.toml")
load_recipe = RECIPES.load


def with_variants(recipe: AugmentRecipe, variants: int | None) -> AugmentRecipe:
    """The recipe with another N; None leaves it.

    Raises:
        RecipeInvalid: There is no such N.
    """
    if variants is None:
        return recipe
    changed = {**dict(recipe), "variants": variants}
    refuse(f"variants {variants}", faults(AugmentRecipe, changed))
    return AugmentRecipe.model_validate(changed)


def describe(recipe: AugmentRecipe) -> str:
    """The recipe as a commented TOML file that gives back the same recipe."""
    lines = []
    for key, value in recipe.model_dump(mode="json").items():
        note = " ".join((AugmentRecipe.model_fields[key].description or "").split())
        shown = tomlkit.item(value).as_string()
        lines.append(f"# {note.replace('``', '')}\n{key} = {shown}")
    return "\n".join(lines) + "\n"
