"""PURE: words of a vectors file that cannot be words: the file was read by a rule not its own.

Such a table looks whole, and no word of a text is ever found in it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence

UNREADABLE = "\ufffd"
_ENOUGH = 5
"""Fewer words say nothing about a file."""
_NUMBER = r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?"
_IS_NUMBER = re.compile(_NUMBER)
_ENDS_IN_NUMBER = re.compile(rf".*\S[\t ,;|:]+{_NUMBER}", re.DOTALL)
_DECIMAL = re.compile(r"[-+]?(?:\d*\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)")
_QUOTED = re.compile(r"b?(['\"]).+\1", re.DOTALL)


def implausible(words: Sequence[str]) -> str:
    """What is wrong with the words of the first rows of a file, as the end of a sentence.

    Returns:
        Such as ``has numbers where words are expected``; empty where nothing is.
    """
    foreign = [word for word in words if not word.isascii()]
    if _most(words, _IS_NUMBER.fullmatch):
        return "has numbers where words are expected"
    if _most(words, _ENDS_IN_NUMBER.fullmatch):
        return f"parts words and numbers in two ways: {next(_found(words, _ENDS_IN_NUMBER))!r}"
    if _most(words, _QUOTED.fullmatch):
        return f"has its words in quotes: {next(_found(words, _QUOTED))}"
    if _most(foreign, lambda word: UNREADABLE in word):
        return "is not UTF-8"
    return ""


def holds_number(word: str) -> bool:
    """Whether a word with blanks ends in a decimal number: its row has too many."""
    _, blank, last = word.rpartition(" ")
    return bool(blank) and _DECIMAL.fullmatch(last) is not None


def is_decomposed(words: Iterable[str]) -> bool:
    """Whether a file has its accents as letters of their own (NFD), as macOS writes them."""
    return _most([word for word in words if not word.isascii()], _is_decomposed)


def _is_decomposed(word: str) -> bool:
    return not unicodedata.is_normalized("NFC", word) and unicodedata.is_normalized("NFD", word)


def _most(words: Sequence[str], answer: Callable[[str], object]) -> bool:
    return len(words) >= _ENOUGH and 2 * sum(map(bool, map(answer, words))) > len(words)


def _found(words: Iterable[str], pattern: re.Pattern[str]) -> Iterator[str]:
    return (word for word in words if pattern.fullmatch(word))
