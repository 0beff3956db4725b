"""GLUE's diagnostic set (AX): pairs of sentences without labels, from the file that it comes in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

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
    columns = _parquet(path) if path.suffix == ".parquet" else _tsv(path)
    pair = next((names for names in PAIRS if set(names) <= columns.keys()), None)
    if pair is None:
        raise DataInvalid(
            f"{path} has no columns of pairs. Found: {', '.join(columns)[:200]}.",
            f"Expected {' or '.join(' and '.join(names) for names in PAIRS)}.",
        )
    premises, hypotheses = columns[pair[0]], columns[pair[1]]
    number = next((columns[name] for name in NUMBERS if name in columns), None)
    try:
        index = range(len(premises)) if number is None else [int(n) for n in number]
    except ValueError as error:
        raise DataInvalid(f"{path}: a row number is no whole number: {error}.") from error
    return Diagnostic(tuple(index), tuple(premises), tuple(hypotheses))


def _parquet(path: Path) -> dict[str, list[str]]:
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataInvalid(f"{path} is no whole Parquet file: {error}.") from error
    known = {*sum(PAIRS, ()), *NUMBERS}
    columns = [name for name in table.column_names if name.lower() in known]
    for name in columns:
        if table[name].null_count:
            raise DataInvalid(f"{path}: column {name!r} has empty (null) rows.")
    return {name.lower(): [str(v) for v in table[name].to_pylist()] for name in columns}


def _tsv(path: Path) -> dict[str, list[str]]:
    """Fields are separated by tabs and never quoted."""
    try:
        lines = path.read_bytes().decode("utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise DataInvalid(f"{path} is not UTF-8.") from error
    header, *rows = [line.removesuffix("\r").split("\t") for line in lines]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise DataInvalid(
                f"{path} line {number} has {len(row)} fields; {len(header)} are expected."
            )
    return {name.lower(): [row[at] for row in rows] for at, name in enumerate(header)}
