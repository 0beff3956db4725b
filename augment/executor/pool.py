"""Worker processes that share one set of models.

A fresh process, the loader, reads the models once and splits into the workers: weights, vectors and
code lie in memory once, however many workers there are. It has a single thread when it splits, so
that no lock or thread pool is torn in two. Every worker has a pipe of its own to this process: no
lock is shared, and a worker that is killed shows as the end of its pipe.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from augment.contract import Fault
from augment.contract.process import DeafChildren
from augment.errors import AugmentError
from augment.executor.base import Chunk, Engine
from augment.executor.worker import RemoteWorker, WorkerSpec
from augment.versions.rows import ChunkOutput

_SPLITS = sys.platform == "linux"
"""Elsewhere system libraries do not survive a fork: there every worker is a loader of its own."""


def run_in_pool(
    chunks: Sequence[Chunk], spec: WorkerSpec, engine: Engine
) -> Generator[ChunkOutput | Fault, None, None]:
    """Run the chunks in worker processes, in whatever order they finish.

    Raises:
        AugmentError: A worker was killed; finished chunks have been handed out before.
    """
    waiting = list(reversed(chunks))
    with _workers(spec, engine, min(engine.workers or 1, len(chunks))) as pipes:
        try:
            for pipe in pipes:
                pipe.send(waiting.pop())
            running = list(pipes)
            while running:
                for ready in wait(running):
                    assert isinstance(ready, Connection)
                    answer = ready.recv()
                    if waiting:
                        ready.send(waiting.pop())
                    else:
                        running.remove(ready)
                    yield answer
        except (EOFError, OSError) as error:
            raise AugmentError(
                "a worker process was killed, perhaps for want of memory.",
                "Finished chunks are kept: run the same command again, with fewer --workers.",
            ) from error


@contextmanager
def _workers(spec: WorkerSpec, engine: Engine, count: int) -> Iterator[list[Connection]]:
    """One pipe for each worker; all of them end with the block."""
    context = multiprocessing.get_context(engine.start_method)
    pairs = [multiprocessing.Pipe() for _ in range(count)]
    worker_ends = [end for _, end in pairs]
    loaders: list[BaseProcess] = []
    try:
        with DeafChildren():
            for ends in [worker_ends] if _SPLITS else [[end] for end in worker_ends]:
                loader = context.Process(target=_load, args=(spec, ends))  # type: ignore[attr-defined]
                loader.start()
                loaders.append(loader)
        for end in worker_ends:
            end.close()
        yield [end for end, _ in pairs]
    finally:
        for loader in loaders:
            loader.terminate()
        for loader in loaders:
            loader.join()
        for end, _ in pairs:
            end.close()


def _load(spec: WorkerSpec, pipes: list[Connection]) -> None:
    """A loader: become the only worker, or load the models and split into several."""
    worker = RemoteWorker(spec)
    if len(pipes) == 1:
        _serve(pipes, 0, worker)
        return
    if spec.models.device == "cpu":  # what lies on another device does not survive the split
        worker.load_shared()
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_serve, args=(pipes, i, worker)) for i in range(len(pipes))]
    for process in workers:
        process.start()
    for pipe in pipes:
        pipe.close()
    wait([process.sentinel for process in workers] + _parent())
    os._exit(0)


def _serve(pipes: list[Connection], number: int, worker: RemoteWorker) -> None:
    """Do chunk after chunk until the pipe of that number ends.

    A pipe ends when its worker does, if no other process holds it.
    """
    for i, pipe in enumerate(pipes):
        if i != number:
            pipe.close()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            pipes[number].send(worker.answer(pipes[number].recv()))
        except (EOFError, OSError):
            return


def _end_with_parent() -> None:
    """A worker whose parent was killed must not live on with its models."""
    wait(_parent())
    os._exit(1)


def _parent() -> list[Any]:
    parent = multiprocessing.parent_process()
    return [parent.sentinel] if parent else []
