"""How long a text takes from its characters to its label: measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from augment.contract import Version
from distill.data.batching import evenly_spread
from distill.data.versions import sample
from distill.evaluation.answer_times import EndToEnd, TimeShares
from distill.inference.classifier import BATCH, Backend, Classifier
from distill.inference.head import Head, Logits
from distill.inference.texts import Text

TEXTS, SINGLES = 128, 32
_STRIDE = 37  # has no divisor in common with their number
MOST_SECONDS = 2.0  # of each model, for one text at a time and for many


def texts_of(version: Version, split: str) -> list[Text]:
    """Texts of a split at even ranks of length, in an order that has nothing to do with it."""
    table = sample(version, split, 8 * TEXTS)
    columns = [table[name].to_pylist() for name in version.task.text_columns]
    return spread_texts(columns[0] if len(columns) == 1 else list(zip(*columns, strict=True)))


def spread_texts(some: Sequence[Text]) -> list[Text]:
    """``TEXTS`` of some texts at even ranks of length, in an order that does not go by it."""
    texts: list[Any] = list(some)
    texts.sort(key=lambda text: len(text) if isinstance(text, str) else sum(map(len, text)))
    chosen = [texts[at] for at in evenly_spread(len(texts), TEXTS)]
    return [chosen[at * _STRIDE % TEXTS] for at in range(TEXTS)]


def thread_counts() -> tuple[int, ...]:
    """One thread, and as many as torch may use."""
    return tuple(sorted({1, torch.get_num_threads()}))


def measure_end_to_end(
    backends: Sequence[Backend], texts: Sequence[Text], threads: int, share: float = 1.0
) -> list[EndToEnd]:
    """Time models from raw texts to answers.

    They take turns, so that a busy moment of the machine falls on all of them.

    Args:
        backends: What computes; graphs are opened with ``threads``.
        texts: Real ones, in an order that has nothing to do with their length.
        threads: That PyTorch may use meanwhile.
        share: Of the seconds that are usual, where there is less time.
    """
    most = share * MOST_SECONDS
    with _torch_threads(threads):
        timed = [_Timed(backend) for backend in backends]
        calls = [[text] for text in texts[:SINGLES]]
        singles = _measure(timed, calls, most, warm_up=3, repeats=SINGLES)
        slowest = max(single.seconds for single in singles)
        many = texts[: max(BATCH, int(most / slowest))]
        batches = _measure(timed, [many], most, warm_up=1, repeats=5)
    return [
        EndToEnd(
            threads=threads,
            batch_1=1000 * single.seconds,
            shares_1=single.shares,
            throughput_32=len(many) / batch.seconds,
            shares_32=batch.shares,
        )
        for single, batch in zip(singles, batches, strict=True)
    ]


def measure_on_threads(
    opened: Callable[[int], Sequence[Backend]], texts: Sequence[Text], share: float = 1.0
) -> list[tuple[EndToEnd, ...]]:
    """Time models with one thread, and with as many as torch may use.

    Args:
        opened: Models for a number of threads.
        texts: Likewise ``measure_end_to_end``, as is ``share``.
        share: Of the seconds that are usual.

    Returns:
        The times of each model.
    """
    counts = [measure_end_to_end(opened(n), texts, n, share) for n in thread_counts()]
    return list(zip(*counts, strict=True))


class _Timed:
    """A backend that counts the seconds of its two parts."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.tokenize = self.model = 0.0

    @property
    def head(self) -> Head:
        return self.backend.head

    def encode(self, texts: Sequence[Text]) -> Sequence[Any]:
        start = time.perf_counter()
        rows = self.backend.encode(texts)
        self.tokenize += time.perf_counter() - start
        return rows

    def run(self, rows: Sequence[Any]) -> Logits:
        start = time.perf_counter()
        logits = self.backend.run(rows)
        self.model += time.perf_counter() - start
        return logits


@dataclass(frozen=True, slots=True)
class _Median:
    seconds: float
    shares: TimeShares


def _measure(
    timed: Sequence[_Timed],
    calls: Sequence[Sequence[Text]],
    most: float,
    *,
    warm_up: int,
    repeats: int,
) -> list[_Median]:
    """The median call of each model, and where the time of all its calls went.

    Where they take long there are fewer, and one to warm up: two turns at least.
    """
    seconds: list[list[float]] = [[] for _ in timed]
    began = time.perf_counter()
    for turn in range(warm_up + repeats):
        for own, measured in zip(timed, seconds, strict=True):
            if turn in (1, warm_up):
                own.tokenize = own.model = 0.0
            start = time.perf_counter()
            Classifier(own).predict(calls[turn % len(calls)])
            measured.append(time.perf_counter() - start)
        if turn and time.perf_counter() - began > most * len(timed):
            break
    first = warm_up if turn >= warm_up else 1
    return [_median(own, measured[first:]) for own, measured in zip(timed, seconds, strict=True)]


def _median(own: _Timed, seconds: Sequence[float]) -> _Median:
    tokenize, model = (part / sum(seconds) for part in (own.tokenize, own.model))
    shares = TimeShares(tokenize=tokenize, model=model, rest=1 - tokenize - model)
    return _Median(statistics.median(seconds), shares)


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
