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
from augment.contract.errors import first_line
from augment.contract.foreign import counted
from augment.errors import AugmentError, EngineUnavailable
from augment.executor.base import Chunk, Engine
from augment.executor.worker import RemoteWorker, WorkerSpec
from augment.versions.rows import ChunkOutput

_PATHS = ("mlm", "vectors", "teacher", "similarity_model", "vectors_cache")


class RayWorker:
    """What Ray starts on some node: chunks in, answers out; never an exception."""

    def __init__(self, spec: WorkerSpec, home: str, ledger: Any) -> None:
        """Take what is needed; only at ``home``, the run's own node, is the store at hand."""
        import ray

        at_home = ray.get_runtime_context().get_node_id() == home
        self._worker = RemoteWorker(spec if at_home else replace(spec, store=None))
        self._ledger = ledger

    def __call__(self, table: pa.Table) -> pa.Table:
        """Do the pickled chunks of a table."""
        answers = [self.answer(pickle.loads(chunk)) for chunk in table["chunk"].to_pylist()]  # noqa: S301 - from the run's own process
        return _pickled("answer", answers)

    def answer(self, chunk: Chunk) -> ChunkOutput | Fault:
        """What becomes of a chunk."""
        import ray

        if not ray.get(self._ledger.may_begin.remote(chunk.number)):
            return AugmentError(
                f"worker after worker on Ray was killed at chunk {chunk.number}, perhaps for want "
                "of memory.",
                "Finished chunks are kept: run the same command again, with fewer --workers.",
            )
        return self._worker.answer(chunk)


def run_on_ray(
    chunks: Sequence[Chunk],
    spec: WorkerSpec,
    engine: Engine,
    worker_class: type[RayWorker] = RayWorker,
) -> Generator[ChunkOutput | Fault, None, None]:
    """Run the chunks on Ray, in whatever order they finish.

    Raises:
        EngineUnavailable: The cluster is out of reach, or has no room for one worker.
        AugmentError: Ray gave up.
    """
    with (
        connected(engine, spec) as home,
        closing(_answers(chunks, spec, home, engine, worker_class)) as tables,
    ):
        for table in tables:
            for answer in table["answer"].to_pylist():
                yield pickle.loads(answer)  # noqa: S301 - from a worker of our own


def _pickled(name: str, records: Sequence[object]) -> pa.Table:
    packed = pa.array([pickle.dumps(record) for record in records], pa.large_binary())
    return pa.table({name: packed})


