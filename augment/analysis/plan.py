"""Before anything runs: how much work a run is, from counting much and timing a little."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from augment.analysis.coverage import coverage
from augment.analysis.faster import fastest
from augment.analysis.timing import (
    ReadingTime,
    Stopwatch,
    forwards_of,
    time_reading,
    tokens_of,
)
from augment.contract import UNLABELED_SPLIT, TaskSpec
from augment.contract.foreign import Displayed, counted, span
from augment.contract.terminal import Gauge
from augment.errors import UsageError
from augment.executor.base import Chunk
from augment.executor.by_class import VariantsByClass
from augment.executor.models import Models
from augment.executor.work import augmented_splits
from augment.executor.worker import Worker, WorkerSpec
from augment.progress import Narrator
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
COUNTED_CHARACTERS = 400_000
"""Of long rows fewer are counted: about so many characters."""
CHECKED_ROWS = 32
"""The longest rows are checked for whether the masked LM can read them."""
READING_SECONDS = 3.0
"""What timing the masked LM takes, about."""
CALIBRATION_ROWS = 256
CALIBRATION_SECONDS = 2.0
"""What else is timed ends with the piece after which so long has passed."""
PIECE_SECONDS = 0.5
PIECE_TOKENS = 2048
"""Tokens that are read at once then, fewer by a slow model; a row of more is cut for it."""


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
        advice: The option that makes the run faster than any other, and by how much; or nothing.
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
    advice: str = ""

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
            *([("faster", self.advice)] if self.advice else []),
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
    narrator: Narrator | None = None,
) -> Plan:
    """Count the words of the texts, of many those of some, then augment a few rows to time it.

    The arguments are those of ``augment_task``. The candidate store is left out of it: a run that
    finds its positions there is faster. It answers within seconds whatever the rows are: of many
    and of long ones some are counted, and of those a few are timed.

    Raises:
        Fault: As the run itself would, or there is nothing to plan: the recipe generates nothing.

    Examples:
        >>> from augment import plan
        >>> plan("reviews.toml", mlm="mlm", vectors="vectors.txt", variants=2).rows_in
        40
    """
    started, tell = time.perf_counter(), narrator or Narrator()
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
    with closing(Gauge(tell, "plan")) as gauge:
        gauge.show(None, "reading the rows")
        data = read_source(chosen, source, limit=limit, skip_malformed=skip_malformed)
        by_class = VariantsByClass.of(plan, chosen.spec)
        gauge.show(None, "loading the models")
        spec = WorkerSpec(chosen.spec, plan, models, threads=threads, by_class=by_class)
        worker = Worker.load(spec)
        assert worker.finder is not None  # there are variants
        opening = time.perf_counter() - started
        augmented = {name: data.splits[name] for name in augmented_splits(chosen.spec, plan)}
        for name, rows in augmented.items():
            worker.refuse_long(_longest(rows, chosen.spec.text_columns), name)
        every = pa.concat_tables(augmented.values())
        asked = every.filter(pa.array(by_class.asked(every, chosen.spec.label) > 0))
        if not asked.num_rows:
            raise UsageError("no row is to get a variant (variants_of): there is nothing to plan.")
        found = _plan(asked, worker, worker.finder, opening, gauge)
    return replace(
        found,
        rows_in=every.num_rows,
        rows_out=found.rows_out + every.num_rows - asked.num_rows,
        warnings=(*data.warnings, *found.warnings),
    )


def _longest(rows: pa.Table, columns: Sequence[str]) -> pa.Table:
    """The longest rows by any of their texts, in characters."""
    at: set[int] = set()
    for column in columns:
        lengths = pc.utf8_length(rows[column].combine_chunks())
        at.update(pc.select_k_unstable(lengths, CHECKED_ROWS, [("", "descending")]).to_pylist())
    return rows.take(pa.array(sorted(at)))


def _plan(
    source: pa.Table, worker: Worker, finder: CandidateFinder, opening: float, gauge: Gauge
) -> Plan:
    """Count rows and time some; ``opening`` is what it took to get there, in seconds."""
    began, task, recipe = time.perf_counter(), worker.spec.task, worker.spec.recipe
    texts = texts_of(source, task)
    characters = sum(map(len, texts))
    most = max(CHECKED_ROWS, COUNTED_CHARACTERS * source.num_rows // max(characters, 1))
    gauge.show(None, "counting words")
    counted = spread(source, min(COUNTED_ROWS, most))
    some, distinct = list(dict.fromkeys(texts_of(counted, task))), len(set(texts))
    sentences = finder.words_of(some)
    words = [word for sentence in sentences for word in sentence]
    scale = distinct / len(some)
    gauge.show(None, "timing the masked LM")
    reading = time_reading(sentences, finder, READING_SECONDS)
    forwards = [each for sentence in sentences for each in forwards_of(sentence, finder)]
    masked_seconds = reading.seconds(forwards) * scale if reading else 0.0
    gauge.show(None, "augmenting some rows")
    order = np.random.default_rng(0).permutation(min(CALIBRATION_ROWS, counted.num_rows))
    pieces = spread(counted, CALIBRATION_ROWS).take(pa.array(order))
    timed = _calibrate(pieces, worker, finder, _piece_tokens(reading))
    other_seconds = opening + timed.seconds * characters / max(timed.characters, 1)
    known = coverage(sentences, finder.vectors.words)
    masked = sum(word.route is Route.MASKED_LM for word in words)
    asked = worker.spec.each_row.asked(source, task.label).sum() / timed.asked
    rows_out = round(source.num_rows + (timed.rows_out - timed.rows) * asked)
    return Plan(
        rows_in=source.num_rows,
        texts=len(texts),
        distinct_texts=distinct,
        masked_positions=round(masked * scale),
        vector_words=len({w.text.lower() for w in words if w.route is Route.VECTORS}),
        rows_out=rows_out,
        minutes=(other_seconds + masked_seconds) / 60,
        megabytes=timed.megabytes * rows_out / timed.rows_out,
        calibration_seconds=time.perf_counter() - began,
        replaceable=known.replaceable,
        one_token=known.one_token,
        vectors_found=known.vectors_found,
        warnings=known.doubts(recipe),
        counted_rows=counted.num_rows,
        timed_rows=timed.rows,
        advice=fastest(some, finder, task.name, other_seconds, masked_seconds),
    )


def _piece_tokens(reading: ReadingTime | None) -> int:
    """How many tokens are read in ``PIECE_SECONDS``."""
    if reading is None:
        return PIECE_TOKENS
    return max(64, min(PIECE_TOKENS, int(PIECE_SECONDS / reading.seconds_a_token[0])))


def _cost(words: Sequence[Word], finder: CandidateFinder) -> int:
    """Tokens that the masked LM reads of a text."""
    return tokens_of(forwards_of(words, finder))


@dataclass(slots=True)
class _Timed:
    """What all but reading took of augmenting some rows; ``megabytes`` as if none had been cut.

    ``asked`` is how many variants these rows were to get of one text each.
    """

    seconds: float = 0.0
    characters: int = 0
    rows: int = 0
    asked: int = 0
    rows_out: int = 0
    megabytes: float = 0.0


def _calibrate(rows: pa.Table, worker: Worker, finder: CandidateFinder, tokens: int) -> _Timed:
    """Augment rows piece by piece until enough time has passed; the first piece warms up."""
    timed, task, made, watch = _Timed(), worker.spec.task, [], Stopwatch()
    worker.run(Chunk(0, _cut(rows.slice(0, 1), finder, task, tokens // 8)))
    finder.watcher, started = watch, time.perf_counter()
    for piece in _pieces(_cut(rows, finder, task, tokens), finder, task, tokens):
        read, began = watch.seconds, time.perf_counter()
        made.append(worker.run(Chunk(0, piece)).rows)
        now = time.perf_counter()
        timed.seconds += now - began - (watch.seconds - read)
        timed.characters += sum(map(len, texts_of(piece, task)))
        timed.rows += piece.num_rows
        timed.asked += int(worker.spec.each_row.asked(piece, task.label).sum())
        if now - started > CALIBRATION_SECONDS:
            break
    finder.watcher = None
    whole = sum(map(len, texts_of(rows.slice(0, timed.rows), task)))
    began, written, together = time.perf_counter(), pa.BufferOutputStream(), pa.concat_tables(made)
    pq.write_table(together, written, compression="zstd")
    timed.seconds += time.perf_counter() - began
    timed.rows_out = together.num_rows
    timed.megabytes = written.getvalue().size / 2**20 * whole / max(timed.characters, 1)
    return timed


def _pieces(
    rows: pa.Table, finder: CandidateFinder, task: TaskSpec, most: int
) -> Iterator[pa.Table]:
    """Stretches of the rows, none of much more than so many tokens to read."""
    start = tokens = 0
    for at in range(rows.num_rows):
        of_row = finder.words_of(texts_of(rows.slice(at, 1), task))
        tokens += sum(_cost(words, finder) for words in of_row)
        if tokens >= most or at + 1 == rows.num_rows:
            yield rows.slice(start, at + 1 - start)
            start, tokens = at + 1, 0


def _cut(rows: pa.Table, finder: CandidateFinder, task: TaskSpec, tokens: int) -> pa.Table:
    """The rows with the beginnings of texts that alone would take long."""
    for column in task.text_columns:
        texts = rows[column].to_pylist()
        short = [
            text[: words[max(1, int(len(words) * sqrt(tokens / cost)))].start]
            if (cost := _cost(words, finder)) > tokens and len(words) > 1
            else text
            for text, words in zip(texts, finder.words_of(texts), strict=True)
        ]
        at = rows.schema.get_field_index(column)
        rows = rows.set_column(at, rows.schema.field(at), pa.array(short, pa.string()))
    return rows
