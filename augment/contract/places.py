"""Arguments of a command that no file system, and no model hub, can have as a name."""

from __future__ import annotations

import os
from collections.abc import Sequence

from augment.contract.errors import UsageError

_LONGEST_NAME = 255
"""Bytes of one name in a path, on every common file system."""
_FREE_TEXT = ("--text",)


def check_arguments(words: Sequence[str]) -> list[str]:
    """The arguments of a command, ``~`` in front of a place being the user's own folder.

    The shell does not put it there in ``--out=~/runs``.

    Raises:
        UsageError: One is empty (an unset variable of a script) or can be no name.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise UsageError("the current folder is no longer there.", "cd to one that is.") from error
    checked: list[str] = []
    option = "an argument"
    for word in words:
        head, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if word.startswith("--") and not equals:
            option = head
            checked.append(word)
            continue
        option = head or option
        _check(option, value)
        home = value.startswith("~") and option not in _FREE_TEXT
        checked.append(head + equals + (os.path.expanduser(value) if home else value))
        option = "an argument"
    return checked


def _check(option: str, value: str) -> None:
    if not value:
        raise UsageError(f"{option} is empty.", "Is a variable of a script not set?")
    try:
        encoded = value.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{option} is not UTF-8: {value}.", "Rename what it names.") from error
    if b"\0" in encoded:
        raise UsageError(f"{option} holds a zero byte: {value}.")
    longest = max(map(len, encoded.split(b"/")))
    if longest > _LONGEST_NAME and option not in _FREE_TEXT:
        raise UsageError(
            f"{option} holds a name of {longest:,} bytes: {value[:40]}….",
            f"No file system and no hub has names of more than {_LONGEST_NAME} bytes.",
        )
