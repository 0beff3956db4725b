"""Reading recipes: a shipped preset or a file, resolved for one task, and printed with comments."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import tomlkit

from augment.contract import RecipeInvalid, TaskSpec
from augment.contract.data_files import listed, quoted
from augment.contract.foreign import shown
from augment.contract.recipes import Recipes, faults, refuse
from augment.recipes.schema import AugmentRecipe

RECIPES = Recipes(AugmentRecipe, "augment", "augment recipe sst2 > my.toml")
load_recipe = RECIPES.load
_MOST_NAMES = 20


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


def recipe_for(
    task: TaskSpec, recipe: str | Path | AugmentRecipe, variants: int | None = None
) -> AugmentRecipe:
    """The recipe of that name or file for a task, maybe with another N.

    Raises:
        RecipeInvalid: There is none, it has faults, or it speaks of classes that the task has not.
    """
    found = with_variants(load_recipe(recipe, task.name), variants)
    names = task.label.names
    if found.variants_of and not names:
        raise RecipeInvalid(
            f"variants_of is for classes, and {task.name} has scores.",
            "Leave it out of the recipe.",
        )
    for name in found.variants_of:
        if name not in names:
            close = get_close_matches(name, names, n=1)
            near = f"Did you mean {shown(close[0])}? " if close else ""
            raise RecipeInvalid(
                f"variants_of names {quoted(name)}, which is no class of {task.name}.",
                f"{near}Its classes: {listed(names[:_MOST_NAMES])}"
                f"{', …' * (len(names) > _MOST_NAMES)}.",
            )
    return found


def describe(recipe: AugmentRecipe) -> str:
    """The recipe as a commented TOML file that gives back the same recipe."""
    lines = []
    for key, value in recipe.model_dump(mode="json").items():
        note = " ".join((AugmentRecipe.model_fields[key].description or "").split())
        lines.append(f"# {note.replace('``', '')}\n{key} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A value on one line, tables too."""
    if not isinstance(value, dict):
        return str(tomlkit.item(value).as_string())
    table = tomlkit.inline_table()
    table.update(value)
    return table.as_string()
