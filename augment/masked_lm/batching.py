"""Batches that are halved when memory runs out, and products on one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch


def run_halving(
    batches: Iterable[list[int]],
    run: Callable[[list[int]], None],
    too_large: Callable[[list[int]], None],
) -> None:
    """Run batches in order; one that does not fit in memory is halved until it does.

    Args:
        batches: The members of each batch.
        run: Runs one batch and keeps what comes of it.
        too_large: Told of each batch that did not fit, before its halves are run.

    Raises:
        OutOfMemoryError: There is no room for a single member.
    """
    waiting = list(batches)[::-1]
    while waiting:
        members = waiting.pop()
        try:
            run(members)
        except torch.OutOfMemoryError:
            if len(members) == 1:
                raise
            too_large(members)
            middle = len(members) // 2
            waiting += [members[middle:], members[:middle]]


@contextmanager
def one_thread() -> Iterator[None]:
    """Products on a single thread: their last digits depend on the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
