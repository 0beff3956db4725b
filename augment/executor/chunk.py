"""One chunk of source rows → the rows of a version, with everything counted.

A chunk is the unit of resume and of distribution: its output depends on its rows, the recipe and
the models alone.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from augment.contract import WORD_REPLACEMENT, TaskSpec
from augment.executor.base import Chunk
from augment.executor.by_class import VariantsByClass
from augment.filters.rules import Filter
from augment.recipes.schema import AugmentRecipe
from augment.replacement.candidates import CandidateFinder
from augment.replacement.sampling import Sample, TextOfRow, sample_texts
from augment.tokenization.words import Route
from augment.versions.rows import (
    ChunkOutput,
    OutputRow,
    has_soft_labels,
    rejected_table,
    rows_table,
    source_rows,
)


def augment_chunk(
    chunk: Chunk,
    task: TaskSpec,
    recipe: AugmentRecipe,
    finder: CandidateFinder | None,
    filters: Sequence[Filter],
    by_class: VariantsByClass,
) -> ChunkOutput:
    """Augment the rows of a chunk.

    Every text column is augmented in turn around the untouched other one. Variant 0 is the
    original; sample ``v`` of column ``c`` has the number ``c * N + v``, N being the row's own.

    Args:
        chunk: Source rows with text columns, label and ``idx``.
        task: Their task.
        recipe: How they are generated, and what is kept of the refused ones.
        finder: Candidates by the recipe; None where no variant is asked for.
        filters: What a generated row must pass, in order; refused rows are counted by reason.
        by_class: How many variants a row's texts get.
    """
    sources = source_rows(chunk.rows, task)
    asked = [by_class.of_row(source.label) for source in sources]
    texts = _texts_of(sources, task, finder, asked) if finder else []
    samples = iter(sample_texts(texts, finder, task.name) if finder else _NONE_DRAWN)
    rows = [
        row
        for source, n in zip(sources, asked, strict=True)
        for row in _with_generated(source, [next(samples) for _ in source.texts if n], n)
    ]
    for each in filters:
        rows = each.apply(rows)
    kept = [row for row in rows if not row.reason]
    rejected = [row for row in rows if row.reason]
    routes = Counter(word.route for text in texts for word in text.words)
    counts = Counter(f"dropped.{row.reason}" for row in rejected)
    counts.update({"dropped.duplicate": 0, "dropped.identity": 0})
    counts.update({f"words.{r.value}": n for r, n in routes.items() if r is not Route.SPACE})
    counts.update(f"replaced.{edit.source}" for row in kept for edit in row.edits)
    counts.update(by_class.count([row.label for row in kept if row.variant], task.label))
    counts.update({"rows.source": len(sources), "rows.augmented": len(kept) - len(sources)})
    store = finder.store if finder else None
    return ChunkOutput(
        chunk.number,
        rows_table(
            kept,
            task,
            soft_labels=has_soft_labels(chunk.rows),
            teacher_logits=recipe.teacher_logits,
        ),
        dict(counts),
        rejected_table(rejected, task) if recipe.keep_rejected else None,
        store.error if store else "",
        store.notice if store else "",
    )


_NONE_DRAWN: Iterable[list[Sample]] = itertools.repeat([])


def _with_generated(
    source: OutputRow, samples: Sequence[Sequence[Sample]], variants: int
) -> Iterator[OutputRow]:
    """A source row and all that was drawn for each of its texts, in order."""
    yield source
    before = source.texts
    for column, drawn in enumerate(samples):
        for sample in drawn:
            variant = sample.variant
            yield OutputRow(
                source.idx, (*before[:column], variant.text, *before[column + 1 :]), source.label,
                original=before, variant=column * variants + variant.number, column=column,
                edits=variant.edits, generator=WORD_REPLACEMENT, reason=sample.reason,
                soft_labels=source.soft_labels,
            )  # fmt: skip


def _texts_of(
    sources: Sequence[OutputRow], task: TaskSpec, finder: CandidateFinder, asked: Sequence[int]
) -> list[TextOfRow]:
    """Every text to draw variants of, with its words; equal texts are cut into words once."""
    drawn = [(row, n) for row, n in zip(sources, asked, strict=True) if n]
    distinct = list(dict.fromkeys(text for row, _ in drawn for text in row.texts))
    words = dict(zip(distinct, finder.words_of(distinct), strict=True))
    return [
        TextOfRow(row.idx, column, text, words[text], n)
        for row, n in drawn
        for column, text in zip(task.text_columns, row.texts, strict=True)
    ]
