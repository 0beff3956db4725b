"""One chunk of source rows → the rows of a version, with everything counted.

A chunk is the unit of resume and of distribution: its output depends on its rows, the recipe and
the models alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa

from augment.contract import TaskSpec
from augment.filters.model_filters import ModelFilters, Verdict
from augment.filters.rules import RuleFilters
from augment.replacement.candidates import CandidateFinder
from augment.replacement.sampling import Refused, Sampled, TextOfRow, sample_texts
from augment.tokenization.words import Route
from augment.versions.rows import ChunkResult, OutputRow, OutputTableBuilder

CHUNK_ROWS = 512


def augment_chunk(
    table: pa.Table,
    task: TaskSpec,
    finder: CandidateFinder,
    gates: RuleFilters,
    judges: ModelFilters,
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
        judges: Gates with a model, for the rows that pass the others.
        on_batch: Called with the number of masked positions done, for progress.

    Returns:
        The originals and their variants, row by row.
    """
    recipe = finder.recipe
    records = table.to_pylist()
    texts = _texts_of(records, task, finder)
    sampled = sample_texts(texts, finder, task.name, on_batch)
    kept, rejected = OutputTableBuilder(task), OutputTableBuilder(task)
    counts = Counter({"dropped.duplicate": 0, "dropped.identity": 0})
    drawn = _drawn(records, sampled, task, recipe.variants)
    for row in _judged(_gated(drawn, gates, task), judges, task):
        if not row.reason:
            kept.add(row)
            continue
        counts[f"dropped.{row.reason}"] += 1
        if recipe.keep_rejected:
            rejected.add(row)
    routes = Counter(word.route for text in texts for word in text.words)
    counts.update(
        {f"words.{route.value}": n for route, n in routes.items() if route is not Route.SPACE}
    )
    counts.update(kept.replaced())
    counts["rows.source"] = len(records)
    counts["rows.augmented"] = len(kept) - len(records)
    return ChunkResult(
        kept.build(teacher_logits=recipe.teacher_logits),
        dict(counts),
        rejected.build_rejected() if recipe.keep_rejected else None,
    )


def _drawn(
    records: list[dict[str, Any]], sampled: list[Sampled], task: TaskSpec, variants: int
) -> Iterator[list[OutputRow]]:
    """Each source row with all that was drawn for it, in order; refused samples say why."""
    own = iter(sampled)
    for record in records:
        rows = [OutputRow(record)]
        for position, column in enumerate(task.text_columns):
            rows += [
                OutputRow(
                    record, position * variants + sample.variant.number, column, sample.variant,
                    sample.reason,
                )
                for sample in _in_order(next(own))
            ]  # fmt: skip
        yield rows


def _in_order(sampled: Sampled) -> list[Refused]:
    """All samples of a text by their number; those that pass have no reason."""
    passed = [Refused(variant, "") for variant in sampled.variants]
    return sorted([*passed, *sampled.refused], key=lambda sample: sample.variant.number)


def _gated(drawn: Iterator[list[OutputRow]], gates: RuleFilters, task: TaskSpec) -> list[OutputRow]:
    """All rows, with the reasons of the gates that read nothing but texts."""
    rows: list[OutputRow] = []
    for source, *generated in drawn:
        passing = [row for row in generated if not row.reason]
        reasons = gates.reasons(source.texts(task), [row.texts(task) for row in passing])
        fresh = iter(reasons)
        rows.append(source)
        for row in generated:
            reason = row.reason or next(fresh)
            rows.append(row if reason == row.reason else replace(row, reason=reason))
    return rows


def _judged(rows: list[OutputRow], judges: ModelFilters, task: TaskSpec) -> list[OutputRow]:
    """All rows, with the verdicts on those that passed so far."""
    if judges.teacher is None and judges.encoder is None:
        return rows
    verdicts = iter(judges.judge([row.case(task) for row in rows if not row.reason]))
    return [row if row.reason else _with(row, next(verdicts)) for row in rows]


def _with(row: OutputRow, verdict: Verdict) -> OutputRow:
    return replace(row, reason=verdict.reason, logits=verdict.logits)


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
