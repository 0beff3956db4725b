"""PURE: the alignment of a text's words with its tokens: no token lost, none in two words.

Byte-level tokens follow rules of their own: they carry the space before a word, split letters into
bytes, and join marks that a word tokenizer parts (``'t``, ``...``). A token goes to the word whose
letters it covers; words that share a token become one span.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """One token over the text, the space before a word included.

    ``pretoken``: which part of the tokenizer's own pre-tokenization it belongs to, if any.
    """

    token_id: int
    start: int
    end: int
    pretoken: int | None


@dataclass(slots=True)
class AlignedSpan:
    """A stretch of the text with all its tokens, in order; it grows while tokens are aligned.

    ``last_word`` is the last word of the stretch; -1 between words.
    """

    start: int
    end: int
    token_ids: list[int]
    last_word: int = -1


def align(
    length: int, words: Sequence[tuple[int, int]], tokens: Sequence[TokenSpan]
) -> list[AlignedSpan]:
    """Give every token of a text of that many characters to one stretch; words are disjoint.

    Returns:
        Disjoint stretches in order: words, words that share a token as one, and what has tokens of
        its own between words, such as the first of two spaces. Words without tokens are missing.
    """
    word_at = [-1] * length
    for word, (start, end) in enumerate(words):
        word_at[start:end] = [word] * (end - start)
    spans: list[AlignedSpan] = []
    leading: list[int] = []
    for i, token in enumerate(tokens):
        covered = [word for word in word_at[token.start : token.end] if word >= 0]
        if not covered and (token.start == token.end or _continues(tokens, i)):
            leading.append(token.token_id)  # the space of the word that follows, as a token apart
            continue
        first, last = (covered[0], covered[-1]) if covered else (-1, -1)
        joins = bool(spans) and (spans[-1].last_word >= first >= 0 or first == spans[-1].last_word)
        if not joins:
            start = words[first][0] if covered else token.start
            spans.append(AlignedSpan(start, token.end, []))
        span = spans[-1]
        span.last_word = max(span.last_word, last)
        span.end = words[span.last_word][1] if covered else token.end
        span.token_ids += [*leading, token.token_id]
        leading.clear()
    if spans:
        spans[-1].token_ids += leading
    return spans


def _continues(tokens: Sequence[TokenSpan], i: int) -> bool:
    """Whether a token and the next one are parts of one pre-token."""
    pretoken = tokens[i].pretoken
    return i + 1 < len(tokens) and pretoken is not None and pretoken == tokens[i + 1].pretoken
