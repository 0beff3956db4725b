"""stdout and stderr that never end a command: closed, full, cut off, or of another encoding."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO


def mend_streams() -> None:
    r"""Make what the process was started with usable.

    A descriptor that is closed is opened on nothing, or the first file opened would take its place
    and hear what is printed. What an encoding does not know is written as ``\xe9``.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


def complain(sentence: str) -> None:
    """Print a sentence on stderr, if anything can be printed there."""
    try:
        print(sentence, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        lose(sys.stderr)


def settle(stream: TextIO) -> None:
    """Print what a stream still keeps back, or drop it: Python would fail over it at its end."""
    try:
        stream.flush()
    except (OSError, ValueError):
        lose(stream)


def lose(stream: TextIO) -> None:
    """Let everything that is still printed on a stream go nowhere."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
