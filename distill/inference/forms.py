"""Which form of an export answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from augment.contract.reading import read_json
from distill.errors import ModelInvalid, UsageError
from distill.inference.graph import GRAPH

RECORD = "export.json"
SMALL = ("onnx-small", "onnx-int8")
LARGE = ("onnx", "transformers")
FINE_DROP = 0.005
"""How much of the score on validation a small form may cost before a larger one answers."""
_AGAIN = "Export the model again, or name the folder of a form in it."


def is_graph(folder: Path) -> bool:
    """Whether a folder holds an exported graph."""
    return os.path.lexists(folder / GRAPH)


def is_export(folder: Path) -> bool:
    """Whether a folder is what ``distill export`` wrote, with its forms in it."""
    return os.path.lexists(folder / RECORD)


def chosen_form(folder: Path, form: str | None = None) -> Path:
    """The folder of the form that is asked for, or else of the smallest that answers as well.

    That is one of 8 bits unless it lost more than ``FINE_DROP`` on validation; then the plain
    graph, then the transformers folder.

    Raises:
        ModelInvalid: The record of the export cannot be read, or names no form that is there.
        UsageError: The form that is asked for is not there.
    """
    found = sorted(place.parent.name for place in folder.glob("*/config.json"))
    if form is not None:
        if form not in found:
            raise UsageError(
                f"{folder} holds no form {form!r}.", f"It holds {', '.join(found) or 'none'}."
            )
        return folder / form
    record = read_json(folder / RECORD, ModelInvalid, "the record of an export", _AGAIN)
    drops = _drops(record)
    for known in (*SMALL, *LARGE):
        if known in found and (known in LARGE or drops.get(known, 1.0) <= FINE_DROP):
            return folder / known
    for known in reversed(SMALL):  # nothing else was kept
        if known in found:
            return folder / known
    raise ModelInvalid(f"{folder} holds no form of a model that answers.", _AGAIN)


def _drops(record: Any) -> dict[str, float]:
    """What each form lost, as far as the record says so."""
    forms = record.get("forms") if isinstance(record, dict) else None
    known = [form for form in forms if isinstance(form, dict)] if isinstance(forms, list) else []
    return {
        form["form"]: form["drop"]
        for form in known
        if isinstance(form.get("form"), str) and isinstance(form.get("drop"), int | float)
    }
