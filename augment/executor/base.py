"""A chunk of rows and the engine that runs it; the engine cannot change a byte."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pyarrow as pa

from augment.errors import UsageError
from augment.executor.worker import Worked

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
            from augment.executor.ray import require_ray

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
