"""The one reader of files of rows: Parquet, CSV, TSV and JSON, each row with its location."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from augment.contract.data_files import (
    MAX_CHARACTERS,
    MAX_COLUMNS,
    DataFile,
    Record,
    Table,
    bytes_read,
    flaw_of,
    open_text,
    read_lines,
    refuse_twice,
)
from augment.contract.delimited import open_delimited
from augment.contract.foreign import counted
from augment.contract.reading import guarded, parse_json, remedy

WHAT = "a whole Parquet file"
BATCH_ROWS, BATCH_BYTES = 4096, 1 << 26
MAX_TIMES, ALWAYS_READ = 1000, 1 << 28
"""A file does not unpack to more than so many times its size, and these bytes."""
_ROW_BYTES = 16
_DAMAGED = "It is cut or damaged: get it again."
_TOO_MUCH = "Such a file is no data set of texts; write it anew, or name another."


def open_parquet(file: DataFile, wanted: Collection[str] | None = None) -> Table:
    """A Parquet file; of its columns those that are wanted, all where that is None.

    Raises:
        Fault: It is damaged, has two columns of one name, or unpacks to too much.
    """
    with guarded(file.path, file.fault, WHAT, _DAMAGED):
        metadata = pq.read_metadata(file.path)
        if metadata.num_columns > MAX_COLUMNS:
            file.refuse(
                f"has {counted(metadata.num_columns, 'column')}; at most {MAX_COLUMNS:,} are read."
            )
        schema = pq.ParquetFile(file.path, metadata=metadata).schema_arrow
        names = list(schema.names)
        _refuse_bomb(file, metadata)
    refuse_twice(file, names)
    columns = [name for name in names if wanted is None or name in wanted]
    texts = tuple(name for name in names if holds_text(schema.field(name).type))
    records = _records(file, columns, metadata)
    return Table(records, tuple(names), texts, class_names(schema.metadata))


def holds_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds text."""
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return value in (pa.string(), pa.large_string(), pa.string_view())


def _limit(file: DataFile) -> int:
    return ALWAYS_READ + MAX_TIMES * file.path.stat().st_size


def _refuse_bomb(file: DataFile, metadata: pq.FileMetaData) -> None:
    groups = [metadata.row_group(at) for at in range(metadata.num_row_groups)]
    unpacked = sum(group.total_byte_size for group in groups)
    if max(unpacked, metadata.num_rows * _ROW_BYTES) > _limit(file):
        file.refuse(f"unpacks to over {MAX_TIMES:,} times its size.", _TOO_MUCH)


def _records(file: DataFile, columns: list[str], metadata: pq.FileMetaData) -> Iterator[Record]:
    number, size, limit, whole = 0, 0, _limit(file), file.path.stat().st_size
    with guarded(file.path, file.fault, WHAT, _DAMAGED):
        if not columns:
            yield from (Record(f"{file} row {at}", {}) for at in range(metadata.num_rows))
            return
        source = pq.ParquetFile(file.path, metadata=metadata)
        for group in range(metadata.num_row_groups):
            rows = _rows_at_once(file, columns, metadata, group)
            for batch in source.iter_batches(rows, row_groups=[group], columns=columns):
                size += sum(map(_size, batch.columns))
                if size > limit:
                    file.refuse(f"unpacks to over {MAX_TIMES:,} times its size.", _TOO_MUCH)
                done = whole * (number + batch.num_rows) // metadata.num_rows
                yield from _batch_records(file, batch, number, done)
                number += batch.num_rows


def _rows_at_once(file: DataFile, columns: list[str], metadata: pq.FileMetaData, group: int) -> int:
    """So many rows that a batch is of a bounded size, whatever its dictionaries hold."""
    schema, declared = metadata.schema.to_arrow_schema(), metadata.row_group(group)
    texts = [name for name in columns if holds_text(schema.field(name).type)]
    others = [schema.field(name).type for name in columns if name not in texts]
    # what a file says of single columns is not asked for: a wrong one ends the process in Arrow
    longest = 1 if all(map(pa.types.is_primitive, others)) else max(1, declared.total_byte_size)
    if texts and declared.num_rows:
        probe = pq.ParquetFile(file.path, metadata=metadata, read_dictionary=texts)
        batch = next(probe.iter_batches(1, row_groups=[group], columns=texts))
        for column in batch.columns:
            if pa.types.is_dictionary(column.type) and len(column.dictionary):
                longest = max(longest, pc.max(pc.binary_length(column.dictionary)).as_py() or 0)
    return max(1, min(BATCH_ROWS, BATCH_BYTES // longest))


def _size(column: pa.Array) -> int:
    """Bytes of a column's values; a dictionary's entry counts as often as it is used."""
    if not (pa.types.is_dictionary(column.type) and holds_text(column.type)):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary).take(column.indices)
    return int(column.indices.nbytes) + (pc.sum(lengths).as_py() or 0)


def _batch_records(
    file: DataFile, batch: pa.RecordBatch, first: int, done: int
) -> Iterator[Record]:
    names = batch.schema.names
    columns = [_values(column, lenient=file.lenient) for column in batch.columns]
    for number, values in enumerate(zip(*columns, strict=True), start=first):
        location = f"{file} row {number}"
        if any(value is _NOT_UTF8 for value in values):
            file.malformed(f"{location} is not UTF-8.")
        else:
            yield Record(location, dict(zip(names, values, strict=True)), done)


_NOT_UTF8 = object()


def _values(column: pa.Array, *, lenient: bool) -> list[Any]:
    """The values of a column; a text that is not UTF-8 as a mark, or mended."""
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        if not holds_text(column.type):
            return [_value(value) for value in column]
        dense = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        values = dense.cast(pa.large_binary()).to_pylist()
        return [raw if raw is None else _decoded(raw, lenient=lenient) for raw in values]


def _value(value: pa.Scalar) -> Any:
    try:
        return value.as_py()
    except UnicodeDecodeError:
        return _NOT_UTF8


def _decoded(raw: bytes, *, lenient: bool) -> Any:
    try:
        return raw.decode(errors="replace" if lenient else "strict")
    except UnicodeDecodeError:
        return _NOT_UTF8


def class_names(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Column → class names, where a Parquet file carries the features of ``datasets``."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"].items()
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return {}
    named = {name: value["names"] for name, value in features if _is_named(value)}
    return {name: names for name, names in named.items() if all(isinstance(n, str) for n in names)}


def _is_named(feature: Any) -> bool:
    return isinstance(feature, dict) and isinstance(feature.get("names"), list)


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
