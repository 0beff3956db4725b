"""Recipes and other TOML files: read, checked, and a sentence for every faulty key.

Pydantic finds the faults; here they become key paths, what was found, and a guess at what was
meant.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, Generic, TypeGuard, TypeVar

from pydantic import BaseModel, ValidationError

from augment.contract.errors import RecipeInvalid
from augment.contract.foreign import counted, shown
from augment.contract.reading import guarded, reason_of, remedy_of

_WORDS = {
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "finite_number": "must be a finite number",
    "string_type": "must be text",
    "string_pattern_mismatch": "must match {pattern}",
    "too_short": "must have at least {min_length}",
    "too_long": "must have at most {max_length}",
    **dict.fromkeys(("int_type", "int_from_float", "int_parsing"), "must be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    **dict.fromkeys(("model_type", "dict_type"), "must be a table"),
    **dict.fromkeys(("tuple_type", "list_type"), "must be a list"),
}


def parse_toml(content: bytes, where: str) -> dict[str, Any]:
    """The tables of a TOML file; a key that stands twice is a fault.

    Raises:
        RecipeInvalid: It is not TOML, or not UTF-8.
    """
    try:
        read = tomllib.loads(content.decode("utf-8-sig"))
        _refuse_wide(read)
        return read
    except (ValueError, RecursionError) as error:
        reason, hint = reason_of(error), remedy_of(content)
        raise RecipeInvalid(f"{where} is not TOML: {reason}.", hint) from error


def _refuse_wide(value: Any) -> None:
    """TOML's whole numbers have 64 bits; Python would take any.

    Raises:
        ValueError: One has more.
    """
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            _refuse_wide(part)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a whole number has more than 64 bits")


def twice(names: Iterable[str]) -> str | None:
    """The first name that stands twice, or None: nothing is taken by being the last of several."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def faults(model: type[BaseModel], raw: dict[str, Any]) -> dict[str, str]:
    """One sentence for every key in ``raw`` that does not fit the model.

    Returns:
        Key path, such as ``intermediate.epochs``, to the fault; empty where there is none.
    """
    found: dict[str, str] = {}
    try:
        model.model_validate(raw)
    except ValidationError as error:
        for detail in error.errors():
            path = _known_path(raw, detail["loc"], missing=detail["type"] == "missing")
            key = ".".join(map(str, path)) or "(whole file)"
            found.setdefault(key, _sentence(model, path, dict(detail)))
    return found


def refuse(where: str, found: dict[str, str]) -> None:
    """Raise all faults at once, where there are any.

    Raises:
        RecipeInvalid: Each fault is a line of the hint.
    """
    if found:
        keys = [shown(key) for key in found]  # one of a file can hold anything, newlines too
        width = max(map(len, keys))
        lines = "\n".join(
            f"{key:<{width}}  {shown(fault)}"
            for key, fault in zip(keys, found.values(), strict=True)
        )
        raise RecipeInvalid(f"{where} has {counted(len(found), 'fault')}", lines)


def _known_path(raw: Any, loc: tuple[int | str, ...], *, missing: bool) -> tuple[int | str, ...]:
    """The part of a location that exists in the input: union branches are pydantic's own."""
    path: list[int | str] = []
    for part in loc:
        item = isinstance(raw, list) and isinstance(part, int)
        if not item and not (isinstance(raw, dict) and part in raw):
            break
        raw = raw[part]
        path.append(part)
    return loc if missing or not path else tuple(path)


def _sentence(model: type[BaseModel], path: tuple[int | str, ...], detail: dict[str, Any]) -> str:
    kind = detail["type"]
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    if kind == "extra_forbidden":
        close = get_close_matches(str(path[-1]), _keys(model, path[:-1]), n=1)
        return f"unknown key; did you mean {close[0]!r}?" if close else "unknown key"
    known = _WORDS.get(kind)
    words = known.format(**detail.get("ctx", {})) if known else detail["msg"]
    return f"{words}, found {detail.get('input')!r}"


def _keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    for part in path:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type):
            return []
        model = field.annotation
    return list(model.model_fields)


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

        Examples:
            >>> import augment, distill
            >>> augment.load_recipe("official", "sst2").variants
            20
            >>> distill.load_recipe("quick", "sst2").max_length
            'auto'
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
