"""Rows to answer, from a file or from stdin, as a stream: each with its text and its own columns.

Text files have a row a line, the others are read by ``augment.contract.tables``.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from augment.contract.data_files import MAX_COLUMNS, DataFile, Record, Table, listed, read_lines
from augment.contract.files import disk_errors
from augment.contract.reading import guarded, text_flaw
from augment.contract.tables import KINDS as TABLES
from augment.contract.tables import WHAT, holds_text, kind_of, open_table
from distill.data.scratch import scratch
from distill.errors import DataInvalid, UsageError
from distill.inference.head import Head
from distill.inference.texts import (
    USUAL,
    WINDOW_CHARACTERS,
    WINDOW_TEXTS,
    Text,
    text_columns,
)

STDIN = "-"
TEXT, PARQUET = ".txt", ".parquet"
KINDS = (TEXT, *TABLES)
_JSON = (".json", ".jsonl", ".ndjson")
_NAME_IT = "Name it: --text-column NAME (twice for a pair)."
_MEND = "Mend the row, take it out of the file, or leave such rows out: --skip-malformed"


@dataclass(frozen=True, slots=True)
class InputRow:
    """A row: its own values by column, what the model reads of it, and its size in characters."""

    values: dict[str, Any]
    text: Text
    size: int
    bytes_read: int


@dataclass(frozen=True, slots=True)
class InputRows:
    """The rows of a file.

    Attributes:
        schema: Its own columns, and their types as far as they are known: all of JSON, too.
        size: Of the file, in bytes.
        windows: The rows in their order, so many at a time as may be in memory.
    """

    schema: pa.Schema
    size: int
    windows: Iterator[list[InputRow]]


@contextmanager
def input_file(place: str, stdin_kind: str, malformed: Callable[[str], None]) -> Iterator[DataFile]:
    """The file to read; stdin is copied to one first. ``malformed`` is told of its bad rows.

    Raises:
        UsageError: Its kind is not known.
        OutputUnwritable: There is no room for what comes from stdin.
    """
    if place != STDIN:
        path = Path(place).expanduser()
        if kind_of(path) not in KINDS and path.is_file():
            raise UsageError(
                f"{path} is of an unknown kind.",
                f"Known: {', '.join(KINDS)}. Others through stdin: --input - --stdin-kind txt",
            )
        yield DataFile(path, DataInvalid, malformed)
        return
    with scratch() as folder:
        path = folder / f"stdin.{stdin_kind}"
        with disk_errors(folder, "what comes from stdin"), path.open("wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
        yield DataFile(path, DataInvalid, malformed, name="stdin")


def refuse(problem: str) -> NoReturn:
    """Refuse a file for one of its rows.

    Raises:
        DataInvalid: Always.
    """
    raise DataInvalid(problem, _MEND)


def open_rows(file: DataFile, head: Head, columns: Sequence[str] = ()) -> InputRows:
    """The rows of a file.

    Args:
        file: Of one of the ``KINDS``; its ``malformed`` is told of rows that cannot be answered.
        head: Says which columns the texts stand in where nobody does.
        columns: The text columns, two for a pair.

    Raises:
        DataInvalid: The file is empty, damaged, or has no such columns.
        UsageError: Nobody says which they are, or they are too many or too few for the model.
    """
    expected = len(head.settings.text_columns)
    if columns and len(columns) not in ({expected} if expected else {1, 2}):
        reads = {1: "one text", 2: "a pair of texts"}.get(expected, "one text or a pair")
        raise UsageError(
            f"--text-column is given {len(columns)} times; {head.name} reads {reads}.",
            "Name a column for each text of a row.",
        )
    schema, texts = _schema(file)
    read = tuple(columns) or text_columns(texts, head, _NAME_IT)
    if len(read) > max(1, len(columns)) and read != head.settings.text_columns:
        known = " and ".join(head.settings.text_columns)
        raise UsageError(
            f"{file} has no columns {known}, which are those of {head.name}'s pairs; it has "
            f"{listed(schema.names)}.",
            _NAME_IT,
        )
    if absent := [name for name in read if name not in schema.names]:
        file.refuse(
            f"has no column {absent[0]!r}. Found: {listed(schema.names) or 'none'}.", _NAME_IT
        )
    rows = (row for record in _records(file) if (row := _row(file, record, read)) is not None)
    return InputRows(schema, file.path.stat().st_size, _windows(rows))


def _schema(file: DataFile) -> tuple[pa.Schema, Sequence[str]]:
    """All columns of a file, and the names of those that hold text."""
    kind = kind_of(file.path)
    if kind == TEXT:
        return pa.schema([(USUAL, pa.string())]), (USUAL,)
    if kind == PARQUET:
        table = open_table(file, wanted=())
        with guarded(file.path, file.fault, WHAT):
            return pq.read_schema(file.path).remove_metadata(), table.texts
    if kind in _JSON:
        fields = _json_fields(file, open_table(file))
        return pa.schema(fields), [field.name for field in fields if holds_text(field.type)]
    table = open_table(file)
    return pa.schema([(name, pa.string()) for name in table.columns or ()]), table.texts


def _json_fields(file: DataFile, table: Table) -> list[pa.Field]:
    """Each key that any row has, with a type that holds all its values; lists become text."""
    found: dict[str, set[type]] = {}
    for record in table.records:
        for name, value in record.values.items():
            found.setdefault(name, set()).add(type(value))
        if len(found) > MAX_COLUMNS:
            file.refuse(f"has more than {MAX_COLUMNS:,} columns.")
    if not found:
        file.refuse("holds no rows.", "Expected an object a row, with the text under a name.")
    return [pa.field(name, _type_of(kinds - {type(None)})) for name, kinds in found.items()]


def _type_of(kinds: set[type]) -> pa.DataType:
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    return pa.float64() if kinds and kinds <= {int, float} else pa.string()


def _records(file: DataFile) -> Iterator[Record]:
    if kind_of(file.path) != TEXT:
        yield from open_table(file).records
        return
    first = None
    for first in read_lines(file):
        location = f"{file} line {first.number}"
        if first.flaw:
            file.malformed(f"{location} {first.flaw}.")
        else:
            text = first.text.removesuffix("\n").removesuffix("\r")
            yield Record(location, {USUAL: text}, first.bytes_read)
    if first is None:
        file.refuse("is empty.", "Expected a text a line.")


def _row(file: DataFile, record: Record, columns: Sequence[str]) -> InputRow | None:
    """A row that can be answered; None where the file was told why not."""
    texts = [record.values.get(name) for name in columns]
    size = 0
    for name, value in chain(zip(columns, texts, strict=True), record.values.items()):
        if isinstance(value, str):
            size += len(value)
            if flaw := text_flaw(value) or text_flaw(name):
                file.malformed(f"{record.location}: {name!r} {flaw}.")
                return None
        elif name in columns:
            found = "is missing" if value is None else f"is no text, but {value!r:.40}"
            file.malformed(f"{record.location}: {name!r} {found}.")
            return None
    text: Any = texts[0] if len(texts) == 1 else tuple(texts)
    return InputRow(record.values, text, size, record.bytes_read)


def _windows(rows: Iterator[InputRow]) -> Iterator[list[InputRow]]:
    window: list[InputRow] = []
    size = 0
    for row in rows:
        if len(window) == WINDOW_TEXTS or (window and size + row.size > WINDOW_CHARACTERS):
            yield window
            window, size = [], 0
        window.append(row)
        size += row.size
    if window:
        yield window
