"""What the masked LM reads: a query for each masked position, packed without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from augment.tokenization.base import PieceTokenizer


def build_query(
    words: Sequence[tuple[int, ...]], at: int, tokenizer: PieceTokenizer, context: str, limit: int
) -> Query | None:
    """The input for one word of a sentence, or None where the mask would lie beyond the limit.

    Args:
        words: The pieces of every word, in order.
        at: Which word is masked; it must be a one-piece word.
        tokenizer: For the ids of the special pieces.
        context: ``single``: the masked sentence; ``pair``: then the original as second segment.
        limit: The longest input of the model, in pieces.
    """
    frame, pair = tokenizer.frame, context == "pair"
    before = [piece for word in words[:at] for piece in word]
    after = [piece for word in words[at + 1 :] for piece in word]
    mask_at = len(frame.before) + len(before)
    if mask_at >= limit:
        return None
    end = frame.between if pair else frame.after
    first = [*frame.before, *before, tokenizer.mask, *after, *end]
    second = [*before, *words[at], *after, *frame.after] if pair else []
    ids = tuple([*first, *second][:limit])
    first_segment = min(len(first), limit) if frame.segments else len(ids)
    return Query(ids, first_segment, mask_at, tokenizer.form_of(words[at]))


@dataclass(frozen=True, slots=True)
class Query:
    """One masked position.

    Attributes:
        ids: The whole input, special pieces included.
        first_segment: How many of the ids belong to the first segment.
        mask_at: Where the mask stands.
        form: The form of whole words that may stand there, see ``PieceTokenizer.whole_words``.
    """

    ids: tuple[int, ...]
    first_segment: int
    mask_at: int
    form: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring inputs of one length.

    Attributes:
        start: The first piece of the first input.
        inputs: How many.
        length: Pieces of each.
    """

    start: int
    inputs: int
    length: int

    @property
    def pieces(self) -> slice:
        """Where the run lies in the long row."""
        return slice(self.start, self.start + self.inputs * self.length)


@dataclass(frozen=True, slots=True)
class Packed:
    """Inputs one after the other, equal lengths side by side.

    Attributes:
        ids: Piece ids, shape ``(pieces,)``.
        positions: Place of each piece within its input, shape ``(pieces,)``.
        segments: 0 or 1, shape ``(pieces,)``.
        masks: The mask of each input, as a place in the long row, shape ``(inputs,)``.
        forms: The form of whole words at each mask, shape ``(inputs,)``.
        runs: Inputs of equal length.
    """

    ids: Tensor
    positions: Tensor
    segments: Tensor
    masks: Tensor
    forms: Tensor
    runs: tuple[Run, ...]


def pack(queries: Sequence[Query], device: str) -> Packed:
    """Lay inputs one after the other; those of equal length must already be neighbours."""
    lengths = np.array([len(query.ids) for query in queries])
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    total = int(lengths.sum())
    ids = np.fromiter(chain.from_iterable(query.ids for query in queries), np.int64, total)
    positions = np.arange(total) - np.repeat(starts, lengths)
    splits = np.repeat([query.first_segment for query in queries], lengths)
    masks = starts + np.array([query.mask_at for query in queries])
    firsts = np.flatnonzero(np.diff(lengths, prepend=-1))
    counts = np.diff(firsts, append=len(queries))
    runs = [
        Run(int(starts[at]), int(count), int(lengths[at]))
        for at, count in zip(firsts, counts, strict=True)
    ]
    return Packed(
        ids=torch.from_numpy(ids).to(device),
        positions=torch.from_numpy(positions).to(device),
        segments=torch.from_numpy((positions >= splits).astype(np.int64)).to(device),
        masks=torch.from_numpy(masks).to(device),
        forms=torch.tensor([query.form for query in queries], device=device),
        runs=tuple(runs),
    )
