"""Inputs of the masked LM: one for each masked word, packed one after the other without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from augment.tokenization.base import ModelTokenizer


@dataclass(frozen=True, slots=True)
class MaskedInput:
    """One input with one masked position.

    Attributes:
        ids: The whole input, special tokens included.
        first_segment: How many of the ids belong to the first segment.
        mask_at: Position of the mask.
        spaced: Whether the masked word has a space before it; see ``ModelTokenizer.is_spaced``.
    """

    ids: tuple[int, ...]
    first_segment: int
    mask_at: int
    spaced: bool = True


def build_input(
    words: Sequence[tuple[int, ...]], at: int, tokenizer: ModelTokenizer, context: str, limit: int
) -> MaskedInput | None:
    """The input for one word of a sentence, or None where the mask would lie beyond the limit.

    Args:
        words: The token ids of every word, in order.
        at: Which word is masked; it must be a word of one token.
        tokenizer: For the special tokens.
        context: ``single``: the masked sentence; ``pair``: then the original as second segment.
        limit: The longest input of the model, in tokens.
    """
    special, pair = tokenizer.specials, context == "pair"
    before = [token for word in words[:at] for token in word]
    after = [token for word in words[at + 1 :] for token in word]
    mask_at = len(special.before) + len(before)
    if mask_at >= limit:
        return None
    end = special.between if pair else special.after
    first = [*special.before, *before, tokenizer.mask, *after, *end]
    second = [*before, *words[at], *after, *special.after] if pair else []
    ids = tuple([*first, *second][:limit])
    first_segment = min(len(first), limit) if special.segments else len(ids)
    return MaskedInput(ids, first_segment, mask_at, tokenizer.is_spaced(words[at]))


@dataclass(frozen=True, slots=True)
class LengthGroup:
    """Neighboring inputs of one length in tokens, from the token ``start``."""

    start: int
    inputs: int
    length: int

    @property
    def tokens(self) -> slice:
        """Where the group lies among all tokens."""
        return slice(self.start, self.start + self.inputs * self.length)


@dataclass(frozen=True, slots=True)
class PackedInputs:
    """Inputs one after the other, equal lengths side by side.

    Attributes:
        ids: Token ids, shape ``(tokens,)``.
        positions: Position of each token within its input, shape ``(tokens,)``.
        segments: 0 or 1, shape ``(tokens,)``.
        masks: The mask of each input, as an index into the tokens, shape ``(inputs,)``.
        spaced: 1 where the masked word has a space before it, else 0, shape ``(inputs,)``.
        groups: Inputs of equal length.
    """

    ids: Tensor
    positions: Tensor
    segments: Tensor
    masks: Tensor
    spaced: Tensor
    groups: tuple[LengthGroup, ...]

    def __len__(self) -> int:
        """How many inputs there are."""
        return len(self.masks)


def pack(inputs: Sequence[MaskedInput], device: str) -> PackedInputs:
    """Lay inputs one after the other; those of equal length must already be neighbors."""
    lengths = np.array([len(each.ids) for each in inputs])
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    total = int(lengths.sum())
    ids = np.fromiter(chain.from_iterable(each.ids for each in inputs), np.int64, total)
    positions = np.arange(total) - np.repeat(starts, lengths)
    first_segments = np.repeat([each.first_segment for each in inputs], lengths)
    masks = starts + np.array([each.mask_at for each in inputs])
    firsts = np.flatnonzero(np.diff(lengths, prepend=-1))
    counts = np.diff(firsts, append=len(inputs))
    groups = [
        LengthGroup(int(starts[first]), int(count), int(lengths[first]))
        for first, count in zip(firsts, counts, strict=True)
    ]
    return PackedInputs(
        ids=torch.from_numpy(ids).to(device),
        positions=torch.from_numpy(positions).to(device),
        segments=torch.from_numpy((positions >= first_segments).astype(np.int64)).to(device),
        masks=torch.from_numpy(masks).to(device),
        spaced=torch.tensor([int(each.spaced) for each in inputs], device=device),
        groups=tuple(groups),
    )
