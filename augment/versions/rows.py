"""Rows of a version, collected one by one and built as an Arrow table of the contract's schema."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from augment.contract import TaskSpec, arrow_schema, rejected_schema
from augment.filters.model_filters import Case, Texts
from augment.replacement.edits import Edit, Variant


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """What a chunk gives.

    Attributes:
        rows: The originals and the generated rows that pass.
        counts: Rows and words by reason.
        rejected: The generated rows that do not, where the recipe keeps them.
    """

    rows: pa.Table
    counts: dict[str, int]
    rejected: pa.Table | None = None


@dataclass(frozen=True, slots=True)
class OutputRow:
    """A source row (no column, no variant), or one variant of one of its columns.

    Attributes:
        record: The source row.
        number: The row's number among those of its source row; 0 for the source row itself.
        column: The text column that was augmented.
        variant: The sample.
        reason: Why the row is refused; empty for a row that passes.
        logits: The teacher's, where they are kept.
    """

    record: dict[str, Any]
    number: int = 0
    column: str | None = None
    variant: Variant | None = None
    reason: str = ""
    logits: tuple[float, ...] | None = None

    def texts(self, task: TaskSpec) -> Texts:
        """The row's texts in the task's order."""
        return tuple(
            self.variant.text if self.variant and name == self.column else self.record[name]
            for name in task.text_columns
        )

    def case(self, task: TaskSpec) -> Case:
        """The row as judges see it."""
        return Case(
            texts=self.texts(task),
            original=tuple(self.record[name] for name in task.text_columns),
            column=None if self.column is None else task.text_columns.index(self.column),
            label=self.record[task.label.column],
        )


class OutputTableBuilder:
    """Collects rows column by column; nested edits as flat lists with offsets."""

    def __init__(self, task: TaskSpec) -> None:
        self._task = task
        self._texts: list[list[str]] = [[] for _ in task.text_columns]
        self._labels: list[int | float] = []
        self._idx: list[int] = []
        self._numbers: list[int] = []
        self._columns: list[str] = []
        self._edits: list[Edit] = []
        self._ends = [0]
        self._reasons: list[str] = []
        self._logits: list[tuple[float, ...] | None] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, row: OutputRow) -> None:
        """Add a row."""
        for values, text in zip(self._texts, row.texts(self._task), strict=True):
            values.append(text)
        self._labels.append(row.record[self._task.label.column])
        self._idx.append(row.record["idx"])
        self._numbers.append(row.number)
        if row.variant and row.column:
            self._edits += row.variant.edits
            self._columns += [row.column] * len(row.variant.edits)
        self._ends.append(len(self._edits))
        self._reasons.append(row.reason)
        self._logits.append(row.logits)

    def replaced(self) -> Counter[str]:
        """How many words were replaced, by source."""
        return Counter(f"replaced.{edit.source}" for edit in self._edits)

    def build(self, *, teacher_logits: bool) -> pa.Table:
        """The rows as a table of ``arrow_schema``."""
        schema = arrow_schema(self._task, teacher_logits=teacher_logits)
        return self._build(schema, [self._logits] if teacher_logits else [])

    def build_rejected(self) -> pa.Table:
        """The rows as a table of ``rejected_schema``."""
        return self._build(rejected_schema(self._task), [self._reasons])

    def _build(self, schema: pa.Schema, more: list[Any]) -> pa.Table:
        edits = pa.StructArray.from_arrays(
            [
                pa.array(self._columns, pa.string()),
                pa.array([edit.start for edit in self._edits], pa.int32()),
                pa.array([edit.end for edit in self._edits], pa.int32()),
                pa.array([edit.before for edit in self._edits], pa.string()),
                pa.array([edit.after for edit in self._edits], pa.string()),
                pa.array([edit.source for edit in self._edits], pa.string()),
            ],
            fields=list(schema.field("edits").type.value_type),
        )
        offsets = pa.array(self._ends, pa.int32())
        nested = pa.ListArray.from_arrays(offsets, edits, type=schema.field("edits").type)
        flat = [*self._texts, self._labels, self._idx, self._numbers]
        arrays = [
            *(pa.array(values, schema.types[i]) for i, values in enumerate(flat)),
            nested,
            *(pa.array(values, schema.types[len(flat) + 1 + i]) for i, values in enumerate(more)),
        ]
        return pa.Table.from_arrays(arrays, schema=schema)


def spread(table: pa.Table, rows: int) -> pa.Table:
    """So many rows from all over a table: neighbours are often alike."""
    step = max(1, table.num_rows // rows)
    return table.take(pa.array(range(0, table.num_rows, step)[:rows]))


def texts_of(table: pa.Table, task: TaskSpec) -> list[str]:
    """The texts of all text columns, one column after the other."""
    return [text for column in task.text_columns for text in table[column].to_pylist()]


def originals(table: pa.Table, task: TaskSpec, *, teacher_logits: bool = False) -> pa.Table:
    """Rows of a split that is not augmented, with the same columns; no logits are known of them."""
    schema = arrow_schema(task, teacher_logits=teacher_logits)
    count = table.num_rows
    table = table.append_column("variant", pa.array([0] * count, pa.int32()))
    table = table.append_column("edits", pa.array([[]] * count, schema.field("edits").type))
    for field in list(schema)[table.num_columns :]:
        table = table.append_column(field, pa.nulls(count, field.type))
    return table.cast(schema)
