"""Records of columnar files: Parquet, CSV, TSV and JSON, with class numbers as the file's names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from augment.contract.data_files import DataFile, Record, Table
from augment.contract.tables import KINDS, open_table
from augment.errors import SourceInvalid
from augment.sources.labels import ClassName

SUFFIXES = KINDS

Malformed = Callable[[str], None]
"""Told what is wrong with a row that cannot be read: it raises, or the row is left out."""


def open_records(path: Path, malformed: Malformed, wanted: Collection[str] | None = None) -> Table:
    """The rows of a columnar file, of a Parquet file only the columns that are wanted.

    Raises:
        SourceInvalid: The file's kind is unknown, or it is damaged.
    """
    table = open_table(DataFile(path, SourceInvalid, malformed), wanted)
    if not table.classes:
        return table
    return replace(table, records=_named_records(table))


def _named_records(table: Table) -> Iterator[Record]:
    for record in table.records:
        yield replace(record, values=named(record.values, table.classes))


def named(record: dict[str, Any], names: dict[str, list[str]]) -> dict[str, Any]:
    """The record with class numbers as the source's own class names, so that order cannot lie.

    Names that are but the numbers themselves say nothing: those stay numbers.
    """
    known = {c: n for c, n in names.items() if n != [str(i) for i in range(len(n))]}
    return {
        column: ClassName(known[column][value])
        if column in known and type(value) is int and 0 <= value < len(known[column])
        else value
        for column, value in record.items()
    }
