"""Documents of files, as a stream with bounded memory: of text files, and of files of rows.

A document of any size comes in parts. What is no text is refused, with file and line; a few bytes
that are none become replacement characters, and their documents are counted as damaged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from augment.contract.data_files import DataFile, bytes_read, listed, open_text, quoted
from augment.contract.reading import guarded
from augment.contract.tables import KINDS as TABLES
from augment.contract.tables import kind_of, open_table
from distill.errors import DataInvalid

Documents = Literal["line", "blank-line"]
TEXT = ".txt"
IN_FOLDERS = (TEXT, ".jsonl", ".ndjson", ".parquet")
"""What is read of a folder; tables of other kinds lie there as descriptions, too."""
KINDS = (TEXT, *TABLES)
DEFAULT_COLUMN = "text"
PART_CHARACTERS = 1 << 20
_MEND = "Mend the line, or take it out of the file."


@dataclass(frozen=True, slots=True)
class DocumentPart:
    """A document, or a part of an oversized one.

    Attributes:
        document: Its number in the corpus; the parts of one document share it.
        text: Of a row at most ``PART_CHARACTERS``; of a text file less than twice as many.
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
    source = DataFile(file, DataInvalid, _refuse_row, name=str(file), lenient=True)
    if kind_of(file) == TEXT:
        return _read_text(source, documents, first)
    return _read_rows(source, column, first)


def _refuse_row(problem: str) -> NoReturn:
    raise DataInvalid(problem, _MEND)


def _read_text(file: DataFile, documents: Documents, number: int) -> Iterator[DocumentPart]:
    """Lines, or what blank lines divide; oversized ones in parts."""
    by_line = documents == "line"
    lines: list[str] = []
    size, begun = 0, False
    with (
        guarded(file.path, DataInvalid, "a text file"),
        open_text(file, newline=None) as stream,
    ):
        while line := stream.readline(PART_CHARACTERS):
            if text := line.strip():
                lines.append(text)
                size, begun = size + len(text), True
            ends = begun and line.endswith("\n") and (by_line or not text)
            if lines and (ends or size >= PART_CHARACTERS):
                yield DocumentPart(number, " ".join(lines), bytes_read(stream))
                lines, size = [], 0
            if ends:
                number, begun = number + 1, False
        if lines:
            yield DocumentPart(number, " ".join(lines), bytes_read(stream))


def has_blank_lines(file: Path) -> bool:
    """Whether a blank line stands between two others near the start of a file.

    Raises:
        DataInvalid: It is no text.
    """
    source = DataFile(file, DataInvalid, _refuse_row, name=str(file), lenient=True)
    with guarded(file, DataInvalid, "a text file"), open_text(source, newline=None) as stream:
        lines = stream.read(PART_CHARACTERS).strip().splitlines()
    return any(not line.strip() for line in lines)


def _read_rows(file: DataFile, column: str | None, number: int) -> Iterator[DocumentPart]:
    if not file.path.stat().st_size:
        return
    table = open_table(file, wanted=())
    if table.columns is not None:  # the file itself says what its columns are
        column = column or choose_column(dict.fromkeys(table.texts, ""), str(file))
        if column not in table.texts:
            raise _no_column(str(file), column, table.texts)
        table = open_table(file, wanted=(column,))
    for record in table.records:
        column = column or choose_column(record.values, record.location)
        text = text_of(record.values, column, record.location)
        yield from in_parts(number, text, record.bytes_read)
        number += 1


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
    pairs = value.encode("utf-16-le", "surrogatepass")  # JSON can spell half a character
    return pairs.decode("utf-16-le", "replace")


def _no_column(where: str, column: str, names: Sequence[str]) -> DataInvalid:
    return DataInvalid(
        f"{where} has no text column {quoted(column)}. Found: {listed(names) or 'none'}.",
        "Name the one with the text: --column NAME",
    )


def in_parts(document: int, text: str, bytes_read: int) -> Iterator[DocumentPart]:
    """A document of any size, in parts."""
    for start in range(0, max(len(text), 1), PART_CHARACTERS):
        yield DocumentPart(document, text[start : start + PART_CHARACTERS], bytes_read)
