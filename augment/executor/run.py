"""Running chunks: in this process, in a pool of processes, on Ray."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

from augment.executor.base import Chunk, Done, Engine
from augment.executor.worker import Worker


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
        from augment.executor.ray import run_on_ray

        yield from run_on_ray(chunks, work, engine)
    elif engine.workers and engine.workers > 1 and len(chunks) > 1:
        from augment.executor.pool import run_in_pool

        yield from run_in_pool(chunks, work, engine.workers)
    else:
        for chunk in chunks:
            yield Done(chunk, worker.run(chunk.rows, on_batch))
