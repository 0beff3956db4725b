"""The choice of a tokenizer's wrapper by its kind: WordPiece or byte-level BPE."""

from __future__ import annotations

import json
from typing import Any

from augment.errors import AssetInvalid
from augment.tokenization.base import ModelTokenizer
from augment.tokenization.bytelevel import ByteLevelTokenizer
from augment.tokenization.wordpiece import WordPieceTokenizer


def wrap_tokenizer(tokenizer: Any, size: int) -> ModelTokenizer:
    """A fast tokenizer of transformers as words and tokens, of which the model knows ``size``.

    Raises:
        AssetInvalid: It is neither WordPiece nor byte-level BPE, or has no mask.
    """
    kind = _kind(tokenizer)
    wrapper = {"WordPiece": WordPieceTokenizer, "byte-level BPE": ByteLevelTokenizer}.get(kind)
    if wrapper is None or tokenizer.mask_token_id is None:
        mask = "with" if tokenizer.mask_token_id is not None else "without"
        raise AssetInvalid(
            f"the tokenizer is {type(tokenizer).__name__} ({kind}, {mask} a mask); "
            "a fast WordPiece or byte-level BPE tokenizer with a mask is expected."
        )
    backend = tokenizer.backend_tokenizer
    return wrapper(type(backend).from_str(backend.to_str()), tokenizer.mask_token_id, size)


def _kind(tokenizer: Any) -> str:
    """``WordPiece``, ``byte-level BPE``, or a name for what is neither."""
    if not tokenizer.is_fast:
        return "slow"
    description = json.loads(tokenizer.backend_tokenizer.to_str())
    model, cuts = description["model"], json.dumps(description["pre_tokenizer"])
    affixed = model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
    byte_level = model["type"] == "BPE" and '"ByteLevel"' in cuts and not affixed
    return "byte-level BPE" if byte_level else str(model["type"])
