"""Before anything runs: how much work a run is, from counting everything and timing a little."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from augment.analysis.coverage import coverage
from augment.executor.base import Chunk
from augment.executor.models import Models
from augment.executor.worker import Worker, WorkerSpec
from augment.recipes.load import load_recipe
from augment.sources.read import read_source
from augment.tasks import get_task
from augment.tokenization.words import Route, Word
from augment.vectors import cache_folder
from augment.versions.rows import spread, texts_of

CALIBRATION_ROWS = 256


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a run.

    Attributes:
        texts: Texts of the training rows, all columns.
        distinct_texts: Different ones; each is computed once within its chunk.
        masked_positions: Words that the masked LM predicts, over distinct texts.
        vector_words: Different words of several tokens.
        rows_out: Estimated rows of the training split.
        minutes: Estimated time on this machine with these threads, in one process, reading the
            source, loading the models and the gates of the recipe included.
        megabytes: Estimated size of the training split on disk.
        calibration_seconds: What the estimate took.
        replaceable: Share of the words, those with a letter in them, that may be replaced.
        one_token: Share of these that are one token of the masked LM.
        vectors_found: Share of the different replaceable words that the vectors know.
        warnings: A sentence for each of these shares that is low, and those of the source.
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


def plan_task(
    task: str,
    *,
    mlm: str,
    vectors: str,
    source: str | None = None,
    recipe: str = "official",
    limit: int | None = None,
    skip_malformed: bool = False,
    threads: int | None = None,
    device: str = "cpu",
    teacher: str | None = None,
    similarity_model: str | None = None,
    vectors_cache: str | Path | bool = True,
) -> Plan:
    """Count the words of every text, then augment a few rows to time it.

    The arguments are those of ``augment_task``. The candidate store is left out of it: a run that
    finds its positions there is faster.

    Raises:
        Fault: As the run itself would.
    """
    started = time.perf_counter()
    chosen = get_task(task)
    data = read_source(chosen, source, limit=limit, skip_malformed=skip_malformed)
    models = Models(mlm, vectors, teacher, similarity_model, device, cache_folder(vectors_cache))
    plan = load_recipe(recipe, chosen.spec.name)
    worker = Worker.load(WorkerSpec(chosen.spec, plan, models, threads=threads))
    opening = time.perf_counter() - started
    counted = _plan(data.splits[chosen.spec.splits.train], worker, opening)
    return replace(counted, warnings=(*data.warnings, *counted.warnings))


def _plan(train: pa.Table, worker: Worker, opening: float) -> Plan:
    """Count all rows and time some; ``opening`` is what it took to get there, in seconds."""
    task = worker.spec.task
    texts = texts_of(train, task)
    distinct = list(dict.fromkeys(texts))
    sentences = worker.finder.words_of(distinct)
    words = [word for sentence in sentences for word in sentence]
    began = time.perf_counter()
    some = spread(train, CALIBRATION_ROWS)
    weight = _cost(worker.finder.words_of(list(dict.fromkeys(texts_of(some, task)))))
    timed, rows, megabytes = _calibrate(some, worker)
    scale = train.num_rows / some.num_rows
    known = coverage(sentences, worker.finder.vectors.words)
    return Plan(
        rows_in=train.num_rows,
        texts=len(texts),
        distinct_texts=len(distinct),
        masked_positions=sum(word.route is Route.MASKED_LM for word in words),
        vector_words=len({w.text.lower() for w in words if w.route is Route.VECTORS}),
        rows_out=round(rows * scale),
        minutes=(opening + timed * _cost(sentences) / max(weight, 1)) / 60,
        megabytes=megabytes * scale,
        calibration_seconds=time.perf_counter() - began,
        replaceable=known.replaceable,
        one_token=known.one_token,
        vectors_found=known.vectors_found,
        warnings=known.doubts(worker.spec.recipe),
    )


def _cost(sentences: list[tuple[Word, ...]]) -> int:
    """Tokens that the masked LM reads: one pass over the sentence for each masked word."""
    return sum(
        sum(len(word.token_ids) for word in words) * sum(w.route is Route.MASKED_LM for w in words)
        for words in sentences
    )


def _calibrate(rows: pa.Table, worker: Worker) -> tuple[float, int, float]:
    """Seconds, rows and megabytes of augmenting and writing some rows."""
    worker.run(Chunk(0, rows.slice(0, 4)))
    began = time.perf_counter()
    made = worker.run(Chunk(0, rows)).rows
    written = pa.BufferOutputStream()
    pq.write_table(made, written, compression="zstd")
    size = written.getvalue().size / 2**20
    return time.perf_counter() - began, made.num_rows, size
