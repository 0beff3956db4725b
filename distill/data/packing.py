"""Documents of pieces → blocks of at most one length; a block never holds two documents.

PURE: numbers in, numbers out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Frame:
    """What a block looks like: ``opening``, some pieces of one document, ``closing``.

    Attributes:
        length: The most pieces, the special ones included.
        minimum: The fewest; what is left of a document below it is left out.
        opening: Id of [CLS].
        closing: Id of [SEP].
    """

    length: int
    minimum: int
    opening: int
    closing: int


@dataclass(frozen=True, slots=True)
class Pieces:
    """A document, or a part of an oversized one, as ids without special pieces."""

    document: int
    ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the corpus.

    Attributes:
        blocks: Blocks made.
        tokens: Pieces in them, the special ones included.
        empty: Documents without a piece.
        damaged: Documents with bytes that are no UTF-8; these are read as replacement characters.
        short: Documents, and ends of documents, that were left out because they are too short.
        short_tokens: Pieces in these.
    """

    blocks: int = 0
    tokens: int = 0
    empty: int = 0
    damaged: int = 0
    short: int = 0
    short_tokens: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def reasons(self, frame: Frame) -> list[str]:
        """What was left out or altered, one sentence each."""
        said = {
            f"{self.empty:,} empty documents left out": self.empty,
            f"{self.damaged:,} documents hold bytes that are no UTF-8": self.damaged,
            f"{self.short:,} documents and ends under {frame.minimum} pieces left out "
            f"({self.short_tokens:,} pieces)": self.short,
        }
        return [sentence for sentence, count in said.items() if count]


@dataclass(frozen=True, slots=True)
class Packed:
    """Blocks, one after the other.

    Attributes:
        ids: All pieces, shape (tokens,).
        lengths: Pieces of each block, shape (blocks,).
        documents: The document each block is of, shape (blocks,).
        counts: Of these blocks and of what was left out.
    """

    ids: NDArray[np.int32]
    lengths: NDArray[np.int32]
    documents: NDArray[np.int64]
    counts: Counts

    def first(self, tokens: int) -> Packed:
        """The first blocks, as many as it takes to reach a number of tokens."""
        ends = np.cumsum(self.lengths)
        blocks = min(int(np.searchsorted(ends, tokens)) + 1, len(ends))
        counts = replace(self.counts, blocks=blocks, tokens=int(ends[blocks - 1]) if blocks else 0)
        return Packed(
            self.ids[: counts.tokens], self.lengths[:blocks], self.documents[:blocks], counts
        )


def pack(documents: Iterable[Pieces], frame: Frame) -> Packed:
    """Cut each document into consecutive blocks, all of them full but the last one.

    Args:
        documents: In the order of the corpus.
        frame: What a block looks like.

    Returns:
        The blocks in the same order.
    """
    room = frame.length - 2
    ids: list[int] = []
    lengths: list[int] = []
    owners: list[int] = []
    empty = short = lost = 0
    for document in documents:
        empty += not document.ids
        for start in range(0, len(document.ids), room):
            some = document.ids[start : start + room]
            if len(some) + 2 < frame.minimum:
                short, lost = short + 1, lost + len(some)
                continue
            ids += (frame.opening, *some, frame.closing)
            lengths.append(len(some) + 2)
            owners.append(document.document)
    return Packed(
        np.array(ids, np.int32),
        np.array(lengths, np.int32),
        np.array(owners, np.int64),
        Counts(len(lengths), len(ids), empty, 0, short, lost),
    )
