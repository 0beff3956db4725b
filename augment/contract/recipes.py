"""Recipes of both packages: a shipped one by name or a TOML file, resolved for one task.

A recipe may hold overrides for single tasks, ``[task.cola.intermediate] epochs = 50``; they are
merged over the rest when the recipe is resolved.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Generic, TypeGuard, TypeVar

from pydantic import BaseModel

from augment.contract.errors import RecipeInvalid
from augment.contract.reading import guarded
from augment.contract.validation import faults, parse_toml, refuse

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Recipes(Generic[M]):
    """The recipes of a package: those in its folder ``recipes``, and files of the same kind.

    ``example`` is the command that prints one, for a hint.
    """

    model: type[M]
    package: str
    example: str

    @property
    def names(self) -> tuple[str, ...]:
        """The shipped ones, in alphabetical order."""
        files = (resources.files(self.package) / "recipes").iterdir()
        return tuple(sorted(f.name[:-5] for f in files if f.name.endswith(".toml")))

    def text(self, name: str) -> str:
        """A recipe as TOML, comments included.

        Raises:
            RecipeInvalid: Nothing has that name.
        """
        return self._read(name).decode(errors="replace")

    def load(self, source: str | Path | M, task: str) -> M:
        """The recipe of that name or file, with the overrides of a task; a resolved one as it is.

        Raises:
            RecipeInvalid: Nothing has that name, it is not TOML, or has faults (all are listed).
        """
        if isinstance(source, self.model):
            return source
        name = str(source)
        return self.resolve(parse_toml(self._read(name), name), task, source=name)

    def resolve(self, raw: dict[str, Any], task: str, *, source: str = "recipe") -> M:
        """Check a recipe with all its overrides, then merge those of one task.

        Raises:
            RecipeInvalid: With every fault of the recipe and of every override, by key path.
        """
        overrides = raw.get("task", {})
        base = {key: value for key, value in raw.items() if key != "task"}
        found = faults(self.model, base)
        if not isinstance(overrides, dict) or not all(map(_is_table, overrides.values())):
            found["task"] = "must hold one table for each task, such as [task.cola]"
            overrides = {}
        for name, override in overrides.items():
            for key, fault in faults(self.model, _merge(base, override)).items():
                if key not in found:
                    found[f"task.{name}.{key}"] = fault
        refuse(source, found)
        return self.model.model_validate(_merge(base, overrides.get(task, {})))

    def _read(self, name: str) -> bytes:
        if name in self.names:
            return (resources.files(self.package) / "recipes" / f"{name}.toml").read_bytes()
        hint = f"Copy one and change it: {self.example}"
        with guarded(Path(name), RecipeInvalid, "a recipe", hint):
            if not Path(name).exists():
                raise RecipeInvalid(
                    f"there is no recipe {name!r}: neither a shipped one "
                    f"({', '.join(self.names)}) nor a file.",
                    hint,
                )
            return Path(name).read_bytes()


def _is_table(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _merge(base: dict[str, Any], override: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in override.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if _is_table(old) and _is_table(value) else value
    return merged
