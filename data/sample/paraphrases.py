"""Pairs of remarks that say the same thing, or nearly but not quite.

A fact of ``facts.toml`` has several wordings and several wordings of its contrary.  Two wordings of
one side are the same remark; a wording of each side, or two with slots drawn anew, are not.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from grammar import PHRASES, Grammar

FACTS: Final = Path(__file__).with_name("facts.toml")
CONTRARY_SHARE: Final = 0.45
"""Of the pairs that differ, how many contradict each other."""
REDRAWN_SHARE: Final = 0.5
"""Of the other pairs that differ, how many differ in every slot; the rest differ in one."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two remarks and whether they say the same thing (``same`` or ``different``)."""

    first: str
    second: str
    label: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that can be said in several ways, and its contrary."""

    slots: Mapping[str, str]
    says: Sequence[str]
    denies: Sequence[str]


class PairGrammar:
    """Facts together with the lists that fill their slots."""

    def __init__(self, grammar: Grammar, facts: Sequence[Fact]) -> None:
        """Take a grammar that holds every list the facts name."""
        self._grammar = grammar
        self._facts = facts

    @classmethod
    def read(cls, phrases: Path = PHRASES, facts: Path = FACTS) -> PairGrammar:
        """Read the phrase file and the fact file."""
        shared = tomllib.loads(phrases.read_text(encoding="utf-8"))
        own = tomllib.loads(facts.read_text(encoding="utf-8"))
        grammar = Grammar(
            {**shared["things"], **own["things"]}, {**shared["words"], **own["words"]}
        )
        return cls(grammar, [_fact(table) for table in own["fact"]])

    def pair(self, draw: Random, label: str) -> Pair:
        """Write one pair.

        Args:
            draw: Where every choice comes from.
            label: ``same`` or ``different``.

        Returns:
            Two remarks that are never word for word the same.
        """
        fact = draw.choice(self._facts)
        bound = self._bind(fact, draw)
        sides = [side for side in (fact.says, fact.denies) if side]
        draw.shuffle(sides)
        first, second = draw.sample(sides[0], 2)
        other = bound
        if label == "different":
            if len(sides) == 2 and draw.random() < CONTRARY_SHARE:
                second = draw.choice(sides[1])
            else:
                other = self._rebind(fact, bound, draw)
        return Pair(
            self._grammar.sentence(first, draw, "pos", bound),
            self._grammar.sentence("{aside} " + second, draw, "pos", other),
            label,
        )

    def _bind(self, fact: Fact, draw: Random) -> dict[str, str]:
        while True:
            bound = {name: self._grammar.phrase(of, draw) for name, of in fact.slots.items()}
            if len(set(bound.values())) == len(bound):
                return bound

    def _rebind(self, fact: Fact, bound: Mapping[str, str], draw: Random) -> dict[str, str]:
        if draw.random() < REDRAWN_SHARE:
            return self._bind_afresh(fact, bound, draw)
        name = draw.choice(sorted(bound))
        while True:
            text = self._grammar.phrase(fact.slots[name], draw)
            if text not in bound.values():
                return {**bound, name: text}

    def _bind_afresh(self, fact: Fact, bound: Mapping[str, str], draw: Random) -> dict[str, str]:
        while True:
            fresh = self._bind(fact, draw)
            if not set(fresh.values()) & set(bound.values()):
                return fresh


def _fact(table: Mapping[str, Any]) -> Fact:
    return Fact(table["slots"], table["says"], table["denies"])
