"""Records of columnar files: Parquet, CSV and JSONL, each row with its location for messages."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from augment.contract.reading import parse_json
from augment.errors import SourceInvalid
from augment.sources.examples import MAX_CHARACTERS, refuse_twice
from augment.sources.labels import ClassName

SUFFIXES = (".parquet", ".csv", ".jsonl")

Record = tuple[str, dict[str, Any]]
"""Where a row stands, and its values by column."""

Malformed = Callable[[str], None]
"""Told what is wrong with a row that cannot be read: it raises, or the row is left out."""


def read_records(path: Path, malformed: Malformed) -> Iterator[Record]:
    """Every row of a columnar file; its suffix says its kind.

    Raises:
        SourceInvalid: The file's kind is unknown, or it is damaged.
    """
    if path.suffix == ".parquet":
        return _parquet_records(path)
    if path.suffix == ".csv":
        return _csv_records(path, malformed)
    if path.suffix in (".jsonl", ".json"):
        return _json_records(path, malformed)
    raise SourceInvalid(f"{path.name} is of an unknown kind.", f"Known: {', '.join(SUFFIXES)}")


def _parquet_records(path: Path) -> Iterator[Record]:
    try:
        file = pq.ParquetFile(path)
        refuse_twice(path.name, file.schema_arrow.names)
        names = _class_names(file.schema_arrow.metadata)
        batches = (batch.to_pylist() for batch in file.iter_batches(batch_size=8192))
        for number, record in enumerate(chain.from_iterable(batches)):
            yield f"{path.name} row {number}", named(record, names)
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceInvalid(f"{path.name} is not a whole Parquet file: {error}.") from error


def _class_names(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Column → class names, where a Parquet file carries the features of ``datasets``."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {name: list(value["names"]) for name, value in features.items() if "names" in value}
    except (KeyError, TypeError, ValueError):
        return {}


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


def _csv_records(path: Path, malformed: Malformed) -> Iterator[Record]:
    csv.field_size_limit(2 * MAX_CHARACTERS)
    with path.open("rb") as stream:
        lines = decoded_lines(path, stream, malformed)
        reader = csv.reader((line for _, line in lines), strict=True)
        header: list[str] | None = None
        while True:
            location = f"{path.name} line {reader.line_num + 1}"
            try:
                fields = next(reader, None)
            except csv.Error as error:
                malformed(f"{location} is not CSV: {error}.")
                continue
            if fields is None:
                return
            if header is None:
                header = fields
                refuse_twice(path.name, header)
            elif len(fields) == len(header):
                yield location, dict(zip(header, fields, strict=True))
            elif fields:
                malformed(f"{location} has {len(fields)} fields; {len(header)} are expected.")


def decoded_lines(
    path: Path, lines: Iterable[bytes], malformed: Malformed
) -> Iterator[tuple[int, str]]:
    """Lines as text with their numbers, from 1; one that is not UTF-8 is malformed."""
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            malformed(f"{path.name} line {number} is not UTF-8.")
        else:
            yield number, text


def _json_records(path: Path, malformed: Malformed) -> Iterator[Record]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            location = f"{path.name} line {number}"
            try:
                record = parse_json(line)
            except ValueError as error:
                record, why = None, f": {error}"
            else:
                why = ""
            if isinstance(record, dict):
                yield location, record
            elif line.strip():
                malformed(f"{location} is not a JSON object{why}.")
