"""One chunk of source rows → the rows of a version, with everything counted.

A chunk is the unit of resume and of distribution: its output depends on its rows, the recipe and
the models alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from augment.candidates import CandidateFinder
from augment.contract import TaskSpec, arrow_schema
from augment.quality import Gates
from augment.replace import Edit, Sampled, Variant
from augment.sampling import TextOfRow, sample_texts
from augment.words import Route

CHUNK_ROWS = 512


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """The rows of one chunk and its counts by reason."""

    rows: pa.Table
    counts: dict[str, int]


def augment_chunk(
    table: pa.Table,
    task: TaskSpec,
    finder: CandidateFinder,
    gates: Gates,
    on_batch: Callable[[int], None] | None = None,
) -> ChunkResult:
    """Augment the rows of a chunk.

    Every text column is augmented in turn around the untouched other one. Variant 0 is the
    original; sample ``v`` of column ``c`` has the number ``c * N + v``.

    Args:
        table: Text columns, label and ``idx`` of the source rows.
        task: Their task.
        finder: Candidates by the recipe.
        gates: What a generated row must pass; what does not is counted by its reason.
        on_batch: Called with the number of masked positions done, for progress.

    Returns:
        The originals and their variants, row by row.
    """
    records = table.to_pylist()
    texts = _texts_of(records, task, finder)
    sampled = sample_texts(texts, finder, task.name, on_batch)
    rows = _Rows(task)
    counts = _count(texts, sampled)
    own = iter(sampled)
    for record in records:
        rows.add(_Row(record, 0, None, None))
        drawn = [
            _Row(record, position * finder.recipe.variants + variant.number, column, variant)
            for position, column in enumerate(task.text_columns)
            for variant in next(own).variants
        ]
        original = [record[column] for column in task.text_columns]
        reasons = gates.reasons(original, [row.texts(task) for row in drawn])
        for row, reason in zip(drawn, reasons, strict=True):
            if reason:
                counts[f"dropped.{reason}"] += 1
            else:
                rows.add(row)
    counts.update(rows.replaced())
    counts["rows.source"] = len(records)
    counts["rows.augmented"] = len(rows.numbers) - len(records)
    return ChunkResult(rows.build(), dict(counts))


@dataclass(frozen=True, slots=True)
class _Row:
    """A source row (no column, no variant), or one variant of one of its columns."""

    record: dict[str, Any]
    number: int
    column: str | None
    variant: Variant | None

    def texts(self, task: TaskSpec) -> list[str]:
        """The row's texts in the task's order."""
        return [
            self.variant.text if self.variant and name == self.column else self.record[name]
            for name in task.text_columns
        ]


class _Rows:
    """Collects the rows of a chunk column by column; nested edits as flat lists with offsets."""

    def __init__(self, task: TaskSpec) -> None:
        self._task = task
        self._texts: list[list[str]] = [[] for _ in task.text_columns]
        self._labels: list[int | float] = []
        self._idx: list[int] = []
        self.numbers: list[int] = []
        self._columns: list[str] = []
        self._edits: list[Edit] = []
        self._ends = [0]

    def add(self, row: _Row) -> None:
        """Add a row."""
        for values, text in zip(self._texts, row.texts(self._task), strict=True):
            values.append(text)
        self._labels.append(row.record[self._task.label.column])
        self._idx.append(row.record["idx"])
        self.numbers.append(row.number)
        if row.variant and row.column:
            self._edits += row.variant.edits
            self._columns += [row.column] * len(row.variant.edits)
        self._ends.append(len(self._edits))

    def replaced(self) -> Counter[str]:
        """How many words were replaced, by source."""
        return Counter(f"replaced.{edit.source}" for edit in self._edits)

    def build(self) -> pa.Table:
        """The rows as a table of the contract's schema."""
        schema = arrow_schema(self._task)
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
        flat = [*self._texts, self._labels, self._idx, self.numbers]
        arrays = [
            pa.array(column, kind) for column, kind in zip(flat, schema.types[:-1], strict=True)
        ]
        nested = pa.ListArray.from_arrays(offsets, edits, type=schema.field("edits").type)
        return pa.Table.from_arrays([*arrays, nested], schema=schema)


def originals(table: pa.Table, task: TaskSpec) -> pa.Table:
    """Rows of a split that is not augmented, with the same columns."""
    schema = arrow_schema(task)
    count = table.num_rows
    table = table.append_column("variant", pa.array([0] * count, pa.int32()))
    return table.append_column("edits", pa.array([[]] * count, schema.field("edits").type)).cast(
        schema
    )


def _texts_of(
    records: list[dict[str, Any]], task: TaskSpec, finder: CandidateFinder
) -> list[TextOfRow]:
    values = [record[column] for record in records for column in task.text_columns]
    distinct = list(dict.fromkeys(values))
    words = dict(zip(distinct, finder.words_of(distinct), strict=True))
    return [
        TextOfRow(record["idx"], column, record[column], words[record[column]])
        for record in records
        for column in task.text_columns
    ]


def _count(texts: list[TextOfRow], sampled: list[Sampled]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(
            f"words.{word.route.value}" for word in text.words if word.route is not Route.SPACE
        )
    for result in sampled:
        counts["dropped.duplicate"] += result.duplicate
        counts["dropped.identity"] += result.identity
    return counts
