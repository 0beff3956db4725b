"""Reading recipes: a shipped preset or a file, resolved for one task, and printed with comments."""

from __future__ import annotations

import difflib
import json
import tomllib
from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from augment.errors import RecipeInvalid
from augment.recipes.schema import AugmentRecipe
from augment.tasks import faults

PRESETS = ("official", "paper")


def load_recipe(name: str, task: str) -> AugmentRecipe:
    """A shipped preset by name, or a recipe file, resolved for one task.

    A table ``[task.<name>]`` overrides the top-level keys for that task.

    Raises:
        RecipeInvalid: No such preset or file, not TOML, or any fault; all faults at once.
    """
    text, where = recipe_text(name), name
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeInvalid(f"{where} is not TOML: {error}.") from error
    tables = raw.pop("task", {})
    own = tables.get(task, {}) if isinstance(tables, dict) else {}
    try:
        return AugmentRecipe.model_validate({**raw, **own})
    except ValidationError as error:
        raise RecipeInvalid(_with_suggestions(faults(where, error), error)) from error


def recipe_text(name: str) -> str:
    """The text of a shipped preset or of a recipe file, comments included.

    Raises:
        RecipeInvalid: Nothing has that name.
    """
    if name in PRESETS:
        return (resources.files("augment") / "recipes" / f"{name}.toml").read_text("utf-8")
    path = Path(name)
    if not path.is_file():
        raise RecipeInvalid(
            f"recipe {name!r} is neither a shipped one ({', '.join(PRESETS)}) nor a file.",
            "Copy one and change it: augment recipe sst2 > my.toml",
        )
    return path.read_text(encoding="utf-8", errors="replace")


def describe(recipe: AugmentRecipe) -> str:
    """The recipe as a commented TOML file that gives back the same recipe."""
    notes = _field_notes()
    lines = []
    for key, value in recipe.model_dump(mode="json").items():
        shown = json.dumps(value, ensure_ascii=False)
        lines.append(f"# {notes[key]}\n{key} = {shown}")
    return "\n".join(lines) + "\n"


def _field_notes() -> dict[str, str]:
    """Field → its sentence in the class docstring, so that there is one wording only."""
    attributes = (AugmentRecipe.__doc__ or "").partition("Attributes:")[2]
    notes: dict[str, str] = {}
    key = ""
    for line in (part.strip() for part in attributes.splitlines()):
        head, colon, rest = line.partition(": ")
        if colon and head in AugmentRecipe.model_fields:
            key, notes[head] = head, rest
        elif line:
            notes[key] += f" {line}"
    return {key: note.replace("``", "") for key, note in notes.items()}


def _with_suggestions(text: str, error: ValidationError) -> str:
    for fault in error.errors():
        if fault["type"] == "extra_forbidden":
            key = str(fault["loc"][-1])
            close = difflib.get_close_matches(key, AugmentRecipe.model_fields, n=1)
            if close:
                text = text.replace(
                    f"{key:28} unknown key", f"{key:28} unknown key; did you mean '{close[0]}'?"
                )
    return text
