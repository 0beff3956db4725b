"""Algorithm 1 of the paper word by word: every candidate set from a forward of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.reference.masked_lm import ranked_tokens
from tests.reference.vectors import nearest


def paper_copy(
    text: str,
    words: list[tuple[int, int]],
    kept: set[int],
    draws: np.ndarray,
    *,
    model: Any,
    tokenizer: Any,
    table: tuple[list[str], np.ndarray],
    may_stand: set[int],
    k: int,
    p: float,
) -> str:
    """One copy of a lower-case text: candidates see what has been replaced before.

    Args:
        text: The original text.
        words: Start and end of each word.
        kept: Words that are never replaced.
        draws: Shape ``(words, 2)``: the candidate's draw and the coin.
        model: The masked LM.
        tokenizer: Its tokenizer.
        table: Words and vectors.
        may_stand: Token ids that are whole words.
        k: K.
        p: The threshold.
    """
    copy = [text[start:end] for start, end in words]
    for i, word in enumerate(list(copy)):
        if i in kept or draws[i, 1] >= p:
            continue
        if len(tokenizer.tokenize(word)) == 1:
            ranked = ranked_tokens(model, tokenizer, copy, i, pair=False)
            best = [token_id for token_id, _ in ranked if token_id in may_stand][:k]
            candidates = [tokenizer.convert_ids_to_tokens(token_id) for token_id in sorted(best)]
        else:
            near = nearest(*table, word, k)
            candidates = sorted(near, key=table[0].index)
        if candidates:
            copy[i] = candidates[int(draws[i, 0] * len(candidates))]
    out, at = "", 0
    for (start, end), word in zip(words, copy, strict=True):
        out += text[at:start] + word
        at = end
    return out + text[at:]
