"""One masked word of a raw text by any masked LM: transformers' own tokenizer, model and head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from augment.tokenization.words import match_case
from tests.reference.vectors import nearest

BYTE_LEVEL = ("roberta", "modernbert")


@dataclass(frozen=True)
class Masked:
    """A masked word: its own token, and all tokens with their logits, best first."""

    token_id: int
    ranked: list[tuple[int, float]]


def ranked_tokens(
    model: Any, tokenizer: Any, text: str, start: int, end: int, *, pair: bool
) -> Masked | None:
    """All tokens for the word at ``start:end``, best first, or None where it is not one token.

    Args:
        model: A masked LM in eval mode.
        tokenizer: Its tokenizer.
        text: The raw text.
        start: The word's first character.
        end: One past its last.
        pair: Feed the unmasked text as second segment.
    """
    encoded = tokenizer(
        text, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=True
    )
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    inside = [i for i, (a, b) in enumerate(offsets) if a < end and start < b]
    glued = inside and inside[0] > 0 and tokenizer.convert_ids_to_tokens(ids[inside[0] - 1]) == "Ġ"
    parted = glued and encoded.token_to_word(inside[0] - 1) == encoded.token_to_word(inside[0])
    if len(inside) != 1 or parted:  # the space before it may be a token apart
        return None
    masked = [*ids[: inside[0]], tokenizer.mask_token_id, *ids[inside[0] + 1 :]]
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    between = [sep, sep] if model.config.model_type in ("roberta", "mpnet") else [sep]
    first = [cls, *masked, *(between if pair else [sep])]
    second = [*ids, sep] if pair else []
    inputs = {"input_ids": torch.tensor([[*first, *second]])}
    if model.config.model_type in ("bert", "electra"):
        inputs["token_type_ids"] = torch.tensor([[0] * len(first) + [1] * len(second)])
    with torch.no_grad():
        logits = model(**inputs).logits[0, inside[0] + 1].numpy()
    order = np.argsort(-logits, kind="stable")
    return Masked(ids[inside[0]], [(int(i), float(logits[i])) for i in order])


def plain_word(model: Any, tokenizer: Any, token_id: int, like: int) -> str | None:
    """The word that a token would write in place of another one, or None where it is no word."""
    if token_id >= len(tokenizer) or token_id in tokenizer.added_tokens_decoder:
        return None
    token = tokenizer.convert_ids_to_tokens(token_id)
    if model.config.model_type not in BYTE_LEVEL:
        return None if token.startswith(("##", "[")) and len(token) > 1 else token
    original = tokenizer.convert_ids_to_tokens(like)
    if token.startswith("Ġ") != original.startswith("Ġ"):
        return None
    if not token.startswith("Ġ") and f"Ġ{token}" not in tokenizer.get_vocab():
        return None
    word = tokenizer.convert_tokens_to_string([token])
    word = word[1:] if token.startswith("Ġ") and word.startswith(" ") else word
    broken = not word or "\ufffd" in word or any(c.isspace() for c in word)
    return None if broken else word


def paper_copy(
    text: str,
    words: list[tuple[int, int]],
    draws: np.ndarray,
    *,
    model: Any,
    tokenizer: Any,
    table: tuple[list[str], np.ndarray],
    k: int,
    p: float,
) -> str:
    """One copy of a text by Algorithm 1: the copy so far is tokenized anew for every word.

    Args:
        text: The original text.
        words: Start and end of each word, or an empty stretch for a word that is kept.
        draws: Shape ``(words, 2)``: the candidate's draw and the coin.
        model: The masked LM.
        tokenizer: Its tokenizer.
        table: Words and vectors.
        k: K.
        p: The threshold.
    """
    copy = text
    for i, (first, last) in enumerate(words):
        start, end = first + len(copy) - len(text), last + len(copy) - len(text)
        if first == last or draws[i, 1] >= p:
            continue
        masked = ranked_tokens(model, tokenizer, copy, start, end, pair=False)
        if masked is None:
            near = nearest(*table, copy[start:end].lower(), k)
            candidates = sorted(near, key=table[0].index)
        else:
            named = [
                (i, plain_word(model, tokenizer, i, masked.token_id)) for i, _ in masked.ranked
            ]
            candidates = [word for _, word in sorted([(i, w) for i, w in named if w][:k])]
        if candidates:
            drawn = candidates[int(draws[i, 0] * len(candidates))]
            if drawn.lower() != copy[start:end].lower():
                copy = copy[:start] + match_case(copy[start:end], drawn) + copy[end:]
    return copy
