"""Rows of a version: one record each on their way, then an Arrow table of the contract's schema."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from augment.contract import SOFT_LABELS, TaskSpec, arrow_schema, rejected_schema
from augment.replacement.edits import Edit

Texts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OutputRow:
    """A source row, or a row that was generated from it.

    Attributes:
        idx: Number of the source row.
        texts: The row's texts in the order of the task's text columns.
        original: The source row's texts; none where a row of another tool has no source row.
        variant: The row's number among those of its source row; 0 for the source row itself.
        column: Which text was augmented, for a generated row.
        edits: The replacements in that text.
        generator: What made the row; None for a source row.
        own_label: Whether a row of another tool has a label that is not its source row's.
        reason: Why the row is refused; empty for a row that passes.
        soft_labels: The distribution that came with the source row, in the order of the task's
            labels, where one did.
        logits: The teacher's, in the order of the task's labels, where they are kept.
    """

    idx: int
    texts: Texts
    label: int | float | None
    original: Texts
    variant: int = 0
    column: int = 0
    edits: tuple[Edit, ...] = ()
    generator: str | None = None
    own_label: bool = False
    reason: str = ""
    soft_labels: tuple[float, ...] | None = None
    logits: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class ChunkOutput:
    """What becomes of a chunk of source rows.

    Attributes:
        rows: The source rows and the generated rows that pass.
        counts: Rows and words by reason.
        rejected: The generated rows that do not pass, where the recipe keeps them.
        store_error: Why the worker's candidate store is not used any more, or empty.
        store_notice: What the worker found damaged in it, or empty.
    """

    number: int
    rows: pa.Table
    counts: dict[str, int]
    rejected: pa.Table | None = None
    store_error: str = ""
    store_notice: str = ""


def source_rows(table: pa.Table, task: TaskSpec) -> list[OutputRow]:
    """The rows of a source table with text columns, label, ``idx`` and maybe soft labels."""
    texts = zip(*(table[column].to_pylist() for column in task.text_columns), strict=True)
    labels, numbers = table[task.label.column].to_pylist(), table["idx"].to_pylist()
    soft = table[SOFT_LABELS].to_pylist() if has_soft_labels(table) else [None] * len(numbers)
    return [
        OutputRow(idx, row_texts, label, original=row_texts, soft_labels=own and tuple(own))
        for idx, row_texts, label, own in zip(numbers, texts, labels, soft, strict=True)
    ]


def has_soft_labels(table: pa.Table) -> bool:
    """Whether a source table has the column; all splits of a source do, or none."""
    return SOFT_LABELS in table.column_names


def rows_table(
    rows: Sequence[OutputRow], task: TaskSpec, *, soft_labels: bool, teacher_logits: bool
) -> pa.Table:
    """Rows that pass, as a table of ``arrow_schema``."""
    schema = arrow_schema(task, soft_labels=soft_labels, teacher_logits=teacher_logits)
    soft = [[row.soft_labels for row in rows]] * soft_labels
    return _table(rows, task, schema, *soft, *[[row.logits for row in rows]] * teacher_logits)


def rejected_table(rows: Sequence[OutputRow], task: TaskSpec) -> pa.Table:
    """Rows that are refused, as a table of ``rejected_schema``."""
    return _table(rows, task, rejected_schema(task), [row.reason for row in rows])


def _table(
    rows: Sequence[OutputRow], task: TaskSpec, schema: pa.Schema, *more: Sequence[object]
) -> pa.Table:
    """The columns that both schemas share and those behind them."""
    columns: list[Sequence[object]] = [
        *([row.texts[i] for row in rows] for i in range(len(task.text_columns))),
        [row.label for row in rows],
        [row.idx for row in rows],
        [row.variant for row in rows],
        [row.generator for row in rows],
        *more,
    ]
    at = schema.get_field_index("edits")
    types = [field.type for field in schema]
    flat = zip(columns, types[:at] + types[at + 1 :], strict=True)
    arrays = [pa.array(values, kind) for values, kind in flat]
    arrays.insert(at, _edits(rows, task, types[at]))
    return pa.Table.from_arrays(arrays, schema=schema)


def _edits(rows: Sequence[OutputRow], task: TaskSpec, kind: pa.ListType) -> pa.ListArray:
    """The edits of all rows as flat arrays with offsets."""
    edits = [edit for row in rows for edit in row.edits]
    values: list[Sequence[object]] = [
        [task.text_columns[row.column] for row in rows for _ in row.edits],
        [edit.start for edit in edits],
        [edit.end for edit in edits],
        [edit.before for edit in edits],
        [edit.after for edit in edits],
        [edit.source for edit in edits],
    ]
    fields = list(kind.value_type)
    arrays = [pa.array(of, field.type) for of, field in zip(values, fields, strict=True)]
    ends = itertools.accumulate((len(row.edits) for row in rows), initial=0)
    offsets = pa.array(list(ends), pa.int32())
    nested = pa.StructArray.from_arrays(arrays, fields=fields)
    return pa.ListArray.from_arrays(offsets, nested, type=kind)


def spread(table: pa.Table, rows: int) -> pa.Table:
    """So many rows from all over a table: neighbors are often alike."""
    step = max(1, table.num_rows // rows)
    return table.take(pa.array(range(0, table.num_rows, step)[:rows]))


def texts_of(table: pa.Table, task: TaskSpec) -> list[str]:
    """The texts of all text columns, one column after the other."""
    return [text for column in task.text_columns for text in table[column].to_pylist()]


def originals(
    table: pa.Table, task: TaskSpec, *, soft_labels: bool = False, teacher_logits: bool = False
) -> pa.Table:
    """Rows of a split that is not augmented, with the same columns; no logits are known of them."""
    schema = arrow_schema(task, soft_labels=soft_labels, teacher_logits=teacher_logits)
    count = table.num_rows
    known = {
        "variant": pa.array([0] * count, pa.int32()),
        "edits": pa.array([[]] * count, schema.field("edits").type),
    }
    columns = [
        table[field.name] if field.name in table.column_names
        else known.get(field.name, pa.nulls(count, field.type))
        for field in schema
    ]  # fmt: skip
    return pa.Table.from_arrays(columns, names=schema.names).cast(schema)
