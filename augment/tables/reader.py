"""The one reader of files of rows: Parquet, CSV, TSV and JSON, each row with its location."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

from augment.contract.reading import guarded, parse_json, remedy
from augment.tables.data_files import (
    MAX_CHARACTERS,
    DataFile,
    Record,
    Table,
    bytes_read,
    flaw_of,
    open_text,
    read_lines,
)
from augment.tables.delimited import open_delimited
from augment.tables.parquet import open_parquet

KINDS = (".parquet", ".csv", ".jsonl", ".tsv", ".ndjson", ".json")
"""Suffixes, in any case; where a folder holds several, the first counts."""
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".xlsx", ".xls")
"""Suffixes of what is to be unpacked or exported first."""
_DELIMITERS = {".csv": ",\t;", ".tsv": "\t,;"}
_PIECE = 1 << 16


def kind_of(path: Path) -> str:
    """A file's suffix in small letters."""
    return path.suffix.lower()


def open_table(file: DataFile, wanted: Collection[str] | None = None) -> Table:
    """The rows of a file; its suffix says its kind, its content the rest.

    Of a Parquet file only the columns that are wanted are read; all where that is None.

    Raises:
        Fault: The file is empty, damaged or of an unknown kind, or none of its rows can be told
            from the next.
    """
    kind = kind_of(file.path)
    if kind not in KINDS:
        known = "Unpack it first." if kind in PACKED else f"Known: {', '.join(KINDS)}"
        file.refuse("is of an unknown kind.", remedy(file.path) or known)
    with guarded(file.path, file.fault, "a file of rows"):
        if not file.path.stat().st_size:
            file.refuse("is empty.", "Expected rows.")
    if kind == ".parquet":
        return open_parquet(file, wanted)
    if kind in _DELIMITERS:
        return open_delimited(file, _DELIMITERS[kind])
    return Table(_array(file) if _begins_an_array(file) else _json_lines(file))


def _begins_an_array(file: DataFile) -> bool:
    with open_text(file) as stream, guarded(file.path, file.fault, "a JSON file"):
        text = ""
        while not text and (piece := stream.read(_PIECE)):
            text = piece.lstrip()
    return text.startswith("[")


def _json_lines(file: DataFile) -> Iterator[Record]:
    for line in read_lines(file):
        location = f"{file} line {line.number}"
        if line.flaw:
            file.malformed(f"{location} {line.flaw}.")
        elif line.text.strip():
            yield from _json_record(file, location, line.text, line.bytes_read)


def _json_record(file: DataFile, location: str, text: str, done: int) -> Iterator[Record]:
    try:
        value = parse_json(text)
    except ValueError as error:
        said = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        file.malformed(f"{location} is not JSON: {said}.")
        return
    if isinstance(value, dict):
        yield Record(location, value, done)
    else:
        file.malformed(f"{location} is not a JSON object.")


def _array(file: DataFile) -> Iterator[Record]:
    """The objects of a JSON array, one after the other; where one is out of order all end."""
    with open_text(file, newline=None) as stream, guarded(file.path, file.fault, "a JSON array"):
        window = _Window(file, stream)
        while (text := window.element()) is not None:
            location = f"{file} line {window.line}"
            if flaw := flaw_of(text, stream):
                file.malformed(f"{location} {flaw}.")
            else:
                yield from _json_record(file, location, text, bytes_read(stream))
            window.line += text.count("\n")


_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n]*")


@dataclass(slots=True)
class _Window:
    """As much of a JSON array as an element needs; ``line`` is where it begins."""

    file: DataFile
    stream: TextIOWrapper
    line: int = 1
    _text: str = ""
    _at: int = 0
    _divider: str = "["

    def element(self) -> str | None:
        """The next element as text; None after the last."""
        mark = self._next_mark()
        is_first = self._divider == "["
        if mark == "]" and not is_first:
            self._end()
            return None
        if mark != self._divider:
            self._refuse()
        self._at += 1
        if self._next_mark() == "]" and is_first:
            self._end()
            return None
        self._divider = ","
        return self._element()

    def _element(self) -> str:
        while True:
            try:
                end = _DECODER.raw_decode(self._text, self._at)[1]
            except (ValueError, RecursionError):
                end = len(self._text)  # or what is missing comes next
            if end < len(self._text):
                text, self._at = self._text[self._at : end], end
                return text
            if len(self._text) - self._at > MAX_CHARACTERS or not self._read():
                self._refuse()

    def _next_mark(self) -> str:
        """The next character that is not space; empty at the file's end."""
        while True:
            end = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            self.line += self._text.count("\n", self._at, end)
            self._at = end
            if end < len(self._text):
                return self._text[end]
            if not self._read():
                return ""

    def _read(self) -> bool:
        """Read as much again as is there."""
        left = self._text[self._at :]
        piece = self.stream.read(max(_PIECE, len(left)))
        self._text, self._at = left + piece, 0
        return bool(piece)

    def _end(self) -> None:
        self._at += 1
        if self._next_mark():
            self._refuse()

    def _refuse(self) -> NoReturn:
        self.file.refuse(
            f"is not a JSON array: it is out of order at line {self.line}.",
            "Mend the file, or write one object a line and call it .jsonl.",
        )
