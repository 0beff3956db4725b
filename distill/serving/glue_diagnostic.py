"""GLUE's diagnostic set (AX): pairs of sentences without labels, from the file that it comes in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from augment.contract.data_files import DataFile, Record, listed, refuse_twice
from augment.contract.delimited import open_unquoted
from augment.contract.tables import KINDS, kind_of, open_table
from distill.errors import DataInvalid

PAIRS = (("premise", "hypothesis"), ("sentence1", "sentence2"))
NUMBERS = ("idx", "index")


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """The pairs, in the order of the file; ``index`` is their place where it has no numbers."""

    index: tuple[int, ...]
    premises: tuple[str, ...]
    hypotheses: tuple[str, ...]


def read_diagnostic(path: Path) -> Diagnostic:
    """Read GLUE's ``diagnostic.tsv`` (or ``diagnostic-full.tsv``), or the hub's Parquet file.

    Raises:
        DataInvalid: The file is missing or malformed, or has no columns of pairs.
    """
    if not path.is_file():
        raise DataInvalid(f"{path} is not there.", "Name GLUE's diagnostic.tsv or a Parquet file.")
    file = DataFile(path, DataInvalid, _refuse_row)
    is_table = kind_of(path) in KINDS and kind_of(path) != ".tsv"
    table = open_table(file) if is_table else open_unquoted(file)
    rows = [_named(file, record) for record in table.records]
    found = list(rows[0].values if rows else table.columns or ())
    pair = next((names for names in PAIRS if set(names) <= set(found)), None)
    if pair is None:
        raise DataInvalid(
            f"{path} has no columns of pairs. Found: {listed(found)}.",
            f"Expected {' or '.join(' and '.join(names) for names in PAIRS)}.",
        )
    number = next((name for name in NUMBERS if name in found), None)
    index = range(len(rows)) if number is None else [_number(row, number) for row in rows]
    premises, hypotheses = ([_text(row, name) for row in rows] for name in pair)
    return Diagnostic(tuple(index), tuple(premises), tuple(hypotheses))


def _refuse_row(problem: str) -> NoReturn:
    raise DataInvalid(problem, "Name GLUE's diagnostic.tsv as it comes, or a Parquet file.")


def _named(file: DataFile, record: Record) -> Record:
    """The record with its columns in small letters."""
    values = {name.lower(): value for name, value in record.values.items()}
    refuse_twice(file, map(str.lower, record.values))
    return replace(record, values=values)


def _text(row: Record, column: str) -> str:
    value = row.values.get(column)
    if not isinstance(value, str):
        _refuse_row(f"{row.location} has no text in column {column!r}.")
    return value


def _number(row: Record, column: str) -> int:
    value = row.values.get(column)
    spelled = str(value) if isinstance(value, int | str) else ""
    if not (spelled.isdecimal() and len(spelled) < 19):
        _refuse_row(f"{row.location} has row number {value!r}; a whole number is expected.")
    return int(spelled)
