"""Words that are never replaced: numbers, negations, listed words and patterns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from augment.tokenization.words import Route, Word

NEGATIONS = frozenset({
    "no", "not", "never", "n't", "nor", "neither", "none", "nobody", "nothing", "nowhere", "hardly",
    "scarcely", "barely", "without", "cannot", "seldom", "rarely",
})  # fmt: skip
_NUMBER = re.compile(r"\w*\d\w*")


@dataclass(frozen=True, slots=True)
class Protection:
    """What is never replaced.

    Attributes:
        numbers: Words with a digit.
        negations: The words of ``NEGATIONS``.
        words: A list of one's own, compared without case.
        patterns: Regular expressions; a word that overlaps a match stays.
    """

    numbers: bool = False
    negations: bool = False
    words: frozenset[str] = frozenset()
    patterns: tuple[re.Pattern[str], ...] = ()

    def apply(self, text: str, words: tuple[Word, ...]) -> tuple[Word, ...]:
        """The words with protected ones sent to the route ``protected``."""
        spans = [match.span() for pattern in self.patterns for match in pattern.finditer(text)]
        return tuple(
            replace(word, route=Route.PROTECTED)
            if word.route.replaceable and self._protects(text, word, spans)
            else word
            for word in words
        )

    def _protects(self, text: str, word: Word, spans: Sequence[tuple[int, int]]) -> bool:
        shown = text[word.start : word.end].lower()
        return (
            (self.numbers and _NUMBER.fullmatch(shown) is not None)
            or (self.negations and shown in NEGATIONS)
            or shown in self.words
            or any(start < word.end and word.start < end for start, end in spans)
        )
