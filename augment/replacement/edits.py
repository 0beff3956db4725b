"""A variant of a text: the words that were replaced, applied and taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from augment.tokenization.words import Word, match_case


@dataclass(frozen=True, slots=True)
class Edit:
    """One replacement: character offsets into the ORIGINAL text, and both wordings."""

    start: int
    end: int
    before: str
    after: str
    source: str


@dataclass(frozen=True, slots=True)
class Variant:
    """One sample of a text.

    Attributes:
        number: Which of the N samples it is, from 1.
        text: The text with the edits applied; everything else is untouched.
        edits: The replacements in order; a word drawn for itself is none.
    """

    number: int
    text: str
    edits: tuple[Edit, ...]


def apply_edits(text: str, edits: Sequence[Edit]) -> str:
    """The text with its edits applied by offset."""
    parts, at = [], 0
    for edit in edits:
        parts += [text[at : edit.start], edit.after]
        at = edit.end
    return "".join([*parts, text[at:]])


def undo_edits(text: str, edits: Sequence[Edit]) -> str:
    """The original text of a text that edits were applied to."""
    parts, at, shift = [], 0, 0
    for edit in edits:
        start = edit.start + shift
        parts += [text[at:start], edit.before]
        at = start + len(edit.after)
        shift += len(edit.after) - (edit.end - edit.start)
    return "".join([*parts, text[at:]])


def make_edit(text: str, word: Word, candidate: str) -> Edit | None:
    """The edit that writes a candidate over a word, or None where it is the word itself.

    A text without capitals gets none, whatever a cased model or table proposes.
    """
    before = text[word.start : word.end]
    after = match_case(before, candidate)
    if text.islower():
        after = after.lower()
    if after == before or candidate.lower() == word.text.lower():
        return None
    return Edit(word.start, word.end, before, after, word.route.value)
