"""Inputs of the masked LM, packed one after the other without padding.

What is asked is one mask of an input; those of the same input share its tokens, and its forward.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

import numpy as np
import torch
from torch import Tensor

from augment.tokenization.base import ModelTokenizer


@dataclass(frozen=True, slots=True)
class MaskedInput:
    """One mask of an input; the input may have others, which are asked for themselves.

    Attributes:
        ids: The whole input, special tokens included.
        first_segment: How many of the ids belong to the first segment.
        mask_at: Position of the mask that is asked for.
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
    return _masked(words, (at,), tokenizer, context, limit).get(at)


def _masked(
    words: Sequence[tuple[int, ...]],
    together: Sequence[int],
    tokenizer: ModelTokenizer,
    context: str,
    limit: int,
) -> dict[int, MaskedInput]:
    """Word → its mask in the one input in which all these words are masked."""
    special, masked = tokenizer.specials, list(words)
    for at in together:
        masked[at] = (tokenizer.mask,)
    starts = [*accumulate(map(len, masked), initial=len(special.before))]
    end = special.between if context == "pair" else special.after
    first = [*special.before, *chain.from_iterable(masked), *end]
    second = [*chain.from_iterable(words), *special.after] if context == "pair" else []
    ids = tuple([*first, *second][:limit])
    first_segment = min(len(first), limit) if special.segments else len(ids)
    return {
        at: MaskedInput(ids, first_segment, starts[at], tokenizer.is_spaced(words[at]))
        for at in together
        if starts[at] < limit
    }


@dataclass(frozen=True, slots=True)
class Reading:
    """How a masked LM reads texts.

    Attributes:
        context: ``single`` or ``pair``, see ``build_input``.
        limit: The longest input of the model, in tokens.
        window: Tokens of a text that are read at once; None: the whole text.
        mask_every: Of the words asked for, every so many-th is masked at once; 0: one by one.
    """

    context: str
    limit: int
    window: int | None = None
    mask_every: int = 0

    def inputs(
        self, words: Sequence[tuple[int, ...]], asked: Sequence[int], tokenizer: ModelTokenizer
    ) -> dict[int, MaskedInput]:
        """Word → its mask, of all words asked for, in order; without those beyond the limit."""
        found: dict[int, MaskedInput] = {}
        for part in stretches(list(map(len, words)), self.window):
            of_part = [at - part.begin for at in asked if part.first <= at < part.last]
            for together in self._together(of_part):
                read = words[part.begin : part.end]
                masked = _masked(read, together, tokenizer, self.context, self.limit)
                found |= {at + part.begin: each for at, each in masked.items()}
        return dict(sorted(found.items()))

    def forwards(
        self, lengths: Sequence[int], asked: Sequence[int], tokenizer: ModelTokenizer
    ) -> list[tuple[int, int]]:
        """Length in tokens of what ``inputs`` has for a text, and how many of each.

        Args:
            lengths: Tokens of each word.
            asked: The words asked for.
            tokenizer: For the special tokens.
        """
        special, found = tokenizer.specials, []
        starts = [0, *accumulate(lengths)]
        for part in stretches(lengths, self.window):
            room = self.limit - len(special.before) + starts[part.begin]
            within = sum(part.first <= at < part.last and starts[at] < room for at in asked)
            tokens = starts[part.end] - starts[part.begin]
            length = len(special.before) + tokens + len(special.after)
            if self.context == "pair":
                length += tokens + len(special.between)
            inputs = min(within, self.mask_every) if self.mask_every else within
            if inputs:
                found.append((min(length, self.limit), inputs))
        return found

    def _together(self, asked: Sequence[int]) -> list[Sequence[int]]:
        """The words that are masked in each input; every so many-th lie as far apart as can be."""
        if not self.mask_every:
            return [(at,) for at in asked]
        parts = (asked[first :: self.mask_every] for first in range(self.mask_every))
        return [part for part in parts if part]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Words ``begin`` to ``end`` are read, and of them ``first`` to ``last`` are asked for."""

    begin: int
    end: int
    first: int
    last: int


def stretches(lengths: Sequence[int], window: int | None) -> list[Stretch]:
    """A text of words of these lengths in windows, cut between words.

    Windows overlap: a word asked for has a quarter of the window on each side of it, but at the
    ends of the text. A word longer than the window is a stretch of its own.
    """
    count, starts = len(lengths), [0, *accumulate(lengths)]
    if window is None or starts[-1] <= window:
        return [Stretch(0, count, 0, count)]
    margin, first, found = window // 4, 0, []
    while first < count:
        begin = bisect_left(starts, starts[first] - margin, hi=first)
        end = max(first + 1, bisect_right(starts, starts[begin] + window) - 1)
        last = max(first + 1, bisect_right(starts, starts[end] - margin, hi=end + 1) - 1)
        if end == count:
            last, begin = count, min(first, bisect_left(starts, starts[count] - window))
        found.append(Stretch(begin, end, first, last))
        first = last
    return found


def shared(asked: Sequence[MaskedInput]) -> list[list[int]]:
    """Which of the masks asked for stand in the same input, inputs by their first mask."""
    members: dict[tuple[tuple[int, ...], int], list[int]] = {}
    for number, each in enumerate(asked):
        members.setdefault((each.ids, each.first_segment), []).append(number)
    return list(members.values())


@dataclass(frozen=True, slots=True)
class LengthGroup:
    """Neighboring inputs of one length in tokens and one number of masks, from token ``start``."""

    start: int
    inputs: int
    length: int
    masks: int = 1

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
        masks: Each mask that is asked for, as an index into the tokens, shape ``(masks,)``.
        spaced: 1 where the masked word has a space before it, else 0, shape ``(masks,)``.
        groups: Inputs of equal length and equally many masks.
    """

    ids: Tensor
    positions: Tensor
    segments: Tensor
    masks: Tensor
    spaced: Tensor
    groups: tuple[LengthGroup, ...]

    def __len__(self) -> int:
        """How many masks are asked for."""
        return len(self.masks)


def pack(asked: Sequence[MaskedInput], device: str) -> PackedInputs:
    """Lay inputs one after the other, each once.

    Masks of one input must be neighbors, and so must inputs of equal length.
    """
    members = shared(asked)
    inputs = [asked[of[0]] for of in members]
    lengths, counts = (
        np.array([len(each.ids) for each in inputs]),
        np.array(list(map(len, members))),
    )
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    total = int(lengths.sum())
    ids = np.fromiter(chain.from_iterable(each.ids for each in inputs), np.int64, total)
    positions = np.arange(total) - np.repeat(starts, lengths)
    first_segments = np.repeat([each.first_segment for each in inputs], lengths)
    masks = np.repeat(starts, counts) + np.array([each.mask_at for each in asked])
    differs = (np.diff(lengths, prepend=-1) != 0) | (np.diff(counts, prepend=-1) != 0)
    firsts = np.flatnonzero(differs)
    together = np.diff(firsts, append=len(inputs))
    groups = [
        LengthGroup(int(starts[first]), int(count), int(lengths[first]), int(counts[first]))
        for first, count in zip(firsts, together, strict=True)
    ]
    return PackedInputs(
        ids=torch.from_numpy(ids).to(device),
        positions=torch.from_numpy(positions).to(device),
        segments=torch.from_numpy((positions >= first_segments).astype(np.int64)).to(device),
        masks=torch.from_numpy(masks).to(device),
        spaced=torch.tensor([int(each.spaced) for each in asked], device=device),
        groups=tuple(groups),
    )
