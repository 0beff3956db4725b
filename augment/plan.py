"""Before anything runs: how much work a run is, from counting everything and timing a little."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from augment.candidates import CandidateFinder
from augment.chunk import augment_chunk
from augment.judges import Judges
from augment.recipe import load_recipe
from augment.sources import read_source
from augment.tasks import get_task
from augment.vectors import cache_folder
from augment.words import Route, Word
from augment.work import Work

CALIBRATION_ROWS = 256


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a run.

    Attributes:
        rows_in: Training rows.
        texts: Texts of them, all columns.
        distinct_texts: Different ones; each is computed once within its chunk.
        masked_positions: Words that the masked LM predicts, over distinct texts.
        vector_words: Different many-piece words.
        rows_out: Estimated rows of the training split.
        minutes: Estimated time on this machine with these threads, in one process, reading the
            source, loading the models and the gates of the recipe included.
        megabytes: Estimated size of the training split on disk.
        calibration_seconds: What the estimate took.
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


def plan_task(
    task: str,
    *,
    mlm: str,
    vectors: str,
    source: str | None = None,
    recipe: str = "official",
    limit: int | None = None,
    threads: int | None = None,
    device: str = "cpu",
    teacher: str | None = None,
    similarity_model: str | None = None,
    vectors_cache: str | Path | bool = True,
) -> Plan:
    """Count the words of every text, then augment a few rows to time it.

    The candidate store is left out of it: a run that finds its positions there is faster.

    Args:
        task: A GLUE task's name or a task file.
        mlm: Folder or hub name of the masked LM.
        vectors: Vectors file or a name of gensim's downloader.
        source: Folder, file or hub name.
        recipe: A preset or a recipe file.
        limit: Use only the first rows.
        threads: Threads that the run will have.
        device: Where the models run.
        teacher: Folder or hub name of a classifier, for the recipe's gates.
        similarity_model: Folder or hub name of a sentence encoder, for the recipe's gates.
        vectors_cache: As for ``augment_task``.

    Raises:
        AugmentError: As the run itself would.
    """
    started = time.perf_counter()
    chosen = get_task(task)
    data = read_source(chosen, source, limit=limit)
    work = Work(
        chosen.spec, load_recipe(recipe, chosen.spec.name), mlm, vectors, device, threads,
        teacher=teacher, similarity_model=similarity_model,
        vectors_cache=cache_folder(vectors_cache),
    )  # fmt: skip
    judges, finder = work.load_judges(), work.load()
    opening = time.perf_counter() - started
    train = data.splits[work.task.splits.train]
    texts = [text for column in work.task.text_columns for text in train[column].to_pylist()]
    distinct = list(dict.fromkeys(texts))
    words = finder.words_of(distinct)
    began = time.perf_counter()
    some = _spread(train, CALIBRATION_ROWS)
    own = [text for column in work.task.text_columns for text in some[column].to_pylist()]
    weight = _cost(finder.words_of(list(dict.fromkeys(own))))
    timed, rows, megabytes = _calibrate(some, work, finder, judges)
    scale = train.num_rows / some.num_rows
    return Plan(
        rows_in=train.num_rows,
        texts=len(texts),
        distinct_texts=len(distinct),
        masked_positions=sum(w.route is Route.MASKED_LM for found in words for w in found),
        vector_words=len(
            {w.text.lower() for found in words for w in found if w.route is Route.VECTORS}
        ),
        rows_out=round(rows * scale),
        minutes=(opening + timed * _cost(words) / max(weight, 1)) / 60,
        megabytes=megabytes * scale,
        calibration_seconds=time.perf_counter() - began,
    )


def _spread(table: pa.Table, rows: int) -> pa.Table:
    """Rows from all over the table: neighbours are often alike."""
    step = max(1, table.num_rows // rows)
    return table.take(pa.array(range(0, table.num_rows, step)[:rows]))


def _cost(sentences: list[tuple[Word, ...]]) -> int:
    """Pieces that the masked LM reads: one pass over the sentence for each masked word."""
    return sum(
        sum(len(word.pieces) for word in words) * sum(w.route is Route.MASKED_LM for w in words)
        for words in sentences
    )


def _calibrate(
    rows: pa.Table, work: Work, finder: CandidateFinder, judges: Judges
) -> tuple[float, int, float]:
    """Seconds, rows and megabytes of augmenting and writing some rows."""
    augment_chunk(rows.slice(0, 4), work.task, finder, work.gates, judges)
    began = time.perf_counter()
    result = augment_chunk(rows, work.task, finder, work.gates, judges)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        pq.write_table(result.rows, path, compression="zstd")
        size = path.stat().st_size / 2**20
    return time.perf_counter() - began, result.rows.num_rows, size
