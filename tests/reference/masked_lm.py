"""The authors' procedure for one word: one forward, the whole head, a full sort."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def ranked_tokens(
    model: Any,
    tokenizer: Any,
    words: list[str],
    at: int,
    *,
    pair: bool,
    limit: int = 512,
    depth: int | None = None,
) -> list[tuple[int, float]]:
    """The tokens for the masked word of a sentence given as basic tokens, best first.

    Args:
        model: A BERT with its masked-LM head, in eval mode.
        tokenizer: Its tokenizer.
        words: The sentence's words.
        at: The word to mask; it is one token.
        pair: Feed the unmasked sentence as second segment, as the released code does.
        limit: The longest input.
        depth: How many of them are handed out; all are sorted.
    """
    tokens = [tokenizer.tokenize(word) for word in words]
    masked = [p for i, word in enumerate(tokens) for p in (["[MASK]"] if i == at else word)]
    first = ["[CLS]", *masked, "[SEP]"]
    second = [*(p for word in tokens for p in word), "[SEP]"] if pair else []
    ids = tokenizer.convert_tokens_to_ids([*first, *second])[:limit]
    segments = ([0] * len(first) + [1] * len(second))[:limit]
    with torch.no_grad():
        logits = (
            model(
                input_ids=torch.tensor([ids]),
                token_type_ids=torch.tensor([segments]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            )
            .logits[0, 1 + sum(len(word) for word in tokens[:at])]
            .numpy()
        )
    order = np.argsort(-logits, kind="stable")
    return [(int(i), float(logits[i])) for i in order[:depth]]
