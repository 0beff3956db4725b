"""Words of a sentence: character offsets, routes (which may be replaced, and how), and casing.

Spans point into the ORIGINAL text; ``Word.text`` is what matching sees: NFC, and lower-cased and
stripped of accents where the model's own normalizer does so.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from importlib import resources
from itertools import zip_longest


class Route(StrEnum):
    """Where a word's candidates come from, or why it is kept.

    ``SPACE``: it is no word; ``SPARED``: others are replaced, see ``max_words`` of the recipe.
    """

    MASKED_LM = "masked_lm"
    VECTORS = "vectors"
    STOP_WORD = "stop_word"
    NOT_PLAIN = "not_plain"
    SPACE = "space"
    CONTRACTION = "contraction"
    PROTECTED = "protected"
    SPARED = "spared"

    @property
    def replaceable(self) -> bool:
        """Whether a word on this route may be replaced."""
        return self in (Route.MASKED_LM, Route.VECTORS)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the text with its tokens.

    Attributes:
        start: First character in the original text.
        end: One past its last character, combining marks included.
        text: The stretch as the model and the vectors know it.
        token_ids: Its tokens; never empty.
    """

    start: int
    end: int
    text: str
    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Word(Span):
    """One word of a sentence: where its candidates come from, or why it is kept."""

    route: Route


def assign_routes(spans: Sequence[Span], rule: str) -> tuple[Word, ...]:
    """Give every span its route; spaces with tokens of their own are spans that stay.

    Rule ``basic``: plain a-z words that are no stop words (the released code); ``all``: every span
    with a letter or a digit (the paper), contractions kept whole; see docs/method.md, section 5.
    """
    routes = _plain_word_routes(spans) if rule == "basic" else _every_word_routes(spans)
    return tuple(
        Word(s.start, s.end, s.text, s.token_ids, route if s.text.strip() else Route.SPACE)
        for s, route in zip(spans, routes, strict=True)
    )


def spare(words: tuple[Word, ...], most: int) -> tuple[Word, ...]:
    """At most so many replaceable words stay so, evenly spread; the others are ``SPARED``."""
    replaceable = [at for at, word in enumerate(words) if word.route.replaceable]
    if len(replaceable) <= most:
        return words
    chosen = {replaceable[(2 * i + 1) * len(replaceable) // (2 * most)] for i in range(most)}
    return tuple(
        replace(word, route=Route.SPARED) if word.route.replaceable and at not in chosen else word
        for at, word in enumerate(words)
    )


def _plain_word_routes(spans: Sequence[Span]) -> Iterator[Route]:
    stops = stop_words()
    for span in spans:
        folded = span.text.lower()
        if folded in stops:
            yield Route.STOP_WORD
        elif not (folded.isascii() and folded.isalpha()):
            yield Route.NOT_PLAIN
        else:
            yield _by_token_count(span)


def _every_word_routes(spans: Sequence[Span]) -> Iterator[Route]:
    """NLTK splits "isn't" into "is" and "n't": neither may go alone."""
    for span, after in zip_longest(spans, spans[1:]):
        glued = after is not None and after.start == span.end and _is_clitic_not(after)
        if not any(character.isalnum() for character in span.text):
            yield Route.NOT_PLAIN
        elif glued or "'" in span.text or "’" in span.text:
            yield Route.CONTRACTION
        else:
            yield _by_token_count(span)


def _is_clitic_not(span: Span) -> bool:
    return span.text.lower().replace("’", "'") == "n't"


def _by_token_count(span: Span) -> Route:
    return Route.MASKED_LM if len(span.token_ids) == 1 else Route.VECTORS


def include_combining_marks(text: str, end: int) -> int:
    """Move a span's end past combining marks: in decomposed text they belong to the letter."""
    while end < len(text) and unicodedata.combining(text[end]):
        end += 1
    return end


def match_case(before: str, candidate: str) -> str:
    """Give a candidate the casing pattern of the word it replaces: UPPER, Title, else as it is.

    A single capital letter counts as Title: "A" becomes "Every", not "EVERY".
    """
    if before.islower():
        return candidate
    if len(before) > 1 and before.isupper():
        return candidate.upper()
    if before[:1].isupper() and before[1:] == before[1:].lower():
        return candidate[:1].upper() + candidate[1:]
    return candidate


@cache
def stop_words() -> frozenset[str]:
    """The pinned list of English stop words; its digest is part of every version's id."""
    return frozenset(stop_words_text().split())


def stop_words_text() -> str:
    """The list as it is shipped, one word a line."""
    return (resources.files("augment.tokenization") / "stop_words.txt").read_text("utf-8")
