"""Before anything runs: how much work a run is, from counting much and timing a little."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from augment.analysis.coverage import coverage
from augment.contract import UNLABELED_SPLIT
from augment.contract.foreign import Displayed, counted, span
from augment.errors import UsageError
from augment.executor.base import Chunk
from augment.executor.by_class import VariantsByClass
from augment.executor.models import Models
from augment.executor.work import augmented_splits
from augment.executor.worker import Worker, WorkerSpec
from augment.recipes.load import recipe_for
from augment.recipes.schema import AugmentRecipe
from augment.replacement.candidates import CandidateFinder
from augment.sources.read import read_source
from augment.tasks import get_task
from augment.tokenization.words import Route, Word
from augment.vectors import cache_folder
from augment.versions.rows import spread, texts_of

COUNTED_ROWS = 10_000
"""Rows whose words are counted; of more, so many from all over."""
CALIBRATION_ROWS = 256
CALIBRATION_SECONDS = 3.0
"""What is timed ends with the piece after which so long has passed."""
PIECE_TOKENS = 2048
"""Tokens that are timed at once; a row of more is cut for it."""


@dataclass(frozen=True, slots=True, repr=False)
class Plan(Displayed):
    """The size of a run.

    Attributes:
        texts: Texts of the rows that are augmented, all columns.
        distinct_texts: Different ones; each is computed once within its chunk.
        masked_positions: Words that the masked LM predicts, over distinct texts.
        vector_words: Different words of several tokens in the rows that were counted.
        rows_out: Estimated rows of the splits that are augmented.
        minutes: Estimated time on this machine with these threads, in one process, reading the
            source, loading the models and the gates of the recipe included.
        megabytes: Estimated size of these splits on disk.
        calibration_seconds: What the estimate took.
        replaceable: Share of the words, those with a letter in them, that may be replaced.
        one_token: Share of these that are one token of the masked LM.
        vectors_found: Share of the different replaceable words that the vectors know.
        warnings: A sentence for each of these shares that is low, and those of the source.
        counted_rows: Rows whose words were counted; all figures are scaled up from them.
        timed_rows: Rows that were augmented to time it.
    """

    rows_in: int
    texts: int
    distinct_texts: int
    masked_positions: int
    vector_words: int
    rows_out: int
    minutes: float
    megabytes: float
    calibration_seconds: float
    replaceable: float
    one_token: float
    vectors_found: float
    warnings: tuple[str, ...]
    counted_rows: int = 0
    timed_rows: int = 0

    def lines(self) -> list[tuple[str, str]]:
        """The plan in words and units: what each line is about, and what it says."""
        about = "about " * (self.counted_rows < self.rows_in)
        per_row = self.rows_out / max(self.rows_in, 1)
        return [
            ("rows", f"{self.rows_in:,} in, about {self.rows_out:,} out ({per_row:.1f} for each)"),
            (
                "work",
                f"{about}{counted(self.masked_positions, 'masked word')} to predict in "
                f"{counted(self.distinct_texts, 'different text')}",
            ),
            ("time", f"about {span(self.minutes * 60)} on this machine in one process"),
            ("disk", f"about {self.megabytes:,.1f} MB"),
            (
                "words",
                f"{self.replaceable:.0%} can be replaced; {self.one_token:.0%} of these by the "
                f"masked LM, the others by vectors, which know {self.vectors_found:.0%} of the "
                "different words",
            ),
            (
                "measured",
                f"words of {counted(self.counted_rows, 'row')} counted, "
                f"{counted(self.timed_rows, 'row')} augmented "
                f"in {self.calibration_seconds:.1f} s; nothing was written",
            ),
        ]


def plan_task(
    task: str | Path,
    *,
    mlm: str | Path | None = None,
    vectors: str | Path | None = None,
    source: str | Path | Mapping[str, Any] | None = None,
    recipe: str | Path | AugmentRecipe = "official",
    variants: int | None = None,
    limit: int | None = None,
    skip_malformed: bool = False,
    unlabeled: Sequence[str | Path] | str | Path = (),
    threads: int | None = None,
    device: str = "cpu",
    teacher: str | Path | None = None,
    similarity_model: str | Path | None = None,
    vectors_cache: str | Path | bool = True,
) -> Plan:
    """Count the words of the texts, of many those of some, then augment a few rows to time it.

    The arguments are those of ``augment_task``. The candidate store is left out of it: a run that
    finds its positions there is faster.

    Raises:
        Fault: As the run itself would, or there is nothing to plan: the recipe generates nothing.

    Examples:
        >>> from augment import plan
        >>> plan("reviews.toml", mlm="mlm", vectors="vectors.txt", variants=2).rows_in
        40
    """
    started = time.perf_counter()
    chosen = get_task(str(task))
    if unlabeled or (isinstance(source, Mapping) and UNLABELED_SPLIT in source):
        chosen = chosen.with_unlabeled(unlabeled)
    plan = recipe_for(chosen.spec, recipe, variants)
    if not plan.generates:
        raise UsageError(
            "with variants 0 nothing is generated: there is nothing to plan.",
            "The run itself takes seconds: augment run TASK --variants 0",
        )
    models = Models.named(
        mlm, vectors, teacher, similarity_model, device, cache_folder(vectors_cache)
    )
    models.refuse_unfit(plan)
    data = read_source(chosen, source, limit=limit, skip_malformed=skip_malformed)
    by_class = VariantsByClass.of(plan, chosen.spec, data.splits)
    worker = Worker.load(WorkerSpec(chosen.spec, plan, models, threads=threads, by_class=by_class))
    assert worker.finder is not None  # there are variants
    opening = time.perf_counter() - started
    augmented = {name: data.splits[name] for name in augmented_splits(chosen.spec, plan)}
    for name, rows in augmented.items():
        worker.refuse_long(rows, name)
    every = pa.concat_tables(augmented.values())
    asked = every.filter(pa.array(by_class.asked(every, chosen.spec.label) > 0))
    if not asked.num_rows:
        raise UsageError("no row is to get a variant (variants_of): there is nothing to plan.")
    counted = _plan(asked, worker, worker.finder, opening)
    return replace(
        counted,
        rows_in=every.num_rows,
        rows_out=counted.rows_out + every.num_rows - asked.num_rows,
        warnings=(*data.warnings, *counted.warnings),
    )


def _plan(source: pa.Table, worker: Worker, finder: CandidateFinder, opening: float) -> Plan:
    """Count rows and time some; ``opening`` is what it took to get there, in seconds."""
    began, task = time.perf_counter(), worker.spec.task
    counted = spread(source, COUNTED_ROWS)
    texts, some = texts_of(source, task), list(dict.fromkeys(texts_of(counted, task)))
    distinct = len(set(texts))
    sentences = finder.words_of(some)
    words = [word for sentence in sentences for word in sentence]
    scale = distinct / len(some)
    order = np.random.default_rng(0).permutation(min(CALIBRATION_ROWS, counted.num_rows))
    timed = _calibrate(spread(counted, CALIBRATION_ROWS).take(pa.array(order)), worker, finder)
    known = coverage(sentences, finder.vectors.words)
    masked = sum(word.route is Route.MASKED_LM for word in words)
    cost = sum(map(_cost, sentences)) * scale
    asked = worker.spec.each_row.asked(source, task.label).sum() / timed.asked
    rows_out = round(source.num_rows + (timed.rows_out - timed.rows) * asked)
    return Plan(
        rows_in=source.num_rows,
        texts=len(texts),
        distinct_texts=distinct,
        masked_positions=round(masked * scale),
        vector_words=len({w.text.lower() for w in words if w.route is Route.VECTORS}),
        rows_out=rows_out,
        minutes=(opening + timed.seconds * cost / max(timed.cost, 1)) / 60,
        megabytes=timed.megabytes * rows_out / timed.rows_out,
        calibration_seconds=time.perf_counter() - began,
        replaceable=known.replaceable,
        one_token=known.one_token,
        vectors_found=known.vectors_found,
        warnings=known.doubts(worker.spec.recipe),
        counted_rows=counted.num_rows,
        timed_rows=timed.rows,
    )


def _cost(words: Sequence[Word]) -> int:
    """Tokens that the masked LM reads of a text: one pass over it for each masked word."""
    tokens = sum(len(word.token_ids) for word in words)
    return tokens * sum(word.route is Route.MASKED_LM for word in words)


@dataclass(slots=True)
class _Timed:
    """What augmenting and writing some rows took; ``megabytes`` as if none had been cut.

    ``asked`` is how many variants these rows were to get of one text each.
    """

    seconds: float = 0.0
    cost: int = 0
    rows: int = 0
    asked: int = 0
    rows_out: int = 0
    megabytes: float = 0.0


def _calibrate(rows: pa.Table, worker: Worker, finder: CandidateFinder) -> _Timed:
    """Augment rows piece by piece until enough time has passed; the first piece warms up."""
    timed, task, made = _Timed(), worker.spec.task, []
    worker.run(Chunk(0, _cut(rows.slice(0, 1), worker, finder)))
    characters = 0
    for piece in _pieces(rows, worker, finder):
        began = time.perf_counter()
        made.append(worker.run(Chunk(0, piece)).rows)
        timed.seconds += time.perf_counter() - began
        texts = texts_of(piece, task)
        characters += sum(map(len, texts))
        timed.cost += sum(map(_cost, finder.words_of(list(dict.fromkeys(texts)))))
        timed.rows += piece.num_rows
        timed.asked += int(worker.spec.each_row.asked(piece, task.label).sum())
        if timed.seconds > CALIBRATION_SECONDS:
            break
    whole = sum(map(len, texts_of(rows.slice(0, timed.rows), task)))
    began, written, together = time.perf_counter(), pa.BufferOutputStream(), pa.concat_tables(made)
    pq.write_table(together, written, compression="zstd")
    timed.seconds += time.perf_counter() - began
    timed.rows_out = together.num_rows
    timed.megabytes = written.getvalue().size / 2**20 * whole / max(characters, 1)
    return timed


def _pieces(rows: pa.Table, worker: Worker, finder: CandidateFinder) -> Iterator[pa.Table]:
    """Stretches of the rows, none of much more than ``PIECE_TOKENS`` to read."""
    cut = _cut(rows, worker, finder)
    start = tokens = 0
    for at in range(cut.num_rows):
        of_row = finder.words_of(texts_of(cut.slice(at, 1), worker.spec.task))
        tokens += sum(map(_cost, of_row))
        if tokens >= PIECE_TOKENS or at + 1 == cut.num_rows:
            yield cut.slice(start, at + 1 - start)
            start, tokens = at + 1, 0


def _cut(rows: pa.Table, worker: Worker, finder: CandidateFinder) -> pa.Table:
    """The rows with the beginnings of texts that alone would take long."""
    for column in worker.spec.task.text_columns:
        texts = rows[column].to_pylist()
        short = [
            text[: words[int(len(words) * sqrt(PIECE_TOKENS / cost))].start]
            if (cost := _cost(words)) > PIECE_TOKENS
            else text
            for text, words in zip(texts, finder.words_of(texts), strict=True)
        ]
        at = rows.schema.get_field_index(column)
        rows = rows.set_column(at, rows.schema.field(at), pa.array(short, pa.string()))
    return rows
