"""Where chunks run: in this process, in a pool of processes, on Ray. It cannot change a byte."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from augment.errors import UsageError
from augment.work import Worked, Worker

ENGINES = ("local", "ray")


@dataclass(frozen=True, slots=True)
class Engine:
    """Where the chunks of a run are done.

    Attributes:
        name: ``local`` or ``ray``.
        workers: Worker processes; None: one here, on Ray as many as there is room for.
        threads: Threads of each worker; None: the processors shared out here, one on Ray.
        address: Ray: address of a cluster, ``auto`` for the one that runs on this machine, or None
            to start Ray here for this run alone.
    """

    name: str = "local"
    workers: int | None = None
    threads: int | None = None
    address: str | None = None

    def checked(self) -> Engine:
        """This engine, where there is no fault to be found before any work is done.

        Raises:
            UsageError: The options do not go together.
            EngineUnavailable: The engine is not installed.
        """
        if self.name not in ENGINES:
            raise UsageError(f"{self.name!r} is no engine; there are {' and '.join(ENGINES)}.")
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"workers {self.workers} must be at least 1.")
        if self.name == "ray":
            from augment.ray_session import require_ray

            require_ray(self)
        elif self.address is not None:
            raise UsageError(f"an address ({self.address}) is for --engine ray.")
        return self

    def threads_of_a_worker(self) -> int | None:
        """How many threads a worker gets, or None for torch's own choice."""
        if self.threads is not None:
            return self.threads
        if self.name == "ray":
            return 1
        return (
            max(1, (os.cpu_count() or 1) // self.workers)
            if self.workers and self.workers > 1
            else None
        )


@dataclass(frozen=True, slots=True)
class Chunk:
    """A contiguous stretch of source rows."""

    number: int
    rows: pa.Table

    def packed(self) -> bytes:
        """The rows alone as an Arrow stream: a pickled slice would carry the whole table along."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.rows.schema) as stream:
            stream.write_table(self.rows)
        return bytes(sink.getvalue())


@dataclass(frozen=True, slots=True)
class Done:
    """A finished chunk."""

    chunk: Chunk
    worked: Worked


def run_chunks(
    chunks: Sequence[Chunk],
    worker: Worker,
    engine: Engine,
    on_batch: Callable[[int], None] | None = None,
) -> Generator[Done, None, None]:
    """Run the chunks, in whatever order they finish; close it to end what it has started.

    Args:
        chunks: What is to be done.
        worker: The models of this process.
        engine: Where to work.
        on_batch: Called with the number of masked positions done, where that is in this process.

    Raises:
        AugmentError: A worker cannot go on; what is finished has been handed out before.
    """
    work = replace(worker.work, began=worker.began())
    if engine.name == "ray" and chunks:
        from augment.cluster import run_on_ray

        yield from run_on_ray(chunks, work, engine)
    elif engine.workers and engine.workers > 1 and len(chunks) > 1:
        from augment.pool import run_in_pool

        yield from run_in_pool(chunks, work, engine.workers)
    else:
        for chunk in chunks:
            yield Done(chunk, worker.run(chunk.rows, on_batch))
