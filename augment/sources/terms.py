"""Under which license a source's rows are, and in which languages, as its own card says.

A folder's card is its ``README.md``, with a YAML head as the hub has it; that of a hub data set is
looked up there. What is no license or language in the hub's words counts as not said.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from augment.contract.errors import Fault
from augment.contract.reading import read_text
from augment.errors import SourceInvalid
from augment.sources.hub import names_hub
from augment.tasks import Task, Terms

CARD = "README.md"


def terms_of(source: str, task: Task) -> Terms:
    """What the task file says; where it says nothing, what the source's card does."""
    own, told = task.terms, _card(source)
    return Terms(license=own.license or told.license, language=own.language or told.language)


def _card(source: str) -> Terms:
    place = Path(source)
    data: Any = None
    with suppress(Exception):  # a card is free text: whatever is wrong with it, nothing is said
        from huggingface_hub import DatasetCard

        if names_hub(source):
            data = DatasetCard.load(source.partition(":")[0]).data
        elif text := _text((place if place.is_dir() else place.parent) / CARD):
            data = DatasetCard(text).data
    head: dict[str, Any] = data.to_dict() if data else {}
    found = (_checked("license", _first(head)), _checked("language", _many(head.get("language"))))
    return Terms(**{key: value for each in found for key, value in each.items()})


def _text(path: Path) -> str:
    """The card's text; empty where there is none that can be read."""
    with suppress(Fault):
        return read_text(path, SourceInvalid, "a card")
    return ""


def _first(head: dict[str, Any]) -> Any:
    licenses = _many(head.get("license"))
    return licenses[0] if len(licenses) == 1 else None


def _many(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value] if value else []


def _checked(key: str, value: Any) -> dict[str, Any]:
    """The value under its key, if it is one in the hub's words."""
    with suppress(ValidationError):
        return {key: getattr(Terms.model_validate({key: value}), key)}
    return {}
