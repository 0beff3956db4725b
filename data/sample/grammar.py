"""A small phrase grammar: patterns with slots become English sentences.

    phrases.toml ──> Grammar.read ──> Grammar.sentence(pattern, draw, tone) ──> "The soup was ..."

The notation of the patterns is explained at the top of ``phrases.toml``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

PHRASES: Final = Path(__file__).with_name("phrases.toml")

_SLOT = re.compile(r"\{([A-Za-z_]+)(!?)\}|\[([^\[\]]*)\]")
_SEPARATOR = re.compile(r"\s+/\s+|\n")
_COUNT = re.compile(r"(\d+)~")
_ARTICLE = re.compile(
    r"\b([Aa]) (?=[\"']?(?:[aeioéAEIOÉ]|[uU](?!ni|se)|hour|honest))(?!one\b|one-)"
)
_AGREEMENT: Final = {
    "was": ("was", "were"),
    "is": ("is", "are"),
    "has": ("has", "have"),
    "does": ("does", "do"),
    "it": ("it", "they"),
    "its": ("its", "their"),
    "them": ("it", "them"),
}
_CONTRARY: Final = {"pos": "neg", "neg": "pos"}
_MAY_REPEAT: Final = """
they were that with would have than from this what there been couldn't wasn't could weren't
when over more never nobody half just which their anything didn't very such same some
"""


@dataclass
class Draft:
    """The state of one sentence while it is written.

    Attributes:
        draw: Where every choice comes from.
        tone: ``pos`` or ``neg``, the sentiment lists are drawn with.
        bound: Slots whose wording is fixed for this sentence.
        plural: Whether the latest subject is plural.
    """

    draw: Random
    tone: str
    bound: Mapping[str, str] = field(default_factory=dict)
    plural: bool = False


class Grammar:
    """Lists of phrases that refer to one another."""

    def __init__(self, things: Mapping[str, str], words: Mapping[str, str]) -> None:
        """Take the lists as ``phrases.toml`` writes them.

        Args:
            things: Lists of subjects, which decide the number of later verbs.
            words: All other lists.
        """
        self._things = frozenset(things)
        self._lists = {name: _entries(text) for name, text in {**things, **words}.items()}

    @classmethod
    def read(cls, path: Path = PHRASES) -> tuple[Grammar, Mapping[str, Any]]:
        """Read a phrase file.

        Args:
            path: The TOML file.

        Returns:
            The grammar, and the whole parsed file for what else it holds.
        """
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return cls(tables["things"], tables["words"]), tables

    def sentence(
        self, pattern: str, draw: Random, tone: str, bound: Mapping[str, str] | None = None
    ) -> str:
        """Write one sentence.

        Args:
            pattern: A pattern with slots, for example ``"{plain}"``.
            draw: Where every choice comes from.
            tone: ``pos`` or ``neg``.
            bound: Slots whose wording is fixed.

        Returns:
            The sentence, with articles, capitals and spacing put right.
        """
        return polish(self._expand(pattern, Draft(draw, tone, bound or {})))

    def phrase(self, name: str, draw: Random) -> str:
        """Draw one phrase of a list, its plural mark kept, so that it can be bound."""
        return self._expand(draw.choice(self._lists[name]), Draft(draw, "pos"))

    def _expand(self, pattern: str, draft: Draft) -> str:
        return _SLOT.sub(lambda slot: self._fill(slot, draft), pattern)

    def _fill(self, slot: re.Match[str], draft: Draft) -> str:
        name, turned, options = slot.groups()
        if options is not None:
            return self._expand(draft.draw.choice(options.split("|")), draft)
        if name in _AGREEMENT:
            return _AGREEMENT[name][draft.plural]
        if name in draft.bound:
            return self._note_number(draft.bound[name], draft)
        if name[0].isupper():
            return _capital(self._fill_list(name.lower(), turned == "!", draft))
        return self._fill_list(name, turned == "!", draft)

    def _fill_list(self, name: str, turned: bool, draft: Draft) -> str:
        before = draft.tone
        draft.tone = _CONTRARY[before] if turned else before
        entry = draft.draw.choice(self._choices(name, draft.tone))
        text = self._expand(entry, draft)
        draft.tone = before
        return self._note_number(text, draft) if self._can_be_subject(name) else text

    def _can_be_subject(self, name: str) -> bool:
        return name in self._things or name.endswith("_noun")

    def _choices(self, name: str, tone: str) -> Sequence[str]:
        shared = self._lists.get(name, ())
        toned = self._lists.get(f"{name}_{tone}", ())
        if not shared and not toned:
            raise KeyError(f"phrases.toml has no list {name!r} and no {name}_{tone!r}")
        return (*shared, *toned)

    @staticmethod
    def _note_number(text: str, draft: Draft) -> str:
        draft.plural = text.endswith("*")
        return text


def polish(text: str) -> str:
    """Put articles, spacing and capitals of a drafted sentence right."""
    text = re.sub(r"\s+", " ", text.replace("*", "")).strip()
    text = re.sub(r",(?=[.;:!?])|,(?=,)", "", text)
    text = re.sub(r"\b([Aa]n?) (?=(?:two|three|four|five|six)\b)", "", text)
    text = _ARTICLE.sub(r"\1n ", text)
    text = re.sub(r"\bi\b(?=[ '])", "I", text)
    return re.sub(r"([.!?] )([a-zé])", lambda m: m[1] + m[2].upper(), _capital(text))


def repeats(text: str) -> bool:
    """Tell whether a sentence uses a longer word twice, which reads like a machine."""
    words = [word for word in re.findall(r"[\w'-]+", text.lower()) if len(word) > 3]
    words = [word for word in words if word not in _MAY_REPEAT.split()]
    return len(words) != len(set(words))


def _entries(text: str) -> tuple[str, ...]:
    found: list[str] = []
    for entry in _SEPARATOR.split(text.strip()):
        count = _COUNT.match(entry)
        times = int(count[1]) if count else 1
        found += [entry[count.end() :] if count else entry] * times
    return tuple(found)


def _capital(text: str) -> str:
    start = next((at for at, sign in enumerate(text) if sign.isalnum()), 0)
    return text[:start] + text[start : start + 1].upper() + text[start + 1 :]
