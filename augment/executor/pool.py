"""Worker processes that share one set of models.

A fresh process, the loader, reads the models once and splits into the workers: weights, vectors and
code lie in memory once, however many workers there are. It has a single thread when it splits, so
that no lock or thread pool is torn in two. Every worker has a pipe of its own to this process: no
lock is shared, and a worker that is killed shows as the end of its pipe.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from augment.contract import Fault
from augment.errors import AugmentError
from augment.executor.base import Chunk, Done
from augment.executor.worker import Answering, Worked, Worker, WorkerSpec, attempt, rows_of

START = "spawn"
"""How loaders start: as fresh processes, whatever threads this one has."""

_SPLITS = sys.platform == "linux"
"""Elsewhere system libraries do not survive a fork: there every worker is a loader of its own."""


def run_in_pool(chunks: Sequence[Chunk], work: WorkerSpec, workers: int) -> Iterator[Done]:
    """Run the chunks in worker processes, in whatever order they finish.

    Raises:
        Fault: What a worker ran into, such as a model that is not the one the run began with.
        AugmentError: A worker was killed; finished chunks have been handed out before.
    """
    waiting = list(reversed(chunks))
    with _workers(work, min(workers, len(chunks))) as pipes:
        running = {pipe: _give(pipe, waiting.pop()) for pipe in pipes}
        while running:
            for pipe in wait(list(running)):
                assert isinstance(pipe, Connection)
                result, chunk = _take(pipe), running.pop(pipe)
                if waiting:
                    running[pipe] = _give(pipe, waiting.pop())
                yield Done(chunk, result)


def _give(pipe: Connection, chunk: Chunk) -> Chunk:
    try:
        pipe.send(chunk.packed())
    except OSError as error:
        raise _killed() from error
    return chunk


def _take(pipe: Connection) -> Worked:
    try:
        answer = pipe.recv()
    except (EOFError, OSError) as error:
        raise _killed() from error
    return rows_of(answer)


def _killed() -> AugmentError:
    return AugmentError(
        "a worker process was killed, perhaps for want of memory.",
        "Finished chunks are kept: run the same command again, with fewer --workers.",
    )


@contextmanager
def _workers(work: WorkerSpec, count: int) -> Iterator[list[Connection]]:
    """One pipe for each worker; all of them end with the block."""
    context = multiprocessing.get_context(START)
    pairs = [multiprocessing.Pipe() for _ in range(count)]
    theirs = [end for _, end in pairs]
    loaders: list[BaseProcess] = []
    try:
        with _interrupts_held():
            for ends in [theirs] if _SPLITS else [[end] for end in theirs]:
                loader = context.Process(target=_load, args=(work, ends))  # type: ignore[attr-defined]
                loader.start()
                loaders.append(loader)
        for end in theirs:
            end.close()
        yield [end for end, _ in pairs]
    finally:
        for loader in loaders:
            loader.terminate()
        for loader in loaders:
            loader.join()
        for end, _ in pairs:
            end.close()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """What starts in the block never hears Ctrl-C: this process alone answers it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _load(work: WorkerSpec, pipes: list[Connection]) -> None:
    """A loader: become the only worker, or load the models and split into several."""
    if len(pipes) == 1:
        _serve(pipes[0], work, None)
        return
    one = replace(work, threads=1)
    on_device = work.device != "cpu"  # what lies on a device does not survive the split
    loaded = None if on_device else attempt(lambda: Worker.load(one).complete())
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=_serve_one, args=(pipes, i, work, loaded)) for i in range(len(pipes))
    ]
    for process in workers:
        process.start()
    for pipe in pipes:
        pipe.close()
    wait([process.sentinel for process in workers] + _parent())
    os._exit(0)


def _serve_one(pipes: list[Connection], own: int, work: WorkerSpec, loaded: Worker | Fault) -> None:
    """A worker after the split: a pipe ends when its worker does, if no other one holds it."""
    for i, pipe in enumerate(pipes):
        if i != own:
            pipe.close()
    _serve(pipes[own], work, loaded)


def _serve(pipe: Connection, work: WorkerSpec, loaded: Worker | Fault | None) -> None:
    """Do chunk after chunk until the pipe ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    worker = Answering(work, loaded)
    while (rows := _next(pipe)) is not None:
        try:
            pipe.send(worker.answer(rows))
        except OSError:
            return


def _next(pipe: Connection) -> bytes | None:
    try:
        rows: bytes = pipe.recv()
    except (EOFError, OSError):
        return None
    return rows


def _end_with_parent() -> None:
    """A worker whose parent was killed must not live on with its models."""
    wait(_parent())
    os._exit(1)


def _parent() -> list[Any]:
    parent = multiprocessing.parent_process()
    return [parent.sentinel] if parent else []
