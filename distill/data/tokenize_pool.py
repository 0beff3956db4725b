"""Parallel tokenization: documents → blocks, the same with any number of processes.

The corpus is cut into batches by its text alone, and blocks come back in order. A worker needs
neither torch nor transformers, so that it starts in a second.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing.connection import wait as wait_for

from tokenizers import Tokenizer

from augment.contract.process import DeafChildren
from distill.data.packing import BlockSpec, DocumentTokens, PackedBlocks, pack
from distill.data.text_files import DocumentPart
from distill.errors import DataInvalid

BATCH_CHARACTERS = 1 << 18
_BATCHES_AHEAD = 3  # for each process
_REPLACED = "\ufffd"


@dataclass(frozen=True, slots=True)
class TokenizedBatch:
    """The blocks of a batch, and how far the corpus is read with it, see ``DocumentPart``."""

    packed: PackedBlocks
    bytes_read: int


class CorpusTokenizer:
    """Tokenizes batches of a corpus; special tokens that a text spells out are plain text.

    ``rules`` are the tokenizer as the JSON of ``tokenizers``.
    """

    def __init__(self, rules: str, spec: BlockSpec) -> None:
        self.spec = spec
        self._tokenizer = Tokenizer.from_str(rules)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True

    def __call__(self, batch: Sequence[DocumentPart]) -> TokenizedBatch:
        """The blocks of a batch."""
        texts = [part.text for part in batch]
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        tokens = (DocumentTokens(p.document, e.ids) for p, e in zip(batch, encodings, strict=True))
        packed = pack(tokens, self.spec)
        counts = replace(packed.counts, damaged=sum(_REPLACED in text for text in texts))
        return TokenizedBatch(replace(packed, counts=counts), batch[-1].bytes_read)


def tokenize_batches(
    parts: Iterable[DocumentPart], rules: str, spec: BlockSpec, processes: int
) -> Iterator[TokenizedBatch]:
    """Tokenize and pack a corpus, which is read a few batches ahead; one process is this one.

    Yields:
        The blocks of each batch, in the order of the corpus.

    Raises:
        DataInvalid: A worker process was killed.
    """
    if processes == 1:
        yield from map(CorpusTokenizer(rules, spec), text_batches(parts))
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, _start_worker, (rules, spec))
    running: deque[Future[TokenizedBatch]] = deque()
    try:
        for batch in text_batches(parts):
            with DeafChildren():
                running.append(pool.submit(_tokenize, batch))
            if len(running) >= processes * _BATCHES_AHEAD:
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


def text_batches(parts: Iterable[DocumentPart]) -> Iterator[tuple[DocumentPart, ...]]:
    """Cut a corpus into batches of ``BATCH_CHARACTERS`` characters or slightly more."""
    batch: list[DocumentPart] = []
    size = 0
    for part in parts:
        batch.append(part)
        size += len(part.text) + 1
        if size >= BATCH_CHARACTERS:
            yield tuple(batch)
            batch, size = [], 0
    if batch:
        yield tuple(batch)


_tokenizer_here: list[CorpusTokenizer] = []  # of this worker process


def _start_worker(rules: str, spec: BlockSpec) -> None:
    """Once for each worker."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _tokenizer_here.append(CorpusTokenizer(rules, spec))


def _end_with_parent() -> None:
    """End this worker when its parent ends, even if it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _tokenize(batch: Sequence[DocumentPart]) -> TokenizedBatch:
    return _tokenizer_here[0](batch)
