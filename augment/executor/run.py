"""Running chunks: in this process, in a pool of processes, on Ray."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace

from augment.contract import Fault
from augment.errors import UsageError
from augment.executor.base import Chunk, Engine
from augment.executor.worker import Worker
from augment.versions.rows import ChunkOutput

ENGINES = ("local", "ray")


def validate(engine: Engine) -> Engine:
    """The engine, where there is no fault to be found before any work is done.

    Raises:
        UsageError: The options do not go together.
        EngineUnavailable: The engine is not installed.
    """
    if engine.name not in ENGINES:
        raise UsageError(f"{engine.name!r} is no engine; there are {' and '.join(ENGINES)}.")
    for option in ("workers", "chunk_rows", "max_starts"):
        number = getattr(engine, option)
        if number is not None and number < 1:
            raise UsageError(f"{option} {number} must be at least 1.")
    if engine.name == "ray":
        from augment.executor.ray import require_ray

        require_ray(engine)
    elif engine.address is not None:
        raise UsageError(f"an address ({engine.address}) is for --engine ray.")
    return engine


def run_chunks(
    chunks: Sequence[Chunk], worker: Worker, engine: Engine
) -> Generator[ChunkOutput, None, None]:
    """Run the chunks, in whatever order they finish; close it to end what it has started.

    Raises:
        Fault: A worker cannot go on; what is finished has been handed out before.
    """
    spec = replace(worker.spec, assets=worker.assets())
    if engine.name == "ray" and chunks:
        from augment.executor.ray import run_on_ray

        answers = run_on_ray(chunks, spec, engine)
    elif engine.workers and engine.workers > 1 and len(chunks) > 1:
        from augment.executor.pool import run_in_pool

        answers = run_in_pool(chunks, spec, engine)
    else:
        answers = (worker.run(chunk) for chunk in chunks)
    with closing(answers):
        for answer in answers:
            if isinstance(answer, Fault):
                raise answer
            yield answer
