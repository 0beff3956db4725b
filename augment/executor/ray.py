"""Chunks on Ray Data: on this machine, or on a cluster with one address.

Ray Data hands finished chunks to this process as they come, and this process alone writes. Where a
worker or its node is lost, Ray does its chunks again elsewhere.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from augment.contract import Fault
from augment.contract.models import first_line
from augment.errors import AugmentError, EngineUnavailable
from augment.executor.base import Chunk, Done, Engine
from augment.executor.worker import Answering, Worked, WorkerSpec, rows_of

STARTS = 5
"""How often a chunk is begun: what has killed that many workers is no accident. Ray alone would
begin it for ever."""

_PLACES = ("mlm", "vectors", "teacher", "similarity_model", "store", "vectors_cache")


def run_on_ray(chunks: Sequence[Chunk], work: WorkerSpec, engine: Engine) -> Iterator[Done]:
    """Run the chunks on Ray, in whatever order they finish.

    Raises:
        EngineUnavailable: The cluster is out of reach, or has no room for one worker.
        Fault: What a worker ran into, such as a model that is not the one the run began with.
        AugmentError: Worker after worker was killed at the same chunk.
    """
    due = {chunk.number: chunk for chunk in chunks}
    with connected(engine, work) as home, closing(_stream(chunks, work, home, engine)) as stream:
        for block in stream:
            for number, answer in zip(*block.to_pydict().values(), strict=True):
                worked = pickle.loads(answer)  # noqa: S301 - from a worker of our own
                yield Done(due.pop(number), rows_of(worked))


class _Ledger:
    """How often each chunk was begun; an actor on this node, which no lost worker takes along."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._starts: Counter[int] = Counter()

    def may_begin(self, number: int) -> bool:
        self._starts[number] += 1
        return self._starts[number] <= self._limit


class _RayWorker:
    """What Ray starts on some node: chunk in, answer out; never an exception."""

    def __init__(self, work: WorkerSpec, home: str, ledger: Any) -> None:
        import ray

        at_home = ray.get_runtime_context().get_node_id() == home
        self._worker = Answering(work if at_home else replace(work, store=None))
        self._ledger = ledger

    def __call__(self, chunks: pa.Table) -> pa.Table:
        numbers, rows = chunks.to_pydict().values()
        answers = [self._answer(*one) for one in zip(numbers, rows, strict=True)]
        packed = pa.array([pickle.dumps(answer) for answer in answers], pa.large_binary())
        return pa.table({"number": numbers, "answer": packed})

    def _answer(self, number: int, rows: bytes) -> Worked | Fault:
        import ray

        if not ray.get(self._ledger.may_begin.remote(number)):
            return AugmentError(
                f"worker after worker on Ray was killed at chunk {number}, perhaps for want of "
                "memory.",
                "Finished chunks are kept: run the same command again, with fewer --workers.",
            )
        return self._worker.answer(rows)


def _stream(
    chunks: Sequence[Chunk], work: WorkerSpec, home: str, engine: Engine
) -> Generator[pa.Table, None, None]:
    """The answers, a table for each chunk, as they come."""
    import ray.data
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    threads = work.threads or 1
    room = _room(threads, gpu=_on_gpu(work))
    packed = [
        pa.table({"number": [chunk.number], "rows": pa.array([chunk.packed()], pa.large_binary())})
        for chunk in chunks
    ]
    here = NodeAffinitySchedulingStrategy(home, soft=False)
    ledger = ray.remote(_Ledger).options(num_cpus=0, scheduling_strategy=here).remote(STARTS)
    answers = ray.data.from_arrow(packed).map_batches(
        _RayWorker,
        fn_constructor_args=(_everywhere(work), home, ledger),
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=min(engine.workers or room, len(chunks))),
        num_cpus=threads,
        num_gpus=1 if _on_gpu(work) else 0,
    )
    try:
        # iter_batches() would bring threads of Ray's that may outlive the stream
        for bundle in answers.iter_internal_ref_bundles():
            for block in bundle.block_refs:
                yield ray.get(block)
    except ray.exceptions.RayError as error:
        lines = str(error).strip().splitlines()
        raise AugmentError(
            f"Ray gave up: {lines[-1] if lines else type(error).__name__}",
            "Finished chunks are kept. Every node needs the same augment-distill.",
        ) from error


