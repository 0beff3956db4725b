"""Whether a model and a tokenizer belong together, where one of them was trimmed.

A trimmed model's ``config.json`` and its tokenizer's ``tokenizer_config.json`` hold one digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from distill.errors import ModelInvalid

MARK = "trimmed_vocabulary"
"""Key of ``tokenizer_config.json``; transformers carries it along."""
_HINT = "Put the tokenizer.json and tokenizer_config.json that the model was written with beside it"


def vocabulary_digest(ids: Mapping[str, int]) -> str:
    """SHA-256 in hex over a tokenizer's tokens and their numbers, added ones included."""
    return hashlib.sha256(json.dumps(sorted(ids.items())).encode()).hexdigest()


def check_vocabulary(
    name: str, trimmed: str, marked: Any, ids: Callable[[], Mapping[str, int]]
) -> None:
    """See that a trimmed model has its own tokenizer, and a trimmed tokenizer its own model.

    Args:
        name: What the user called the model.
        trimmed: ``ServingSettings.vocabulary`` of the model; empty for one that is whole.
        marked: What its tokenizer's config says under ``MARK``; nothing for one that is whole.
        ids: Gives the tokenizer's tokens and their numbers.

    Raises:
        ModelInvalid: They do not belong together.
    """
    if not trimmed and not marked:
        return
    if not trimmed:
        raise ModelInvalid(
            f"the tokenizer of {name} was trimmed, the model was not: their tokens have other "
            "numbers.",
            f"{_HINT}.",
        )
    if vocabulary_digest(ids()) != trimmed:
        raise ModelInvalid(
            f"the vocabulary of {name} was trimmed, and the tokenizer beside it is another one.",
            f"{_HINT}, or trim the model again: distill trim MODEL VERSION --out FOLDER",
        )
