"""How long the masked LM takes to read: a few inputs of a run's own lengths are timed.

What is timed is small first, so that a model too slow for long texts is known to be slow at once;
what is too long for the time there is stays untimed and follows from what was.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from augment.masked_lm.inputs import MaskedInput, shared
from augment.replacement.candidates import CandidateFinder
from augment.tokenization.words import Route, Word

FIRST_WORDS = 8
"""Words of the first text that is timed."""
LENGTHS = (0.1, 0.5, 0.9)
"""The texts that are timed: of all tokens to read so many belong to shorter ones."""
TOKENS_AT_ONCE = 2048


@dataclass
class Stopwatch:
    """Hears what a masked LM reads, and keeps the time that it takes."""

    seconds: float = 0.0
    _began: float = field(default_factory=time.perf_counter)

    def expects(self, tokens: int) -> None:  # noqa: ARG002 - only when matters
        """It begins to read."""
        self._began = time.perf_counter()

    def reads(self, positions: int, tokens: int, *, found: bool = False) -> None:  # noqa: ARG002
        """It has read some."""
        now = time.perf_counter()
        self.seconds, self._began = self.seconds + now - self._began, now


@dataclass(frozen=True, slots=True)
class ReadingTime:
    """Seconds a token at several lengths of input, ascending."""

    lengths: tuple[int, ...]
    seconds_a_token: tuple[float, ...]

    def seconds(self, forwards: Sequence[tuple[int, int]]) -> float:
        """What inputs take, given as lengths and how many of each.

        Beyond the longest that was timed, attention makes a token dearer in proportion.
        """
        if not forwards:
            return 0.0
        lengths, inputs = np.array(forwards, float).T
        each = np.interp(lengths, self.lengths, self.seconds_a_token)
        if len(self.lengths) > 1:
            (a, b), (p, q) = self.lengths[-2:], self.seconds_a_token[-2:]
            slope = max(0.0, (q - p) / (b - a)) if b > a else 0.0
            each += slope * np.maximum(lengths - b, 0)
        return float((each * lengths * inputs).sum())


def forwards_of(words: Sequence[Word], finder: CandidateFinder) -> list[tuple[int, int]]:
    """What the masked LM reads of a text under a recipe: lengths and how many inputs of each.

    Where candidates see what was replaced before, that is N times p times as much.
    """
    recipe = finder.recipe
    asked = [at for at, word in enumerate(words) if word.route is Route.MASKED_LM]
    lengths = [len(word.token_ids) for word in words]
    found = finder.reading.forwards(lengths, asked, finder.masked_lm.tokenizer)
    if recipe.conditioning == "original":
        return found
    copies = recipe.variants * recipe.probability
    return [(length, max(1, round(copies * inputs))) for length, inputs in found]


def tokens_of(forwards: Sequence[tuple[int, int]]) -> int:
    """The tokens of inputs."""
    return sum(length * inputs for length, inputs in forwards)


def time_reading(
    sentences: Sequence[tuple[Word, ...]], finder: CandidateFinder, budget: float
) -> ReadingTime | None:
    """Time a few inputs of texts from short to long, in about ``budget`` seconds.

    Returns:
        None where the masked LM is asked for nothing.
    """
    readable = [words for words in sentences if forwards_of(words, finder)]
    if not readable:
        return None
    costs = [tokens_of(forwards_of(words, finder)) for words in readable]
    order = sorted(range(len(readable)), key=lambda i: len(readable[i]))
    below = np.cumsum([costs[i] for i in order]) / sum(costs)
    chosen = [readable[order[int(np.searchsorted(below, share))]] for share in LENGTHS]
    began = time.perf_counter()
    timed: dict[int, float] = {}
    first = _inputs(_beginning(chosen[0], finder), finder)[:1]
    _time(first, finder)  # the first forward of a process is slow
    slowest = _time(first, finder)
    timed[_tokens(first)] = slowest
    for words in chosen:
        room = int((budget - time.perf_counter() + began) / slowest)
        inputs = _inputs(words, finder)
        length = len(inputs[0][0].ids)
        if length > room:
            break
        inputs = inputs[: max(1, min(room, TOKENS_AT_ONCE) // length)]
        timed[length] = _time(inputs, finder)
        slowest = max(slowest, timed[length])
    lengths = sorted(timed)
    return ReadingTime(tuple(lengths), tuple(timed[length] for length in lengths))


def _beginning(words: tuple[Word, ...], finder: CandidateFinder) -> tuple[Word, ...]:
    """The shortest beginning of a text, of some words, that the masked LM is asked about."""
    ends = range(min(FIRST_WORDS, len(words)), len(words) + 1)
    return next(words[:end] for end in ends if forwards_of(words[:end], finder))


def _inputs(words: tuple[Word, ...], finder: CandidateFinder) -> list[list[MaskedInput]]:
    """The masks of each input of a text."""
    asked = list(finder.queries(words).values())
    return [[asked[i] for i in of] for of in shared(asked)]


def _tokens(inputs: Sequence[Sequence[MaskedInput]]) -> int:
    return sum(len(masks[0].ids) for masks in inputs)


def _time(inputs: Sequence[Sequence[MaskedInput]], finder: CandidateFinder) -> float:
    """Seconds a token."""
    began = time.perf_counter()
    asked = [mask for masks in inputs for mask in masks]
    words_only = finder.recipe.top_k_of == "words"
    finder.masked_lm.rank(asked, finder.recipe.top_k, words_only=words_only)
    return (time.perf_counter() - began) / _tokens(inputs)
