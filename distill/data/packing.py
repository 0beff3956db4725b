"""Packing: token ids of documents → blocks of bounded length, each of one document. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from augment.contract.foreign import counted


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """A block: [CLS], some tokens of one document, [SEP].

    Attributes:
        max_length: In tokens, special ones included.
        min_length: Likewise; what is left of a document below it is left out.
        cls_id: Id of [CLS].
        sep_id: Id of [SEP].
    """

    max_length: int
    min_length: int
    cls_id: int
    sep_id: int


@dataclass(frozen=True, slots=True)
class DocumentTokens:
    """Token ids of a document, or of a part of an oversized one, without special tokens."""

    document: int
    ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class CorpusCounts:
    """What became of a corpus.

    Attributes:
        blocks: Blocks made.
        tokens: Tokens in them, special ones included.
        empty: Documents without a token.
        damaged: Documents with bytes that are no UTF-8; these are read as replacement characters.
        short: Documents, and ends of documents, that were left out because they are too short.
        short_tokens: Tokens in these.
    """

    blocks: int = 0
    tokens: int = 0
    empty: int = 0
    damaged: int = 0
    short: int = 0
    short_tokens: int = 0

    def __add__(self, other: CorpusCounts) -> CorpusCounts:
        return CorpusCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def notices(self, spec: BlockSpec) -> list[str]:
        """What was left out or altered, one sentence each."""
        counts = {
            f"{counted(self.empty, 'empty document')} left out": self.empty,
            f"{counted(self.damaged, 'document', 'hold')} bytes that are no UTF-8": self.damaged,
            f"{counted(self.short, 'document')} and ends under "
            f"{counted(spec.min_length, 'token')} left out "
            f"({counted(self.short_tokens, 'token')})": self.short,
        }
        return [sentence for sentence, count in counts.items() if count]


@dataclass(frozen=True, slots=True)
class PackedBlocks:
    """Blocks, one after the other.

    Attributes:
        ids: Token ids of all blocks, shape (tokens,).
        lengths: Tokens of each block, shape (blocks,).
        documents: The document of each block, shape (blocks,).
        counts: Of these blocks and of what was left out.
    """

    ids: NDArray[np.int32]
    lengths: NDArray[np.int32]
    documents: NDArray[np.int64]
    counts: CorpusCounts

    def first(self, tokens: int) -> PackedBlocks:
        """The first blocks, as many as it takes to reach a number of tokens."""
        ends = np.cumsum(self.lengths)
        blocks = min(int(np.searchsorted(ends, tokens)) + 1, len(ends))
        counts = replace(self.counts, blocks=blocks, tokens=int(ends[blocks - 1]) if blocks else 0)
        return PackedBlocks(
            self.ids[: counts.tokens], self.lengths[:blocks], self.documents[:blocks], counts
        )


def pack(documents: Iterable[DocumentTokens], spec: BlockSpec) -> PackedBlocks:
    """Cut each document in turn into consecutive blocks, all of them full but the last one."""
    room = spec.max_length - 2
    ids: list[int] = []
    lengths: list[int] = []
    numbers: list[int] = []
    empty = short = short_tokens = 0
    for document in documents:
        empty += not document.ids
        for start in range(0, len(document.ids), room):
            inner = document.ids[start : start + room]
            if len(inner) + 2 < spec.min_length:
                short, short_tokens = short + 1, short_tokens + len(inner)
                continue
            ids += (spec.cls_id, *inner, spec.sep_id)
            lengths.append(len(inner) + 2)
            numbers.append(document.document)
    return PackedBlocks(
        np.array(ids, np.int32),
        np.array(lengths, np.int32),
        np.array(numbers, np.int64),
        CorpusCounts(len(lengths), len(ids), empty, 0, short, short_tokens),
    )