class _Ledger:
    """How often each chunk was begun; an actor on this node, which no lost worker takes along."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._starts: Counter[int] = Counter()

    def may_begin(self, number: int) -> bool:
        self._starts[number] += 1
        return self._starts[number] <= self._limit


def _answers(
    chunks: Sequence[Chunk],
    spec: WorkerSpec,
    home: str,
    engine: Engine,
    worker_class: type[RayWorker],
) -> Generator[pa.Table, None, None]:
    """The pickled answers, a table for each chunk, as they come."""
    import ray.data
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    threads, on_gpu = spec.threads or 1, spec.models.device.startswith("cuda")
    capacity = _worker_capacity(threads, on_gpu=on_gpu)
    here = NodeAffinitySchedulingStrategy(home, soft=False)
    ledger = ray.remote(_Ledger).options(num_cpus=0, scheduling_strategy=here)
    counting = ledger.remote(engine.max_starts)
    tables = [_pickled("chunk", [chunk]) for chunk in chunks]
    answers = ray.data.from_arrow(tables).map_batches(
        worker_class,
        fn_constructor_args=(_with_absolute_paths(spec), home, counting),
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=min(engine.workers or capacity, len(chunks))),
        num_cpus=threads,
        num_gpus=1 if on_gpu else 0,
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


def _worker_capacity(threads: int, *, on_gpu: bool) -> int:
    """How many workers the cluster has room for.

    Raises:
        EngineUnavailable: Not for one.
    """
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    capacities = [
        min(int(node.get("CPU", 0)) // threads, int(node.get("GPU", 0)) if on_gpu else 2**31)
        for node in nodes
    ]
    if not any(capacities):
        need = f"{threads} CPUs" + (" and a GPU" if on_gpu else "")
        raise EngineUnavailable(
            f"no node of the Ray cluster has {need} for a worker; "
            f"{counted(len(nodes), 'node', 'are')} there.",
            "Give fewer --threads, or add nodes.",
        )
    return sum(capacities)


def _with_absolute_paths(spec: WorkerSpec) -> WorkerSpec:
    """The same with places that mean the same whatever folder a worker runs in."""
    named = {name: getattr(spec.models, name) for name in _PATHS}
    absolute = {
        name: type(place)(Path(place).absolute())
        for name, place in named.items()
        if place is not None and (isinstance(place, Path) or Path(place).exists())
    }
    store = spec.store and spec.store.absolute()
    return replace(spec, models=replace(spec.models, **absolute), store=store)


_TIMEOUT_SECONDS = 10.0
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
    _check_reachable(_address(engine))  # Ray itself would try for minutes
    for name, value in (_QUIET if _address(engine) else _QUIET | _LOOPBACK_ONLY).items():
        os.environ.setdefault(name, value)
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise EngineUnavailable(
            f"the engine 'ray' needs Ray Data, which is not installed: {error}.",
            "Install it: pip install 'augment-distill[ray]'",
        ) from error


def _check_reachable(address: str | None) -> None:
    """Knock at ``HOST:PORT``; ``auto`` and no address are left to Ray."""
    if address in (None, "auto", "local"):
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_TIMEOUT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise EngineUnavailable(
            f"no Ray cluster answers at {address}: {error}.",
            "Expected HOST:PORT of the head node, as `ray start --head` prints it, and this "
            "machine to be a node of that cluster.",
        ) from error


@contextmanager
def connected(engine: Engine, spec: WorkerSpec) -> Iterator[str]:
    """A connection to Ray, silent, for the time of the block; gives this node's id."""
    import ray

    started_here = not ray.is_initialized()
    with _quiet_ray():
        if started_here:
            _connect(engine, spec)
        before = set(threading.enumerate())
        try:
            yield ray.get_runtime_context().get_node_id()
        finally:
            if started_here:
                _join(set(threading.enumerate()) - before)
                ray.shutdown()


def _join(threads: set[threading.Thread]) -> None:
    """Wait for threads that began while Ray was there.

    Ray Data's ends a moment after its stream was closed. One that asks anything of Ray after
    ``ray.shutdown()`` ends the whole process at once, with exit code 1 and not a word.
    """
    end = time.monotonic() + _TIMEOUT_SECONDS
    for thread in threads - {threading.current_thread()}:
        thread.join(max(0.0, end - time.monotonic()))


@contextmanager
def _quiet_ray() -> Iterator[None]:
    """Ray tells of every lost worker, draws bars and answers SIGTERM; all that is the run's."""
    import ray

    settings, driver = ray.data.DataContext.get_current(), ray._private.worker
    bars, utilities = settings.enable_progress_bars, ray._private.utils
    answer_sigterm = utilities.set_sigterm_handler
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    settings.enable_progress_bars = driver._worker_logs_enabled = False
    utilities.set_sigterm_handler = lambda _: None  # it would end the process with 1, silently
    try:
        yield
    finally:
        settings.enable_progress_bars, driver._worker_logs_enabled = bars, True
        utilities.set_sigterm_handler = answer_sigterm


def _connect(engine: Engine, spec: WorkerSpec) -> None:
    import ray

    address = _address(engine)
    started: dict[str, Any] = {}
    if not address:  # Ray for this run alone: no dashboard, nothing listens beyond this machine
        threads = spec.threads or 1
        workers = engine.workers or max(1, (os.cpu_count() or 1) // threads)
        started = {"num_cpus": workers * threads, "include_dashboard": False}
    try:
        ray.init(
            address=address or "local", logging_level=logging.ERROR, log_to_driver=False, **started
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise EngineUnavailable(
            f"no Ray cluster at {address or 'this machine'}: {first_line(error)}",
            "Start one here with `ray start --head`, or join one: ray start --address=HOST:PORT",
        ) from error


def _address(engine: Engine) -> str | None:
    return engine.address or os.environ.get("RAY_ADDRESS")
