"""Tokens that a vocabulary does not know: too many tell of another language."""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import numpy as np
from transformers import PreTrainedTokenizerBase

from distill.runs.progress import Narrator

FIRST_ROWS = 1000
MANY_UNKNOWN = 0.02
"""A share of tokens that are unknown which is worth a warning."""


def unknown_share(tokens: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerBase) -> float:
    """How many of the tokens of some rows are those that stand for what is not known."""
    ids = np.concatenate([np.asarray(row, dtype=np.int64) for row in tokens])
    return float((ids == tokenizer.unk_token_id).mean())


def warn_of_unknown(
    rows: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, narrator: Narrator
) -> None:
    """Say that a vocabulary hardly knows the texts, such as those of another language."""
    share = unknown_share(rows[:FIRST_ROWS]["input_ids"], tokenizer) if len(rows) else 0.0
    if share > MANY_UNKNOWN:
        narrator.say(
            "warning",
            f"{share:.0%} of the tokens are unknown to the vocabulary: is it made for "
            "texts in this language?",
        )
