"""Source rows: found in a record by its columns, checked, collected as an Arrow table."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from augment.contract import SOFT_LABELS, UNLABELED, SourceSplit, TaskSpec, content_digest
from augment.contract.data_files import listed, quoted
from augment.contract.foreign import counted
from augment.errors import RowMalformed, SourceInvalid
from augment.sources.labels import LabelReader, LabelUnreadable, short
from augment.sources.soft_labels import Distribution, SoftLabelReader, SoftLabelsUnreadable

MAX_CHARACTERS = 1_000_000
_PART_ROWS = 8192
_MANY = 0.1
"""Share of malformed rows from which on it is said in words that they are left out."""
SKIP_HINT = "Mend the file, or leave such rows out, counted in the manifest: --skip-malformed"
_LABELED_HINT = (
    "Rows with labels belong into the training split; or take the label's column out, or leave "
    "such rows out, counted in the manifest: --skip-malformed"
)


Labeled = Literal["always", "maybe", "never"]
"""Whether rows of a split have labels: training and validation rows, test rows, unlabeled rows."""
FLOATS = pa.list_(pa.field("element", pa.float32()))


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row as a reader found it, at a location for messages: ``train.tsv line 12``.

    The label and the row's own number are None where the file has none; ``record`` is all that
    stands there, where soft labels are looked for.
    """

    location: str
    texts: tuple[Any, ...]
    label: Any
    idx: int | None = None
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a file hold what a row needs.

    Only ``idx``, the row's own number, may be absent; ``hint`` says what to do about another.
    With ``gaps`` it may be missing in some rows, which makes it a decimal in the others.
    """

    texts: tuple[str, ...]
    label: str
    idx: str = "idx"
    hint: str = "Name the columns of your own data in a task file: augment init DATA > task.toml"
    gaps: bool = False

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
        idx = whole(record.get(self.idx)) if self.gaps else record.get(self.idx)
        return SourceRow(
            location=location,
            texts=tuple(record[column] for column in self.texts),
            label=record.get(self.label),
            idx=_row_number(str(idx)) if isinstance(idx, int | str) else None,
            record=record,
        )


class Screen(Protocol):
    """Keeps rows out of a split for what their texts are."""

    def refuses(self, row: SourceRow) -> bool:
        """Whether a well-formed row is left out; the screen itself counts why."""


@dataclass(slots=True)
class SourceTableBuilder:
    """Collects rows of one split that fit the task.

    With ``skip_malformed``, malformed rows are counted in ``skipped``, by reason, instead of
    raising; ``labels`` is shared by all splits of a task.

    Attributes:
        labeled: Whether rows have labels; told by the split if left out. Without one it is -1 in
            a test split, else null. Rows that never have one are numbered as they are read.
        soft_labels: Reads the distributions of rows, where they are wanted.
        screen: Asked of every row that is well-formed.
        skipped: Malformed rows left out, by reason.
        read: Well-formed rows.
        files: What was read.
    """

    task: TaskSpec
    split: str
    skip_malformed: bool = False
    max_characters: int = MAX_CHARACTERS
    labels: LabelReader | None = None
    labeled: Labeled | None = None
    soft_labels: SoftLabelReader | None = None
    screen: Screen | None = None
    skipped: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)
    read: int = 0
    files: list[Path] = field(default_factory=list)
    _labels: LabelReader = field(init=False)
    _labeled: Labeled = field(init=False)
    _first_problem: str = ""
    _lost: Counter[int | None] = field(default_factory=Counter)
    _parts: list[pa.Table] = field(default_factory=list)
    _rows: list[tuple[Any, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._labels = self.labels or LabelReader(self.task.label)
        self._labeled = self.labeled or _labeled(self.task, self.split)

    @property
    def needs_labels(self) -> bool:
        """Whether every row must have a label."""
        return self._labeled == "always"

    def wanted(self, columns: Columns) -> tuple[str, ...]:
        """The columns of a file that are read."""
        soft = self.soft_labels.wanted if self.soft_labels else ()
        return (*columns.texts, columns.label, columns.idx, *soft)

    def require(self, file: str, present: Collection[str], columns: Columns) -> None:
        """Check the columns that every row of a file has.

        Raises:
            SourceInvalid: One is missing, or those of soft labels do not fit the classes.
        """
        columns.require(file, present, labeled=self.needs_labels)
        try:
            if self.soft_labels:
                self.soft_labels.find(present)
        except SoftLabelsUnreadable as error:
            raise SourceInvalid(f"{file} {error}", error.hint) from error

    def add_record(self, location: str, record: Mapping[str, Any], columns: Columns) -> None:
        """Find a row in a record, check it and keep it.

        Raises:
            RowMalformed: A column is missing, or as ``add``.
        """
        wanted = (*columns.texts, columns.label) if self.needs_labels else columns.texts
        absent = next((name for name in wanted if name not in record), None)
        if absent is None:
            self.add(columns.row(location, record))
        else:
            problem = f"{location} has no column {quoted(absent)}. Found: {listed(record)}."
            self.malformed(problem, columns.hint, record.get(columns.label), "column_missing")

    def add(self, row: SourceRow) -> None:
        """Check a row and keep it, unless the screen refuses it.

        Raises:
            RowMalformed: A text is missing or oversized, the label is not one of the task's, or
                the soft labels are no distribution over its classes.
        """
        try:
            texts = [self._text(value, row.location) for value in row.texts]
            number = self.read if self._labeled == "never" else row.idx
            found = (*texts, self._label(row), number, self._soft(row))
        except RowMalformed as error:
            self.malformed(error.problem, error.hint, row.label, error.reason)
            return
        self.read += 1
        if self.screen is None or not self.screen.refuses(row):
            self._rows.append(found)
        if len(self._rows) == _PART_ROWS:
            self._pack()

    def malformed(
        self,
        problem: str,
        hint: str = SKIP_HINT,
        label: Any = None,
        reason: str = "line_malformed",
    ) -> None:
        """Refuse a row, whatever is wrong with it; ``label`` is what it says of its class.

        Raises:
            RowMalformed: Unless malformed rows are skipped.
        """
        if not self.skip_malformed:
            raise RowMalformed(problem, hint, reason)
        self.skipped[reason] += 1
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
        table = self.collect(location)
        self._say_what_is_lost(location, table)
        idx = table["idx"]
        if idx.null_count or pc.min(idx).as_py() < 0:
            numbers = pa.array(range(table.num_rows), pa.int64())
            return table.set_column(table.column_names.index("idx"), "idx", numbers)
        if pc.count_distinct(idx).as_py() < len(idx):
            counts = {each["values"]: each["counts"] for each in pc.value_counts(idx).to_pylist()}
            raise SourceInvalid(
                f"{location} has the row number {max(counts, key=counts.__getitem__)} "
                f"{max(counts.values())} times.",
                "A column 'idx' (GLUE: 'index') numbers the rows: mend it, or take it out.",
            )
        return table

    def collect(self, location: str) -> pa.Table:
        """The rows as they were read: ``idx`` is null where a row has no number of its own.

        A last column ``soft_labels`` is there where a row has them.

        Raises:
            SourceInvalid: There are no rows.
        """
        self._pack()
        table = pa.concat_tables(self._parts)
        skipped = self.skipped.total()
        if not self.read and skipped:
            raise SourceInvalid(
                f"{location}: all {counted(skipped, 'row', 'are')} malformed. The "
                f"first: {self._first_problem}"
            )
        if not self.read:
            raise SourceInvalid(f"{location} has no rows.", "Expected at least one example.")
        share = skipped / (skipped + self.read)
        if share > _MANY:
            self.warnings.append(
                f"{self.split}: {counted(skipped, 'malformed row')} ({share:.0%}) left out. "
                f"The first: {self._first_problem}"
            )
        soft = self.soft_labels
        if soft is None or not soft.rows:
            return table.drop_columns(SOFT_LABELS)
        if soft.completed:
            self.warnings.append(
                f"{self.split}: {soft.completed:,} of "
                f"{counted(soft.rows, 'distribution', 'name')} their best "
                "classes alone; what these leave is shared evenly among the others."
            )
        return table

    def _say_what_is_lost(self, location: str, table: pa.Table) -> None:
        """Refuse to leave out a whole class; warn of classes without rows."""
        kept = set(table[self.task.label.column].unique().to_pylist())
        gone = {n for i, n in enumerate(self.task.label.names) if i not in kept}
        lost = {self.task.label.names[i] for i in self._lost if i is not None} & gone
        if lost or (gone and None in self._lost):
            names = ", ".join(sorted(lost or gone))
            raise SourceInvalid(
                f"{location}: without its "
                f"{counted(self.skipped.total(), 'malformed row')} no row of the "
                f"class {names} is left. The first: {self._first_problem}",
                "A class must not be lost silently: mend the file, or the names in the task file.",
            )
        if gone and self.split == self.task.splits.train:
            names = listed(sorted(gone))
            self.warnings.append(f"{self.split}: no row has the label {names}, which is in names.")

    def _pack(self) -> None:
        """Put the collected rows away as Arrow arrays, a fifth of the size."""
        classes = self.task.label.kind == "classification"
        types = {name: pa.string() for name in self.task.text_columns}
        types[self.task.label.column] = pa.int64() if classes else pa.float32()
        types |= {"idx": pa.int64(), SOFT_LABELS: FLOATS}
        columns = [[row[i] for row in self._rows] for i in range(len(types))]
        self._parts.append(pa.table(columns, schema=pa.schema(types)))
        self._rows = []

    def _text(self, value: Any, location: str) -> str:
        if not isinstance(value, str):
            problem = f"{location} has {short(value)} where a text is expected."
            raise RowMalformed(problem, SKIP_HINT, "text_missing")
        length, limit = len(value), self.max_characters
        if length > limit:
            problem = (
                f"{location} has a text of {counted(length, 'character')}; the limit is {limit:,}."
            )
            raise RowMalformed(problem, SKIP_HINT, "text_too_long")
        try:
            value.encode()
        except UnicodeEncodeError:
            problem = f"{location} has a text that is not valid Unicode."
            raise RowMalformed(problem, SKIP_HINT, "text_not_unicode") from None
        return value

    def _label(self, row: SourceRow) -> int | float | None:
        is_missing = self._labels.is_missing(row.label)
        if self._labeled == "never":
            if is_missing or _stands_for_none(row.label):
                return None
            problem = f"{row.location} has the label {short(row.label)}, but is one of the rows "
            problem += "without labels."
            raise RowMalformed(problem, _LABELED_HINT, "label_given")
        may_lack = self._labeled == "maybe"
        if may_lack and not self._is_test and self._has_none(row.label):
            return None
        try:
            return self._labels.read(row.label, row.location, may_be_unlabeled=may_lack)
        except LabelUnreadable as error:
            reason = "label_missing" if is_missing else "label_unknown"
            raise RowMalformed(f"{row.location} {error}", SKIP_HINT, reason) from None

    def _has_none(self, label: Any) -> bool:
        """Whether a label says that there is none; -1 does not where labels are scores."""
        if self.task.label.kind == "classification":
            return self._labels.is_missing(label) or _stands_for_none(label)
        return label is None or label == "" or (isinstance(label, float) and math.isnan(label))

    @property
    def _is_test(self) -> bool:
        return self.split in self.task.splits.test

    def _soft(self, row: SourceRow) -> Distribution | None:
        if self.soft_labels is None:
            return None
        try:
            return self.soft_labels.read(row.record)
        except SoftLabelsUnreadable as error:
            hint = "\n".join(filter(None, (error.hint, SKIP_HINT)))
            problem = f"{row.location} {error}"
            raise RowMalformed(problem, hint, f"soft_labels_{error.reason}") from None


def _stands_for_none(label: Any) -> bool:
    """What a column of numbers has in the place of no label: -1.0, or no number."""
    return isinstance(label, float) and (label == UNLABELED or math.isnan(label))


def _labeled(task: TaskSpec, split: str) -> Labeled:
    if split == task.splits.unlabeled:
        return "never"
    return "maybe" if split in task.splits.test else "always"


def _row_number(text: str) -> int | None:
    """A row's own number, or None where it is none that fits 64 bits."""
    return int(text) if text.isdecimal() and len(text) < 19 else None


def whole(value: Any) -> Any:
    """A whole number that is a decimal because others of its column are missing; None for these."""
    if isinstance(value, float):
        return None if math.isnan(value) else int(value) if value.is_integer() else value
    decimal = re.fullmatch(r"([0-9]+)\.0", value) if isinstance(value, str) else None
    return decimal[1] if decimal else value


def source_split(split: str, table: pa.Table) -> SourceSplit:
    """Name, row count and content digest of a split.

    The digest covers the rows, not the file: the same rows as TSV or as Parquet agree.
    """
    digest = content_digest({name: column_values(table[name]) for name in table.column_names})
    return SourceSplit(split=split, rows=table.num_rows, sha256=digest)


def column_values(column: pa.ChunkedArray) -> Iterator[list[Any]]:
    """The values of a column, a few at a time as Python objects."""
    for start in range(0, len(column), _PART_ROWS):
        yield column.slice(start, _PART_ROWS).to_pylist()
