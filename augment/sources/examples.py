"""Source rows: found in a record by its columns, checked, collected as an Arrow table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from augment.contract import SourceSplit, TaskSpec, content_digest
from augment.contract.data_files import listed, quoted
from augment.errors import RowMalformed, SourceInvalid
from augment.sources.labels import LabelReader, LabelUnreadable

MAX_CHARACTERS = 1_000_000
_PART_ROWS = 8192
_MANY = 0.1
"""Share of malformed rows from which on it is said in words that they are left out."""
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
                found = listed(present)
                problem = f"{file} has no column {quoted(column)}. Found: {found}."
                raise SourceInvalid(problem, self.hint)

    def row(self, location: str, record: Mapping[str, Any]) -> SourceRow:
        """The row of a record that has the columns, given its location."""
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

    With ``skip_malformed``, malformed rows are counted in ``skipped`` instead of raising;
    ``labels`` is shared by all splits of a task.
    """

    task: TaskSpec
    split: str
    skip_malformed: bool = False
    max_characters: int = MAX_CHARACTERS
    labels: LabelReader | None = None
    skipped: int = 0
    warnings: list[str] = field(default_factory=list)
    _labels: LabelReader = field(init=False)
    _first_problem: str = ""
    _lost: Counter[int | None] = field(default_factory=Counter)
    _parts: list[pa.Table] = field(default_factory=list)
    _rows: list[tuple[Any, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._labels = self.labels or LabelReader(self.task.label)

    @property
    def is_test(self) -> bool:
        """Whether rows may be unlabeled."""
        return self.split in self.task.splits.test

    def add_record(self, location: str, record: Mapping[str, Any], columns: Columns) -> None:
        """Find a row in a record, check it and keep it.

        Raises:
            RowMalformed: A column is missing, or as ``add``.
        """
        wanted = columns.texts if self.is_test else (*columns.texts, columns.label)
        absent = next((name for name in wanted if name not in record), None)
        if absent is None:
            self.add(columns.row(location, record))
        else:
            problem = f"{location} has no column {quoted(absent)}. Found: {listed(record)}."
            self.malformed(problem, columns.hint, record.get(columns.label))

    def add(self, row: SourceRow) -> None:
        """Check a row and keep it.

        Raises:
            RowMalformed: A text is missing or oversized, or the label is not one of the task's.
        """
        try:
            texts = [self._text(value, row.location) for value in row.texts]
            self._rows.append((*texts, self._label(row), row.idx))
        except RowMalformed as error:
            self.malformed(error.problem, error.hint, row.label)
        if len(self._rows) == _PART_ROWS:
            self._pack()

    def malformed(self, problem: str, hint: str = _SKIP_HINT, label: Any = None) -> None:
        """Refuse a row, whatever is wrong with it; ``label`` is what it says of its class.

        Raises:
            RowMalformed: Unless malformed rows are skipped.
        """
        if not self.skip_malformed:
            raise RowMalformed(problem, hint)
        self.skipped += 1
        self._first_problem = self._first_problem or problem
        known = self._labels.known_class(label)
        if known is not None or self._labels.resembles_a_class(label):
            self._lost[known] += 1

    def build(self, location: str) -> pa.Table:
        """The split as a table: the text columns, the label and ``idx``.

        The rows' own numbers are kept where all are there and not negative; otherwise rows are
        numbered from 0.

        Raises:
            SourceInvalid: There are no rows, a class is lost with the malformed ones, or a row
                number stands twice.
        """
        self._pack()
        table = pa.concat_tables(self._parts)
        if not table.num_rows and self.skipped:
            raise SourceInvalid(
                f"{location}: all {self.skipped:,} rows are malformed. The first: "
                f"{self._first_problem}"
            )
        if not table.num_rows:
            raise SourceInvalid(f"{location} has no rows.", "Expected at least one example.")
        self._say_what_is_lost(location, table)
        idx = table["idx"]
        if idx.null_count or pc.min(idx).as_py() < 0:
            numbers = pa.array(range(table.num_rows), pa.int64())
            return table.set_column(table.num_columns - 1, "idx", numbers)
        if pc.count_distinct(idx).as_py() < len(idx):
            counts = {each["values"]: each["counts"] for each in pc.value_counts(idx).to_pylist()}
            raise SourceInvalid(
                f"{location} has the row number {max(counts, key=counts.__getitem__)} "
                f"{max(counts.values())} times.",
                "A column 'idx' (GLUE: 'index') numbers the rows: mend it, or take it out.",
            )
        return table

    def _say_what_is_lost(self, location: str, table: pa.Table) -> None:
        """Refuse to leave out a whole class; warn of much left out and of classes without rows."""
        kept = set(table[self.task.label.column].unique().to_pylist())
        gone = {n for i, n in enumerate(self.task.label.names) if i not in kept}
        lost = {self.task.label.names[i] for i in self._lost if i is not None} & gone
        if lost or (gone and None in self._lost):
            names = ", ".join(sorted(lost or gone))
            raise SourceInvalid(
                f"{location}: without its {self.skipped:,} malformed rows no row of the class "
                f"{names} is left. The first: {self._first_problem}",
                "A class must not be lost silently: mend the file, or the names in the task file.",
            )
        share = self.skipped / (self.skipped + table.num_rows)
        if share > _MANY:
            self.warnings.append(
                f"{self.split}: {self.skipped:,} rows ({share:.0%}) are malformed and left out. "
                f"The first: {self._first_problem}"
            )
        if gone and self.split == self.task.splits.train:
            names = listed(sorted(gone))
            self.warnings.append(f"{self.split}: no row has the label {names}, which is in names.")

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
            refuse_row(f"{location} has {repr(value)[:80]} where a text is expected.")
        length, limit = len(value), self.max_characters
        if length > limit:
            refuse_row(f"{location} has a text of {length:,} characters; the limit is {limit:,}.")
        try:
            value.encode()
        except UnicodeEncodeError:
            refuse_row(f"{location} has a text that is not valid Unicode.")
        return value

    def _label(self, row: SourceRow) -> int | float:
        try:
            return self._labels.read(row.label, row.location, may_be_unlabeled=self.is_test)
        except LabelUnreadable as error:
            refuse_row(f"{row.location} {error}")


def refuse_row(problem: str) -> NoReturn:
    """Refuse a malformed row.

    Raises:
        RowMalformed: Always.
    """
    raise RowMalformed(problem, _SKIP_HINT)


def _row_number(text: str) -> int | None:
    """A row's own number, or None where it is none that fits 64 bits."""
    return int(text) if text.isdecimal() and len(text) < 19 else None


def source_split(split: str, table: pa.Table) -> SourceSplit:
    """Name, row count and content digest of a split.

    The digest covers the rows, not the file: the same rows as TSV or as Parquet agree.
    """
    digest = content_digest({name: _values(table[name]) for name in table.column_names})
    return SourceSplit(split=split, rows=table.num_rows, sha256=digest)


def _values(column: pa.ChunkedArray) -> Iterator[list[Any]]:
    """The values of a column, a few at a time as Python objects."""
    for start in range(0, len(column), _PART_ROWS):
        yield column.slice(start, _PART_ROWS).to_pylist()
