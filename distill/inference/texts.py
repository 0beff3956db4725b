"""Texts as callers have them: lists of texts or pairs, a pandas column, a frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from distill.errors import DataInvalid, UsageError
from distill.inference.head import Head

Text = str | tuple[str, str]
"""A text, or a pair of them that is read as one row."""
WINDOW_TEXTS, WINDOW_CHARACTERS = 1024, 1 << 20
"""So much is tokenized at once: what is longer than a model reads takes memory, too."""
USUAL = "text"
"""What a column of texts is called where nobody says otherwise."""
_GIVE = 'Give the text columns alone: frame[["…"]].'
_MISSING = ("None", "nan", "<NA>", "NaT")
"""As Python, numpy and pandas show a value that is not there."""
_ONE, _PAIR = "a text", "a pair of texts"


def is_pandas(texts: object) -> bool:
    """Whether this is a Series or a DataFrame; pandas is not imported to find out."""
    return type(texts).__module__.split(".")[0] == "pandas" and hasattr(texts, "iloc")


def as_texts(texts: Any, head: Head) -> list[Text]:
    """Whatever holds texts, as a list of what the model reads.

    Raises:
        UsageError: It is one text, or a frame whose text columns are not known.
        DataInvalid: A row is no text, or a pair where the model reads single texts, or the reverse.
    """
    if isinstance(texts, str | bytes):
        raise UsageError("one text was given where several are expected.", 'Give a list: ["…"].')
    if isinstance(texts, Mapping) or not isinstance(texts, Iterable):
        raise UsageError(f"{type(texts).__name__} is no list of texts.", 'Give a list: ["…"].')
    if is_pandas(texts) and hasattr(texts, "columns"):
        frame: Any = texts
        names = [str(name) for name in frame.columns]
        columns = text_columns(names, head, _GIVE)
        if twice := [name for name in columns if names.count(name) > 1]:
            raise UsageError(f"the frame has the column {twice[0]!r} twice.", _GIVE)
        parts = [frame.iloc[:, names.index(name)].tolist() for name in columns]
        texts = parts[0] if len(parts) == 1 else zip(*parts, strict=True)
    return list(_checked(texts, head))


def text_columns(columns: Sequence[str], head: Head, hint: str) -> tuple[str, ...]:
    """The text columns among those of a table.

    They are those that the model's data had, or else all where there are no others, or else the one
    called ``text``.

    Raises:
        UsageError: They are not known; ``hint`` says how to name them.
    """
    known = head.settings.text_columns
    if known and all(name in columns for name in known):
        return known
    if len(columns) == (len(known) or 1):
        return tuple(columns)
    if len(known) < 2 and USUAL in columns:
        return (USUAL,)
    wanted = f" The data of {head.name} had {' and '.join(known)}." if known else ""
    raise UsageError(
        f"the text column is not known; there are {', '.join(columns) or 'none'}.{wanted}", hint
    )


def _checked(texts: Iterable[Any], head: Head) -> Iterator[Text]:
    reads = {1: _ONE, 2: _PAIR}.get(len(head.settings.text_columns), "")
    for at, text in enumerate(texts):
        if isinstance(text, str):
            row: Text = text
            found = _ONE
        elif isinstance(text, list | tuple) and len(text) == 2 and _are_texts(text):
            row = (text[0], text[1])
            found = _PAIR
        else:
            raise DataInvalid(
                f"row {at} holds no text, but {_kind_of(text)}.",
                "A row is a text, or two texts of a pair; leave rows without one out.",
            )
        reads = reads or found
        if found != reads:
            raise DataInvalid(
                f"row {at} is {found}; {head.name} reads {reads}."
                if head.settings.text_columns
                else f"row {at} is {found}; the rows before it are {reads} each.",
                "Give the two texts of each row; on the command line, --text-b for each --text."
                if reads is _PAIR
                else "Give one text for each row.",
            )
        yield row


def _are_texts(row: Sequence[Any]) -> bool:
    return isinstance(row[0], str) and isinstance(row[1], str)


def _kind_of(value: object) -> str:
    missing = str(value) in _MISSING
    return "a missing value" if missing else type(value).__name__


def windows(texts: Sequence[Text], most: int) -> Iterator[Sequence[Text]]:
    """Texts in their order, so many at a time as may be tokenized at once; at most ``most``."""
    start, characters = 0, 0
    for at, text in enumerate(texts):
        length = len(text) if isinstance(text, str) else len(text[0]) + len(text[1])
        if at > start and (at - start == most or characters + length > WINDOW_CHARACTERS):
            yield texts[start:at]
            start, characters = at, 0
        characters += length
    if start < len(texts):
        yield texts[start:]
