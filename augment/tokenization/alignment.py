"""PURE: words of a text and pieces of the same text brought together, nothing lost, none twice.

Byte-level pieces follow rules of their own: they carry the space before a word, split letters into
bytes, and join marks that a word tokenizer parts (``'t``, ``...``). A piece goes to the word whose
letters it covers; words that share a piece become one span.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """One piece over the text.

    Attributes:
        number: Its id.
        start: Its first character, the space before a word included.
        end: One past its last character.
        token: Which token of the tokenizer's own pre-tokenization it belongs to, if any.
    """

    number: int
    start: int
    end: int
    token: int | None


@dataclass(frozen=True, slots=True)
class TextSpan:
    """A stretch of the text with all its pieces, in order.

    Attributes:
        start: First character.
        end: One past its last character.
        pieces: Ids.
    """

    start: int
    end: int
    pieces: tuple[int, ...]


@dataclass(slots=True)
class _Open:
    """A stretch that pieces may still join; ``last_word`` is -1 between words."""

    start: int
    end: int
    pieces: list[int]
    last_word: int = -1


def align(
    length: int, words: Sequence[tuple[int, int]], pieces: Sequence[TokenSpan]
) -> list[TextSpan]:
    """Give every piece of a text to one stretch.

    Args:
        length: Characters of the text.
        words: Start and end of each word, in order and disjoint.
        pieces: The text's pieces, in order.

    Returns:
        Disjoint stretches in order: words, words that share a piece as one, and what has pieces of
        its own between words, such as the first of two spaces. Words without pieces are missing.
    """
    owner = [-1] * length
    for word, (start, end) in enumerate(words):
        owner[start:end] = [word] * (end - start)
    found: list[_Open] = []
    leading: list[int] = []
    for i, piece in enumerate(pieces):
        owners = [word for word in owner[piece.start : piece.end] if word >= 0]
        if not owners and (piece.start == piece.end or _leads_on(pieces, i)):
            leading.append(piece.number)  # the space of the word that follows, as a piece apart
            continue
        first, last = (owners[0], owners[-1]) if owners else (-1, -1)
        joins = bool(found) and (found[-1].last_word >= first >= 0 or first == found[-1].last_word)
        if not joins:
            start = words[first][0] if owners else piece.start
            found.append(_Open(start, piece.end, []))
        now = found[-1]
        now.last_word = max(now.last_word, last)
        now.end = words[now.last_word][1] if owners else piece.end
        now.pieces += [*leading, piece.number]
        leading.clear()
    if found:
        found[-1].pieces += leading
    return [TextSpan(each.start, each.end, tuple(each.pieces)) for each in found]


def _leads_on(pieces: Sequence[TokenSpan], i: int) -> bool:
    """Whether a piece and the next one are parts of one token."""
    own = pieces[i].token
    return i + 1 < len(pieces) and own is not None and own == pieces[i + 1].token
