"""Tables that are written as their rows come: CSV, TSV, JSON lines, Parquet."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from distill.errors import DataInvalid, UsageError

TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
_GROUP_ROWS, _GROUP_BYTES = 32_768, 1 << 24
RETURNS = "\r\n"
"""The line end by which ``csv`` knows that a CR within a value, too, asks for quotes."""
Values = dict[str, Any]


class Writer(Protocol):
    """Takes rows with the columns of its schema; JSON lines also rows with fewer."""

    def write(self, rows: Sequence[Values]) -> None:
        """Write some rows."""


def check_kind(out: Path) -> None:
    """Refuse a name that says no kind of table.

    Raises:
        UsageError: It does not end in one of ``TABLES``, or is a folder.
    """
    if out.suffix.lower() not in TABLES:
        raise UsageError(f"{out} is of an unknown kind.", f"End it in {', '.join(TABLES)}.")
    if out.is_dir():
        raise UsageError(f"{out} is a folder.", "Name a file.")


@contextmanager
def open_writer(path: Path, kind: str, schema: pa.Schema) -> Iterator[Writer]:
    """Open a new table; ``kind`` is one of ``TABLES``."""
    if kind == ".parquet":
        with pq.ParquetWriter(path, schema) as file:
            writer = _Parquet(file, schema)
            yield writer
            writer.flush()
        return
    with path.open("w", encoding="utf-8", newline="") as stream:
        if kind == ".jsonl":
            yield _JsonLines(stream)
        else:
            yield _Delimited(stream, "," if kind == ".csv" else "\t", schema.names)


@dataclass(frozen=True, slots=True)
class _JsonLines:
    stream: TextIO

    def write(self, rows: Sequence[Values]) -> None:
        for row in rows:
            plain = {name: None if _is_nan(value) else value for name, value in row.items()}
            self.stream.write(f"{_json(plain)}\n")


@dataclass(frozen=True, slots=True)
class LineFeeds:
    """A stream of delimited lines, given with ``RETURNS``, written with LF."""

    stream: TextIO

    def write(self, line: str) -> None:
        """Write a line."""
        self.stream.write(f"{line.removesuffix(RETURNS)}\n")


@dataclass(slots=True)
class _Delimited:
    """Numbers with six decimals, as the answers' are; lists and objects as JSON."""

    stream: TextIO
    delimiter: str
    names: Sequence[str]
    _begun: bool = False

    def write(self, rows: Sequence[Values]) -> None:
        lines = LineFeeds(self.stream)
        writer = csv.writer(lines, delimiter=self.delimiter, lineterminator=RETURNS)
        if not self._begun:
            writer.writerow(self.names)
            self._begun = True
        writer.writerows([_cell(row.get(name)) for name in self.names] for row in rows)


@dataclass(slots=True)
class _Parquet:
    """Row groups of a fair size, so that few rows in memory make no file of a thousand parts."""

    file: pq.ParquetWriter
    schema: pa.Schema
    _waiting: list[pa.Table] = field(default_factory=list)

    def write(self, rows: Sequence[Values]) -> None:
        columns = []
        for own in self.schema:
            values = [row.get(own.name) for row in rows]
            if own.type == pa.string():
                values = [v if v is None or isinstance(v, str) else _cell(v) for v in values]
            try:
                columns.append(pa.array(values, own.type))
            except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
                raise DataInvalid(
                    f"the column {own.name!r} cannot be written as {own.type}: {error}.",
                    "Let --out end in .csv or .jsonl.",
                ) from error
        self._waiting.append(pa.Table.from_arrays(columns, schema=self.schema))
        size = sum(table.nbytes for table in self._waiting)
        if sum(map(len, self._waiting)) >= _GROUP_ROWS or size >= _GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            self.file.write_table(pa.concat_tables(self._waiting))
            self._waiting = []


def _cell(value: Any) -> str:
    if value is None or _is_nan(value):
        return ""
    if isinstance(value, dict | list | bool):
        return _json(value)
    return str(value)


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair deep in a value of others
        return json.dumps(value, default=str)
    return text


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
