"""What the masked LM reads of a long text for one word, found word by word with loops."""

from __future__ import annotations

from collections.abc import Sequence

Words = Sequence[tuple[int, ...]]


def tokens(words: Words) -> int:
    """How many tokens words have."""
    return sum(len(word) for word in words)


def windows(words: Words, window: int) -> list[tuple[range, range]]:
    """The words of each window, and which of them it is asked for."""
    if tokens(words) <= window:
        return [(range(len(words)), range(len(words)))]
    margin, found, first = window // 4, [], 0
    while first < len(words):
        begin = first
        while begin and tokens(words[begin - 1 : first]) <= margin:
            begin -= 1
        end = first + 1
        while end < len(words) and tokens(words[begin : end + 1]) <= window:
            end += 1
        last = end
        while last > first + 1 and tokens(words[last:end]) < margin:
            last -= 1
        if end == len(words):
            last = end
            while begin and tokens(words[begin - 1 :]) <= window:
                begin -= 1
        found.append((range(begin, end), range(first, last)))
        first = last
    return found


def read_for(
    words: Words, asked: Sequence[int], at: int, *, window: int | None, every: int, mask: int
) -> tuple[list[int], list[int], int]:
    """The masked words, the original words and the place of the mask, all in tokens.

    Args:
        words: Token ids of every word.
        asked: The words that a masked LM is asked for.
        at: The one of interest.
        window: Tokens read at once; None for all.
        every: Every so many-th word asked for is masked too; 0: none is.
        mask: The mask's id.
    """
    parts = windows(words, window) if window else [(range(len(words)), range(len(words)))]
    read, of = next(part for part in parts if at in part[1])
    beside = [each for each in asked if each in of]
    place = beside.index(at)
    masked = {each for i, each in enumerate(beside) if every and i % every == place % every} | {at}
    first = [t for i in read for t in ((mask,) if i in masked else words[i])]
    second = [t for i in read for t in words[i]]
    before = sum(1 if i in masked else len(words[i]) for i in read if i < at)
    return first, second, before
