"""Source rows: found in a record by its columns, checked, collected as an Arrow table."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from augment.contract import UNLABELED, SourceSplit, TaskSpec
from augment.errors import RowMalformed, SourceInvalid

MAX_CHARACTERS = 1_000_000
_PART_ROWS = 8192
_SKIP_HINT = "Mend the file, or leave such rows out, counted in the manifest: --skip-malformed"


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row as a reader found it, at a location for messages: ``train.tsv line 12``.

    The label and the row's own number are None where the file has none.
    """

    location: str
    texts: tuple[Any, ...]
    label: Any
    idx: int | None = None


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a file hold what a row needs.

    Only ``idx``, the row's own number, may be absent; ``hint`` says what to do about another.
    """

    texts: tuple[str, ...]
    label: str
    idx: str = "idx"
    hint: str = "Name the columns of your own data in a task file: augment init DATA > task.toml"

    def require(self, file: str, present: Collection[str], *, labeled: bool) -> None:
        """Check that the columns are there, the label's only where rows are labeled.

        Raises:
            SourceInvalid: One is missing.
        """
        for column in (*self.texts, self.label) if labeled else self.texts:
            if column not in present:
                found = ", ".join(present)[:200]
                raise SourceInvalid(f"{file} has no column {column!r}. Found: {found}.", self.hint)

    def row(self, location: str, record: Mapping[str, Any]) -> SourceRow:
        """The row of a record, given its location."""
        idx = record.get(self.idx)
        return SourceRow(
            location=location,
            texts=tuple(record[column] for column in self.texts),
            label=record.get(self.label),
            idx=_row_number(str(idx)) if isinstance(idx, int | str) else None,
        )


@dataclass(slots=True)
class SourceTableBuilder:
    """Collects rows of one split that fit the task; only test splits may be unlabeled.

    With ``skip_malformed``, malformed rows are counted in ``skipped`` instead of raising.
    """

    task: TaskSpec
    split: str
    skip_malformed: bool = False
    max_characters: int = MAX_CHARACTERS
    skipped: int = 0
    _parts: list[pa.Table] = field(default_factory=list)
    _rows: list[tuple[Any, ...]] = field(default_factory=list)

    @property
    def is_test(self) -> bool:
        """Whether rows may be unlabeled."""
        return self.split in self.task.splits.test

    def add(self, row: SourceRow) -> None:
        """Check a row and keep it.

        Raises:
            RowMalformed: A text is missing or oversized, or the label is not one of the task's.
        """
        try:
            texts = [self._text(value, row.location) for value in row.texts]
            self._rows.append((*texts, self._label(row), row.idx))
        except RowMalformed:
            if not self.skip_malformed:
                raise
            self.skipped += 1
        if len(self._rows) == _PART_ROWS:
            self._pack()

    def malformed(self, problem: str) -> None:
        """Refuse a row that could not even be split into columns.

        Raises:
            RowMalformed: Unless malformed rows are skipped.
        """
        if not self.skip_malformed:
            refuse_row(problem)
        self.skipped += 1

    def build(self, location: str) -> pa.Table:
        """The split as a table: the text columns, the label and ``idx``.

        The rows' own numbers are kept where all are distinct and not negative; otherwise rows are
        numbered from 0.

        Raises:
            SourceInvalid: There are no rows.
        """
        self._pack()
        table = pa.concat_tables(self._parts)
        if not table.num_rows:
            raise SourceInvalid(f"{location} has no rows.", "Expected at least one example.")
        idx = table["idx"]
        usable = not idx.null_count and pc.min(idx).as_py() >= 0
        if usable and pc.count_distinct(idx).as_py() == len(idx):
            return table
        numbers = pa.array(range(table.num_rows), pa.int64())
        return table.set_column(table.num_columns - 1, "idx", numbers)

    def _pack(self) -> None:
        """Put the collected rows away as Arrow arrays, a fifth of the size."""
        classes = self.task.label.kind == "classification"
        types = {name: pa.string() for name in self.task.text_columns}
        types[self.task.label.column] = pa.int64() if classes else pa.float32()
        types["idx"] = pa.int64()
        columns = [[row[i] for row in self._rows] for i in range(len(types))]
        self._parts.append(pa.table(columns, schema=pa.schema(types)))
        self._rows = []

    def _text(self, value: Any, location: str) -> str:
        if not isinstance(value, str):
            refuse_row(f"{location} has {value!r} where a text is expected.")
        length, limit = len(value), self.max_characters
        if length > limit:
            refuse_row(f"{location} has a text of {length:,} characters; the limit is {limit:,}.")
        try:
            value.encode()
        except UnicodeEncodeError:
            refuse_row(f"{location} has a text that is not valid Unicode.")
        return value

    def _label(self, row: SourceRow) -> int | float:
        value = row.label
        if self.is_test and value in (None, "", UNLABELED):
            return UNLABELED
        if value is None or value == "":
            refuse_row(f"{row.location} has no label.")
        return _score(value, row) if self.task.label.kind == "regression" else self._class(row)

    def _class(self, row: SourceRow) -> int:
        names, value = self.task.label.names, row.label
        if str(value) in names:
            return names.index(str(value))
        number = _integer(value)
        if number is None or not 0 <= number < len(names):
            refuse_row(
                f"{row.location} has label {value!r}; the task knows {', '.join(names)} "
                f"(or 0 to {len(names) - 1})."
            )
        return number


def refuse_row(problem: str) -> NoReturn:
    """Refuse a malformed row.

    Raises:
        RowMalformed: Always.
    """
    raise RowMalformed(problem, _SKIP_HINT)


def _score(value: Any, row: SourceRow) -> float:
    try:
        score = float(value)
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        refuse_row(f"{row.location} has score {value!r}; a finite number is expected.")
    return score


def _integer(value: Any) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if isinstance(value, str) or number == value else None


def _row_number(text: str) -> int | None:
    """A row's own number, or None where it is none that fits 64 bits."""
    return int(text) if text.isdecimal() and len(text) < 19 else None


def source_split(split: str, table: pa.Table) -> SourceSplit:
    """Name, row count and content digest of a split.

    The digest covers the rows, not the file: the same rows as TSV or as Parquet agree.
    """
    digest = hashlib.sha256()
    for name in table.column_names:
        digest.update(f"\0{name}\0".encode())
        for value in _values(table[name]):
            raw = value.encode() if isinstance(value, str) else struct.pack("<d", value)
            digest.update(struct.pack("<q", len(raw)))
            digest.update(raw)
    return SourceSplit(split=split, rows=table.num_rows, sha256=digest.hexdigest())


def _values(column: pa.ChunkedArray) -> Iterator[Any]:
    """The values of a column, a few at a time as Python objects."""
    for start in range(0, len(column), _PART_ROWS):
        yield from column.slice(start, _PART_ROWS).to_pylist()
