"""Pydantic's complaints as short sentences with key paths and a guess at what was meant."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

_BOUNDS = {
    "greater_than": ("must be greater than {}", "gt"),
    "greater_than_equal": ("must be at least {}", "ge"),
    "less_than": ("must be less than {}", "lt"),
    "less_than_equal": ("must be at most {}", "le"),
}
_KINDS = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "model_type": "must be a table",
    "dict_type": "must be a table",
}


def faults(
    model: type[BaseModel], raw: dict[str, Any], error: ValidationError | None
) -> dict[str, str]:
    """One sentence for every faulty key.

    Args:
        model: The recipe's class, for the names of its keys.
        raw: What was validated.
        error: What pydantic said, or nothing.

    Returns:
        Key path, such as ``intermediate.epochs``, to the fault.
    """
    found: dict[str, str] = {}
    for detail in error.errors() if error else ():
        path = _known_path(raw, detail["loc"])
        found.setdefault(".".join(map(str, path)), _sentence(model, path, dict(detail)))
    return found


def _known_path(raw: Any, loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The part of a location that exists in the input: union branches are pydantic's own."""
    path: list[int | str] = []
    for part in loc:
        if not isinstance(raw, dict) or part not in raw:
            break
        raw = raw[part]
        path.append(part)
    return tuple(path) or loc


def _sentence(model: type[BaseModel], path: tuple[int | str, ...], detail: dict[str, Any]) -> str:
    kind, found = detail["type"], detail.get("input")
    if kind == "extra_forbidden":
        close = get_close_matches(str(path[-1]), _keys(model, path[:-1]), n=1)
        return f"unknown key; did you mean {close[0]!r}?" if close else "unknown key"
    if kind in _BOUNDS:
        words, limit = _BOUNDS[kind]
        return f"{words.format(detail['ctx'][limit])}, found {found!r}"
    if kind in _KINDS:
        return f"{_KINDS[kind]}, found {found!r}"
    if kind == "literal_error":
        return f"must be {detail['ctx']['expected']}, found {found!r}"
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    return f"{detail['msg']}, found {found!r}"


def _keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    for part in path:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type):
            return []
        model = field.annotation
    return list(model.model_fields)
