"""One chunk of source rows → the rows of a version, with everything counted.

A chunk is the unit of resume and of distribution: its output depends on its rows, the recipe and
the models alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from augment.candidates import CandidateFinder
from augment.contract import TaskSpec, arrow_schema
from augment.replace import Sampled
from augment.sampling import TextOfRow, sample_texts

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
    on_batch: Callable[[int], None] | None = None,
) -> ChunkResult:
    """Augment the rows of a chunk.

    Every text column is augmented in turn around the untouched other one. Variant 0 is the
    original; sample ``v`` of column ``c`` has the number ``c * N + v``.

    Args:
        table: Text columns, label and ``idx`` of the source rows.
        task: Their task.
        finder: Candidates by the recipe.
        on_batch: Called with the number of masked positions done, for progress.

    Returns:
        The originals and their variants, row by row.
    """
    records = table.to_pylist()
    texts = _texts_of(records, task, finder)
    sampled = sample_texts(texts, finder, task.name, on_batch)
    rows: list[dict[str, Any]] = []
    own = iter(zip(texts, sampled, strict=True))
    for record in records:
        rows.append({**record, "variant": 0, "edits": []})
        for position, column in enumerate(task.text_columns):
            _, result = next(own)
            rows += _variants(record, column, position * finder.recipe.variants, result)
    counts = _count(records, rows, texts, sampled)
    return ChunkResult(pa.Table.from_pylist(rows, schema=arrow_schema(task)), dict(counts))


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


def _variants(
    record: dict[str, Any], column: str, offset: int, result: Sampled
) -> Iterable[dict[str, Any]]:
    for variant in result.variants:
        edits = [
            {
                "column": column,
                "start": edit.start,
                "end": edit.end,
                "before": edit.before,
                "after": edit.after,
                "source": edit.source,
            }
            for edit in variant.edits
        ]
        yield {
            **record,
            column: variant.text,
            "variant": offset + variant.number,
            "edits": edits,
        }


def _count(
    records: list[dict[str, Any]],
    rows: list[dict[str, Any]],
    texts: list[TextOfRow],
    sampled: list[Sampled],
) -> Counter[str]:
    counts: Counter[str] = Counter()
    counts["rows.source"] = len(records)
    counts["rows.augmented"] = len(rows) - len(records)
    for text in texts:
        counts.update(f"words.{word.route}" for word in text.words)
    for result in sampled:
        counts["dropped.duplicate"] += result.duplicate
        counts["dropped.identity"] += result.identity
        for variant in result.variants:
            counts.update(f"replaced.{edit.source}" for edit in variant.edits)
    return counts
