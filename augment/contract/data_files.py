"""Files of rows as people have them: in which encoding, with which line ends, how long the lines.

UTF-8 is read with or without a byte-order mark, UTF-16 and UTF-32 with one. Lines end as the first
one does: with LF (a CR before it is part of the end), or in files that know none with CR. Memory is
bounded whatever the file holds.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn
from unicodedata import is_normalized

from augment.contract.errors import Fault
from augment.contract.reading import encodes, guarded, remedy
from augment.contract.recipes import twice

MAX_CHARACTERS = 1 << 24
"""No line, and no record of several lines, is longer."""
MAX_COLUMNS = 10_000
_HEAD = 1 << 16
_LINES_BETWEEN = 64
"""So many lines are read between two looks at how far the file is read."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ICONV = "iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW"
_OTHER = f" (if the file is in another encoding: {_ICONV})"
_BAD_BYTE = re.compile("[\udc80-\udcff]")
_MOST_NAMES = 12
_FEW_BYTES, _FEW_LINES = 1000, 100
_NO_TEXT = "Convert it to UTF-8, such as: iconv -f UTF-16LE -t UTF-8 FILE > NEW (or UTF-16BE)"


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of others that is to be read, and who is told what is wrong with it.

    Attributes:
        path: Where it lies.
        fault: The kind of fault that the file as a whole is refused with.
        malformed: Told what is wrong with one row: it raises, or the row is left out.
        name: What messages call it; the file's own name if left out.
        lenient: Whether bytes that are no text become U+FFFD where they are few; where they are
            many the file is in another encoding.
    """

    path: Path
    fault: type[Fault]
    malformed: Callable[[str], None]
    name: str = ""
    lenient: bool = False

    def __str__(self) -> str:
        return self.name or self.path.name

    def refuse(self, problem: str, hint: str = "") -> NoReturn:
        """Refuse the whole file.

        Raises:
            Fault: Always, of the file's kind.
        """
        raise self.fault(f"{self} {problem}", hint)


def quoted(text: str) -> str:
    """A text in quotes; one with accents as letters of their own (NFD) does not look like NFC."""
    return repr(text) if is_normalized("NFC", text) else ascii(text)


def listed(names: Collection[str]) -> str:
    """Names in a sentence, of many the first; what cannot be seen in one is spelled out."""
    some = ", ".join(map(_spelled, islice(names, _MOST_NAMES)))
    return some if len(names) <= _MOST_NAMES else f"{some}, … ({len(names)} in all)"


def _spelled(name: str) -> str:
    plain = name.isprintable() and name.strip() == name != "" and quoted(name) == repr(name)
    return name if plain else ascii(name)


def refuse_twice(file: DataFile, columns: Iterable[str]) -> None:
    """Check that no column stands twice; those without a name cannot be asked for anyway.

    Raises:
        Fault: One does.
    """
    if (name := twice(filter(None, columns))) is not None:
        file.refuse(f"has the column {name!r} twice.", "Give each its own name, or take one out.")


@dataclass(frozen=True, slots=True)
class Record:
    """Where a row stands, such as ``train.csv line 12``, and its values by column.

    ``bytes_read`` is how much of the file was read up to it, about.
    """

    location: str
    values: dict[str, Any]
    bytes_read: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a file, read as they are asked for.

    Attributes:
        records: The rows in order; malformed ones were told of.
        columns: Those that every row has; None where each row names its own (JSON).
        texts: Those of them that hold text.
        classes: Column → class names, where the file itself says what its numbers mean.
    """

    records: Iterator[Record]
    columns: tuple[str, ...] | None = None
    texts: tuple[str, ...] = ()
    classes: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Line:
    """A physical line with its end, as in the file.

    Attributes:
        number: From 1.
        text: The line; of one that is too long its beginning.
        flaw: What is wrong with it, as ``is not UTF-8``; empty where nothing is.
        is_cut: Whether it is too long.
        bytes_read: How much of the file was read up to it, a buffer ahead.
    """

    number: int
    text: str
    flaw: str = ""
    is_cut: bool = False
    bytes_read: int = 0


def open_text(file: DataFile, *, newline: str | None = "") -> TextIOWrapper:
    """A file as a stream of text; bytes that are none become lone surrogates, see ``flaw_of``.

    ``newline`` is None to read every line end as LF, or empty to keep them.

    Raises:
        Fault: There is no such file, or it is no text.
    """
    path = file.path
    with guarded(path, file.fault, "a text file"), path.open("rb") as raw:
        head = raw.read(_HEAD)
    encoding = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    if encoding is None and head:
        if hint := remedy(path):
            file.refuse("is no text file.", hint)
        if b"\0" in head[: head.find(b"\n") + 2 if b"\n" in head else None]:
            file.refuse("is no UTF-8 text: it holds NUL bytes.", _NO_TEXT)
    encoding = encoding or "utf-8"
    if file.lenient and encoding == "utf-8":
        _refuse_other_encoding(file, head)
    if newline is not None:
        first = re.search("\r\n?|\n", head.decode(encoding, "ignore"))
        newline = "" if first and first[0] == "\r" else "\n"
    errors = "surrogateescape" if encoding == "utf-8" else "surrogatepass"
    if file.lenient:
        errors = "replace"
    return path.open(
        encoding="utf-8-sig" if encoding == "utf-8" else encoding,
        errors=errors,
        newline=newline,
    )


def _refuse_other_encoding(file: DataFile, head: bytes) -> None:
    """Refuse a file whose beginning has many bytes that are not UTF-8, in many of its lines."""
    text = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(head)
    flawed = [at for at, line in enumerate(text.splitlines(), 1) if _BAD_BYTE.search(line)]
    many = len(_BAD_BYTE.findall(text)) * _FEW_BYTES > len(text)
    if many and len(flawed) * _FEW_LINES > text.count("\n") + 1:
        file.refuse(f"is not UTF-8: line {flawed[0]} and others.", f"Convert it: {_ICONV}")


def flaw_of(text: str, stream: TextIOWrapper) -> str:
    """What is wrong with a text of a stream of ``open_text``; empty where nothing is."""
    if "\0" in text:
        return "holds a NUL character"
    if encodes(text):
        return ""
    encoding = stream.encoding.upper().removesuffix("-SIG")
    return f"is not {encoding}{_OTHER if encoding == 'UTF-8' else ''}"


def read_lines(file: DataFile) -> Iterator[Line]:
    """The physical lines of a text file.

    Raises:
        Fault: As ``open_text``; the file ends within a character of UTF-16.
    """
    with open_text(file) as stream, guarded(file.path, file.fault, "a text file"):
        number = done = 0
        while text := stream.readline(MAX_CHARACTERS):
            if number % _LINES_BETWEEN == 0:
                done = bytes_read(stream)
            number += 1
            rest = text
            while len(rest) == MAX_CHARACTERS and rest[-1] not in "\r\n":
                rest = stream.readline(MAX_CHARACTERS)
            cut = rest is not text
            flaw = "" if file.lenient else flaw_of(text, stream)
            flaw = f"is longer than {MAX_CHARACTERS:,} characters" if cut else flaw
            yield Line(number, text, flaw, cut, done)


def bytes_read(stream: TextIOWrapper) -> int:
    """How much was read of a file, a buffer ahead; ``tell`` of a text stream would be slow."""
    return os.lseek(stream.fileno(), 0, os.SEEK_CUR)
