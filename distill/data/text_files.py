"""Readers of text, JSONL and Parquet files: documents as a stream with bounded memory.

Bytes that are no UTF-8 become replacement characters, and a document of any size comes in parts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from distill.errors import DataInvalid

Documents = Literal["line", "blank-line"]
KINDS = (".txt", ".jsonl", ".parquet")
DEFAULT_COLUMN = "text"
PART_CHARACTERS = 1 << 20
MAX_JSON_CHARACTERS = 1 << 24
ROWS_AT_ONCE = 256
_MEND = "Mend the line, or take it out of the file."


@dataclass(frozen=True, slots=True)
class DocumentPart:
    """A document, or a part of an oversized one.

    Attributes:
        document: Its number in the corpus; the parts of one document share it.
        text: Of a JSONL or Parquet row at most ``PART_CHARACTERS``; of a text file less than
            twice as many.
        bytes_read: Of the corpus so far, about; 0 if unknown.
    """

    document: int
    text: str
    bytes_read: int = 0


def read_file(
    file: Path, first: int, column: str | None, documents: Documents
) -> Iterator[DocumentPart]:
    """The documents of a file of one of the ``KINDS`` in order, numbered from ``first``.

    Raises:
        DataInvalid: Something in it is no text, with file and line.
    """
    if file.suffix == ".parquet":
        return _read_parquet(file, column, first)
    if file.suffix == ".jsonl":
        return _read_jsonl(file, column, first)
    return _read_text(file, documents, first)


def _read_text(file: Path, documents: Documents, number: int) -> Iterator[DocumentPart]:
    """Lines, or what blank lines divide; oversized ones in parts."""
    by_line = documents == "line"
    lines: list[str] = []
    size, begun = 0, False
    with _open(file) as stream:
        while line := stream.readline(PART_CHARACTERS):
            if text := line.strip():
                lines.append(text)
                size, begun = size + len(text), True
            ends = begun and line.endswith("\n") and (by_line or not text)
            if lines and (ends or size >= PART_CHARACTERS):
                yield DocumentPart(number, " ".join(lines), _bytes_read(stream))
                lines, size = [], 0
            if ends:
                number, begun = number + 1, False
        if lines:
            yield DocumentPart(number, " ".join(lines), _bytes_read(stream))


def has_blank_lines(file: Path) -> bool:
    """Whether a blank line stands between two others near the start of a file."""
    with _open(file) as stream:
        lines = stream.read(PART_CHARACTERS).strip().splitlines()
    return any(not line.strip() for line in lines)


def _read_jsonl(file: Path, column: str | None, number: int) -> Iterator[DocumentPart]:
    with _open(file) as stream:
        lines = iter(lambda: stream.readline(MAX_JSON_CHARACTERS), "")
        for count, line in enumerate(lines, start=1):
            where = f"{file}, line {count}"
            if len(line) == MAX_JSON_CHARACTERS:
                raise DataInvalid(
                    f"{where}: longer than {MAX_JSON_CHARACTERS:,} characters.", _MEND
                )
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataInvalid(f"{where}: is not JSON.", _MEND) from error
            if not isinstance(row, dict):
                raise DataInvalid(f"{where}: is no JSON object.", _MEND)
            column = column or choose_column(row, where)
            yield from in_parts(number, text_of(row, column, where), _bytes_read(stream))
            number += 1


def _read_parquet(file: Path, column: str | None, number: int) -> Iterator[DocumentPart]:
    with pq.ParquetFile(file) as source:
        schema, rows = source.schema_arrow, max(source.metadata.num_rows, 1)
        row = {n: "" if _holds_text(schema.field(n).type) else None for n in schema.names}
        column = column or choose_column(row, str(file))
        if row.get(column) is None:
            raise _no_column(str(file), column, [n for n, text in row.items() if text is not None])
        size, done = file.stat().st_size, 0
        for batch in source.iter_batches(ROWS_AT_ONCE, columns=[column]):
            done += batch.num_rows
            for text in batch.column(0).to_pylist():
                yield from in_parts(number, text or "", size * done // rows)
                number += 1


def _holds_text(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return value in (pa.string(), pa.large_string(), pa.string_view())


def choose_column(row: Mapping[str, object], where: str) -> str:
    """The column called ``text``, or the only one with text.

    Raises:
        DataInvalid: There is neither.
    """
    if DEFAULT_COLUMN in row:
        return DEFAULT_COLUMN
    texts = [name for name, value in row.items() if isinstance(value, str)]
    if len(texts) != 1:
        raise _no_column(where, DEFAULT_COLUMN, texts)
    return texts[0]


def text_of(row: Mapping[str, object], column: str, where: str) -> str:
    """A row's text; empty for null.

    Raises:
        DataInvalid: There is no such column, or something else is in it.
    """
    value = row.get(column, ...)
    if value is ...:
        raise _no_column(where, column, list(row))
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataInvalid(f"{where}: {column!r} is no text, found {str(value)[:40]!r}.", _MEND)
    return value.encode("utf-8", "replace").decode()  # JSON can spell half a character


def _no_column(where: str, column: str, names: Sequence[str]) -> DataInvalid:
    return DataInvalid(
        f"{where} has no text column {column!r}. Found: {', '.join(names) or 'none'}.",
        "Name the one with the text: --column NAME",
    )


def in_parts(document: int, text: str, bytes_read: int) -> Iterator[DocumentPart]:
    """A document of any size, in parts."""
    for start in range(0, max(len(text), 1), PART_CHARACTERS):
        yield DocumentPart(document, text[start : start + PART_CHARACTERS], bytes_read)


def _open(file: Path) -> TextIOWrapper:
    return file.open(encoding="utf-8-sig", errors="replace")


def _bytes_read(stream: TextIOWrapper) -> int:
    """A buffer ahead; ``tell`` of a text stream would be slow."""
    return os.lseek(stream.fileno(), 0, os.SEEK_CUR)
