"""Finding, starting and silencing Ray."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from augment.engine import Engine
from augment.errors import EngineUnavailable
from augment.work import Work

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
def connected(engine: Engine, work: Work) -> Iterator[str]:
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


def _connect(engine: Engine, work: Work) -> None:
    import ray

    address = _address(engine)
    here: dict[str, Any] = {} if address else _local(engine, work)
    try:
        ray.init(
            address=address or "local", logging_level=logging.ERROR, log_to_driver=False, **here
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise EngineUnavailable(
            f"no Ray cluster at {address or 'this machine'}: {str(error).strip().splitlines()[0]}",
            "Start one here with `ray start --head`, or join one: ray start --address=HOST:PORT",
        ) from error


def _address(engine: Engine) -> str | None:
    return engine.address or os.environ.get("RAY_ADDRESS")


def _local(engine: Engine, work: Work) -> dict[str, Any]:
    """Ray for this run alone: no dashboard, and nothing listens beyond this machine."""
    threads = work.threads or 1
    workers = engine.workers or max(1, (os.cpu_count() or 1) // threads)
    return {"num_cpus": workers * threads, "include_dashboard": False}
