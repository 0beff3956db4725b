"""Guests' remarks with their sentiment, and the stream of sentences the models learn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from random import Random
from typing import Final

from grammar import Grammar, repeats
from paraphrases import PairGrammar

LABELS: Final = {"negative": "neg", "positive": "pos"}
KINDS: Final = {
    "plain": 68,
    "contrast": 10,
    "denial": 5,
    "weighed": 3,
    "hinted": 5,
    "short": 9,
}
"""How many remarks in a hundred are of each kind; the patterns are lists of ``phrases.toml``."""
LONGEST: Final = 32
REMARK_SHARE: Final = 0.7
MOST_TIMES: Final = 3


@dataclass(frozen=True, slots=True)
class Remark:
    """One sentence and its label, ``negative`` or ``positive``."""

    sentence: str
    label: str


def remark(grammar: Grammar, draw: Random, label: str) -> Remark:
    """Write one remark.

    Args:
        grammar: The phrases.
        draw: Where every choice comes from.
        label: The sentiment, a key of ``LABELS``.

    Returns:
        A remark of at most ``LONGEST`` words that repeats no longer word.
    """
    while True:
        (kind,) = draw.choices(list(KINDS), list(KINDS.values()))
        sentence = grammar.sentence("{" + kind + "}", draw, LABELS[label])
        if len(sentence.split()) <= LONGEST and not repeats(sentence):
            return Remark(sentence, label)


def key(sentence: str) -> str:
    """Give the form under which two sentences count as the same one."""
    return sentence.casefold().strip(" .!?")


def guests(
    grammar: Grammar, pairs: PairGrammar, draw: Random, held_out: AbstractSet[str] = frozenset()
) -> Iterator[tuple[str, str]]:
    """Write what one guest after another says, two sentences each, without end.

    A guest makes two remarks of one sentiment, or says one thing in two ways.

    Args:
        grammar: The phrases of the remarks.
        pairs: The grammar of the pairs.
        draw: Where every choice comes from.
        held_out: The ``key`` of every sentence that must not appear.

    Yields:
        Two different sentences, none of them more than ``MOST_TIMES`` in all.
    """
    seen = Counter(dict.fromkeys(held_out, MOST_TIMES))
    while True:
        if draw.random() < REMARK_SHARE:
            label = draw.choice(list(LABELS))
            said = (remark(grammar, draw, label).sentence, remark(grammar, draw, label).sentence)
        else:
            pair = pairs.pair(draw, "same")
            said = (pair.first, pair.second)
        keys = [key(text) for text in said]
        if keys[0] != keys[1] and all(seen[text] < MOST_TIMES for text in keys):
            seen.update(keys)
            yield said
