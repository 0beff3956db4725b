"""Where chunks run: in this process, or in a pool of processes. It cannot change a byte."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.connection import wait as wait_for
from pathlib import Path

import pyarrow as pa

from augment.candidates import CandidateFinder
from augment.chunk import ChunkResult, augment_chunk
from augment.contract import TaskSpec
from augment.errors import AugmentError, UsageError
from augment.judges import Judges
from augment.narrator import Narrator
from augment.quality import Gates
from augment.recipe import AugmentRecipe

_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker needs to build its own finder.

    Attributes:
        task: The task of the rows.
        recipe: The resolved recipe.
        mlm: Folder or hub name of the masked LM.
        vectors: Vectors file or downloader name.
        device: Where the models run, such as ``cpu`` or ``cuda``.
        threads: Threads of one worker, or None for torch's own choice.
        store: Folder of the candidate store, or None to keep no candidates.
        gates: What a generated row must pass.
        teacher: Folder or hub name of a classifier, where the recipe asks one.
        similarity_model: Folder or hub name of a sentence encoder, where the recipe asks one.
        vectors_cache: Where tables of vectors are kept, or None to read the file each time.
    """

    task: TaskSpec
    recipe: AugmentRecipe
    mlm: str
    vectors: str
    device: str
    threads: int | None = None
    store: Path | None = None
    gates: Gates = field(default_factory=Gates)
    teacher: str | None = None
    similarity_model: str | None = None
    vectors_cache: Path | None = None

    def load(self, narrator: Narrator | None = None) -> CandidateFinder:
        """Load the models.

        Args:
            narrator: Hears what takes long.

        Raises:
            AssetInvalid: A model or vectors file cannot be used.
        """
        import torch

        from augment.models import load_masked_lm
        from augment.store import CandidateStore
        from augment.vectors import load_vectors

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        precision = self.recipe.precision
        masked_lm = load_masked_lm(self.mlm, device=self.device, precision=precision)
        vectors = load_vectors(
            self.vectors, self.recipe.vector_rows, cache=self.vectors_cache, narrator=narrator
        )
        words_only = self.recipe.top_k_of == "words"
        store = (
            CandidateStore(self.store, masked_lm.digest, words_only=words_only, precision=precision)
            if self.store
            else None
        )
        return CandidateFinder(masked_lm, vectors, self.recipe, store)

    def load_judges(self) -> Judges:
        """Load the models of the gates.

        Raises:
            UsageError: The recipe asks for a model that is not named, or the other way round.
            AssetInvalid: A model cannot be used, or its labels are not those of the task.
        """
        rules = self.recipe.judging(regression=self.task.label.kind == "regression")
        _agree(self.teacher, "--teacher", rules.needs_teacher, "teacher_agreement, teacher_logits")
        _agree(self.similarity_model, "--similarity-model", rules.needs_encoder, "min_similarity")
        from augment.gate_models import load_sentence_encoder, load_teacher

        return Judges(
            rules,
            load_teacher(self.teacher, self.task, device=self.device) if self.teacher else None,
            load_sentence_encoder(self.similarity_model, device=self.device)
            if self.similarity_model
            else None,
        )


def _agree(model: str | None, option: str, needed: bool, keys: str) -> None:
    if needed and model is None:
        raise UsageError(
            f"the recipe asks for a model that is not named ({keys}).", f"Name it: {option} DIR"
        )
    if model is not None and not needed:
        raise UsageError(
            f"{option} {model} is named, but the recipe has no use for it.",
            f"Set {keys.replace(', ', ' or ')} in the recipe: augment recipe TASK > my.toml",
        )


@dataclass(frozen=True, slots=True)
class Chunk:
    """A contiguous stretch of source rows."""

    number: int
    rows: pa.Table

    def alone(self) -> pa.Table:
        """Its rows in arrays of their own: pickling a slice would carry the whole table along."""
        return self.rows.take(pa.array(range(self.rows.num_rows)))


@dataclass(frozen=True, slots=True)
class Done:
    """A finished chunk."""

    chunk: Chunk
    result: ChunkResult


def run_here(
    chunks: Sequence[Chunk],
    work: Work,
    finder: CandidateFinder,
    judges: Judges,
    on_batch: Callable[[int], None] | None = None,
) -> Iterator[Done]:
    """Run the chunks one after the other in this process."""
    for chunk in chunks:
        result = augment_chunk(chunk.rows, work.task, finder, work.gates, judges, on_batch)
        yield Done(chunk, result)


def run_in_pool(chunks: Sequence[Chunk], work: Work, workers: int) -> Iterator[Done]:
    """Run the chunks in worker processes, in whatever order they finish.

    Raises:
        AugmentError: A worker was killed; finished chunks have been handed out before.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(work,))
    waiting = list(reversed(chunks))
    running: dict[Future[ChunkResult], Chunk] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers * _AHEAD:
                chunk = waiting.pop()
                running[pool.submit(_run_in_worker, chunk.alone())] = chunk
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield Done(running.pop(future), future.result())
    except BrokenProcessPool as error:
        raise AugmentError(
            "a worker process was killed, perhaps for want of memory.",
            "Finished chunks are kept: run the same command again, with fewer --workers.",
        ) from error
    finally:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()


_finder: CandidateFinder | None = None
_judges: Judges | None = None
_work: Work | None = None


def _start_worker(work: Work) -> None:
    """Load the models once for each worker; the parent alone answers Ctrl-C."""
    global _finder, _judges, _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _finder, _judges, _work = work.load(), work.load_judges(), work


def _end_with_parent() -> None:
    """A worker whose parent was killed must not live on with its models."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _run_in_worker(rows: pa.Table) -> ChunkResult:
    if _finder is None or _judges is None or _work is None:
        raise AugmentError("a worker has no models; this is a fault of the program.")
    return augment_chunk(rows, _work.task, _finder, _work.gates, _judges)
