"""Text of others as it may be shown: what steers a terminal, or hides in it, is made visible."""

from __future__ import annotations

import json
from typing import Literal
from unicodedata import category

Language = Literal["json", "toml"]
LONGEST = 2000
"""Characters of one text that are shown; what lies between its beginning and its end is counted."""

_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's controls (C0, C1), formats (bidi, zero width), lone surrogates, line separators."""


def shown(text: object, *, limit: int = LONGEST, lines: bool = False) -> str:
    r"""A text as a person may see it: ``\x1b``, ``\u202e``, ``\udc80`` for what else would act.

    Everything that comes from a file, a path or an argument passes here before it is printed. What
    is given to another program (JSON, TOML) passes through ``escaped``.

    Args:
        text: Anything; ``str()`` of it is shown.
        limit: The longest text that is shown whole.
        lines: Whether a newline stays one, where the lines are our own.
    """
    whole = str(text)
    if len(whole) > limit:
        head, tail = limit * 2 // 3, limit // 3
        whole = f"{whole[:head]} … {len(whole) - head - tail:,} characters … {whole[-tail:]}"
    if whole.isprintable():
        return whole
    return "".join(
        char.encode("unicode_escape").decode() if is_unseen(char, lines=lines) else char
        for char in whole
    )


def is_unseen(char: str, *, lines: bool = False) -> bool:
    """Whether a character is not printed as itself but acts, or cannot be seen."""
    return not (char.isprintable() or (lines and char == "\n")) and category(char) in _UNSEEN


def escaped(document: str, language: Language, encoding: str = "utf-8") -> str:
    r"""A document with ``\u202e`` for what would act on a terminal: the same values to its reader.

    Such characters, and those that the terminal's encoding lacks, stand in strings, where both
    languages read escapes; newlines and tabs are layout.
    """
    steps = {ord("\n"): None, ord("\t"): None}
    if document.isascii() and document.translate(steps).isprintable():
        return document
    write = _in_json if language == "json" else _in_toml
    return "".join(
        write(char) if char != "\t" and _is_strange(char, encoding) else char for char in document
    )


def _is_strange(char: str, encoding: str) -> bool:
    if not char.isascii() and not encoding.lower().startswith("utf"):
        try:
            char.encode(encoding)
        except UnicodeEncodeError:
            return True
    return is_unseen(char, lines=True)


def _in_json(char: str) -> str:
    return json.dumps(char)[1:-1]


def _in_toml(char: str) -> str:
    return f"\\U{ord(char):08x}"
