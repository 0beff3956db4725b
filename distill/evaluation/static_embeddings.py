"""A text as the mean of its tokens' embeddings: what a table and no network can tell.

The rows of a model's own table, all alike, are the features: on tickets and on SST-2 that was
better than weights by frequency, fewer dimensions, or each token's state after a pass through the
model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distill.data.versions import tokenizer_rules

MOST_TOKENS = 512
ROWS_AT_ONCE = 2_000
Features = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TokenTable:
    """The input embeddings of a model, shape (tokens, dimensions), and what reads texts for it."""

    tokenizer: PreTrainedTokenizerBase
    values: Features

    @classmethod
    def of(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Self:
        """That of a model as it stands; where it is trained later, these values change with it."""
        embeddings: Any = model.get_input_embeddings()
        return cls(tokenizer, embeddings.weight.detach().float().cpu().numpy())

    @property
    def digest(self) -> str:
        """Of all that decides a mean."""
        digest = hashlib.sha256(np.ascontiguousarray(self.values).tobytes())
        digest.update(tokenizer_rules(self.tokenizer).encode())
        return digest.hexdigest()

    @property
    def file_bytes(self) -> int:
        """Of the table and of the tokenizer."""
        return int(self.values.nbytes) + len(tokenizer_rules(self.tokenizer).encode())

    def means(self, texts: Sequence[str]) -> Features:
        """The mean of each text's tokens, shape (texts, dimensions); 0 for a text without any."""
        parts = [
            self._some(texts[start : start + ROWS_AT_ONCE])
            for start in range(0, len(texts), ROWS_AT_ONCE)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.values.shape[1]), np.float32)

    def _some(self, texts: Sequence[str]) -> Features:
        from scipy.sparse import csr_array

        read = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            truncation=True,
            max_length=MOST_TOKENS,
            split_special_tokens=True,
            return_attention_mask=False,
        )["input_ids"]
        lengths = np.array([len(ids) for ids in read])
        ids = np.concatenate([np.asarray(own, dtype=np.int64) for own in read])
        shares = np.repeat(1 / np.maximum(lengths, 1), lengths).astype(np.float32)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        shape = (len(read), len(self.values))
        return np.asarray(csr_array((shares, ids, starts), shape=shape) @ self.values)


@dataclass(frozen=True, slots=True)
class StaticEmbeddings:
    """Texts to features, centered on those that were learnt from, and all of one length.

    Attributes:
        table: Of the tokens.
        centers: The mean of each text column, shape (dimensions,).
    """

    table: TokenTable
    centers: tuple[Features, ...]

    @classmethod
    def fit(cls, table: TokenTable, texts: Sequence[Sequence[str]]) -> Self:
        """Center on some texts, column by column."""
        return cls(table, tuple(table.means(own).mean(axis=0) for own in texts))

    def __call__(self, texts: Sequence[Sequence[str]]) -> Features:
        """Features, shape (rows, dimensions); of a pair both, their distance and their product."""
        columns: list[Features] = []
        for own, center in zip(texts, self.centers, strict=True):
            values = self.table.means(own) - center
            lengths = np.sqrt(np.square(values).sum(axis=1, keepdims=True))
            columns.append(values / np.maximum(lengths, np.float32(1e-9)))
        if len(columns) == 1:
            return columns[0]
        first, second = columns
        return np.concatenate([first, second, np.abs(first - second), first * second], axis=1)