def _room(threads: int, *, gpu: bool) -> int:
    """How many workers the cluster has room for.

    Raises:
        EngineUnavailable: Not for one.
    """
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    rooms = [
        min(int(node.get("CPU", 0)) // threads, int(node.get("GPU", 0)) if gpu else 2**31)
        for node in nodes
    ]
    if not any(rooms):
        need = f"{threads} CPUs" + (" and a GPU" if gpu else "")
        raise EngineUnavailable(
            f"no node of the Ray cluster has {need} for a worker; {len(nodes)} nodes are there.",
            "Give fewer --threads, or add nodes.",
        )
    return sum(rooms)


def _on_gpu(work: WorkerSpec) -> bool:
    return work.device.startswith("cuda")


def _everywhere(work: WorkerSpec) -> WorkerSpec:
    """The work with places that mean the same whatever folder a worker runs in."""
    named = {name: getattr(work, name) for name in _PLACES}
    found = {
        name: type(place)(Path(place).absolute())
        for name, place in named.items()
        if place is not None and (isinstance(place, Path) or Path(place).exists())
    }
    return replace(work, **found)


_SECONDS = 10.0
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def require_ray(engine: Engine) -> None:
    """Check that Ray Data is installed and that something answers at the cluster's address.

    Raises:
        EngineUnavailable: It is not, or nothing does.
    """
    _reach(_address(engine))  # Ray itself would try for minutes
    for name, value in (_QUIET if _address(engine) else _QUIET | _LOOPBACK_ONLY).items():
        os.environ.setdefault(name, value)
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise EngineUnavailable(
            f"the engine 'ray' needs Ray Data, which is not installed: {error}.",
            "Install it: pip install 'augment-distill[ray]'",
        ) from error


def _reach(address: str | None) -> None:
    """Knock at ``HOST:PORT``; ``auto`` and no address are left to Ray."""
    if address in (None, "auto", "local"):
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS).close()
    except (OSError, ValueError) as error:
        raise EngineUnavailable(
            f"no Ray cluster answers at {address}: {error}.",
            "Expected HOST:PORT of the head node, as `ray start --head` prints it, and this "
            "machine to be a node of that cluster.",
        ) from error


@contextmanager
def connected(engine: Engine, work: WorkerSpec) -> Iterator[str]:
    """A connection to Ray, silent, for the time of the block; gives this node's id."""
    import ray

    ours = not ray.is_initialized()
    with _hushed():
        if ours:
            _connect(engine, work)
        before = set(threading.enumerate())
        try:
            yield ray.get_runtime_context().get_node_id()
        finally:
            if ours:
                _let_end(set(threading.enumerate()) - before)
                ray.shutdown()


def _let_end(threads: set[threading.Thread]) -> None:
    """Wait for threads that began while Ray was there.

    Ray Data's ends a moment after its stream was closed. One that asks anything of Ray after
    ``ray.shutdown()`` ends the whole process at once, with exit code 1 and not a word.
    """
    end = time.monotonic() + _SECONDS
    for thread in threads - {threading.current_thread()}:
        thread.join(max(0.0, end - time.monotonic()))


@contextmanager
def _hushed() -> Iterator[None]:
    """Ray tells of every lost worker, on stdout, and draws bars of its own; we tell the run."""
    import ray

    settings, driver = ray.data.DataContext.get_current(), ray._private.worker
    bars = settings.enable_progress_bars
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    settings.enable_progress_bars = driver._worker_logs_enabled = False
    try:
        yield
    finally:
        settings.enable_progress_bars, driver._worker_logs_enabled = bars, True


def _connect(engine: Engine, work: WorkerSpec) -> None:
    import ray

    address = _address(engine)
    here: dict[str, Any] = {} if address else _local(engine, work)
    try:
        ray.init(
            address=address or "local", logging_level=logging.ERROR, log_to_driver=False, **here
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise EngineUnavailable(
            f"no Ray cluster at {address or 'this machine'}: {first_line(error)}",
            "Start one here with `ray start --head`, or join one: ray start --address=HOST:PORT",
        ) from error


def _address(engine: Engine) -> str | None:
    return engine.address or os.environ.get("RAY_ADDRESS")


def _local(engine: Engine, work: WorkerSpec) -> dict[str, Any]:
    """Ray for this run alone: no dashboard, and nothing listens beyond this machine."""
    threads = work.threads or 1
    workers = engine.workers or max(1, (os.cpu_count() or 1) // threads)
    return {"num_cpus": workers * threads, "include_dashboard": False}
