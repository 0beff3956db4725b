"""Documents → blocks, in as many processes as wished: the result is the same with any number.

Chunks of the corpus are cut by its text alone and come back in order. A worker needs neither torch
nor transformers, so that it starts in a second.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing.connection import wait as wait_for

from tokenizers import Tokenizer

from distill.data.packing import Frame, Packed, Pieces, pack
from distill.data.text_files import Part
from distill.errors import DataInvalid

CHUNK = 1 << 18
_AHEAD = 3
_REPLACED = "\ufffd"


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a worker gets at a time: about ``CHUNK`` characters."""

    parts: Sequence[Part]

    @property
    def at(self) -> int:
        """Bytes of the corpus up to its end, about."""
        return self.parts[-1].at


@dataclass(frozen=True, slots=True)
class Tokenized:
    """The blocks of a chunk, and how far the corpus is read with it (``Part.at``)."""

    packed: Packed
    at: int


class Worker:
    """Tokenizes chunks; special tokens that a text spells out are plain text.

    Args:
        rules: The tokenizer as the JSON of ``tokenizers``.
        frame: What a block looks like.
    """

    def __init__(self, rules: str, frame: Frame) -> None:
        self.frame = frame
        self._tokenizer = Tokenizer.from_str(rules)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True

    def __call__(self, chunk: Chunk) -> Tokenized:
        """The blocks of a chunk."""
        texts = [part.text for part in chunk.parts]
        found = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        packed = pack(
            (Pieces(p.document, e.ids) for p, e in zip(chunk.parts, found, strict=True)),
            self.frame,
        )
        damaged = sum(_REPLACED in text for text in texts)
        return Tokenized(replace(packed, counts=replace(packed.counts, damaged=damaged)), chunk.at)


def tokenize_parts(
    parts: Iterable[Part], rules: str, frame: Frame, processes: int
) -> Iterator[Tokenized]:
    """Tokenize and pack a corpus.

    Args:
        parts: The corpus in order; it is read a few chunks ahead.
        rules: The tokenizer as the JSON of ``tokenizers``.
        frame: What a block looks like.
        processes: 1 works in this one.

    Yields:
        The blocks of each chunk, in the order of the corpus.

    Raises:
        DataInvalid: A worker process was killed.
    """
    if processes == 1:
        yield from map(Worker(rules, frame), chunks(parts))
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, _start_worker, (rules, frame))
    running: deque[Future[Tokenized]] = deque()
    try:
        for chunk in chunks(parts):
            running.append(pool.submit(_run, chunk))
            if len(running) >= processes * _AHEAD:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    except BrokenProcessPool as error:
        raise DataInvalid(
            "a process that tokenizes was killed, perhaps for want of memory.",
            "Run the same command again with fewer --processes.",
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def chunks(parts: Iterable[Part]) -> Iterator[Chunk]:
    """Cut the corpus where ``CHUNK`` characters are full."""
    held: list[Part] = []
    size = 0
    for part in parts:
        held.append(part)
        size += len(part.text) + 1
        if size >= CHUNK:
            yield Chunk(tuple(held))
            held, size = [], 0
    if held:
        yield Chunk(tuple(held))


_here: list[Worker] = []


def _start_worker(rules: str, frame: Frame) -> None:
    """Once for each worker; the parent alone answers Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _here.append(Worker(rules, frame))


def _end_with_parent() -> None:
    """A worker whose parent was killed must not live on."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _run(chunk: Chunk) -> Tokenized:
    return _here[0](chunk)
