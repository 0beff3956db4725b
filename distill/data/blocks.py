"""Cache of tokenized corpora: blocks in one memory-mapped Arrow file, tokenized once.

CACHE/<key>/blocks.arrow   input_ids, document, length: one row for each block, in corpus order
CACHE/<key>/counts.json    ``CorpusCounts``

The key covers the corpus' content, the tokenizer and the blocks' lengths. The folder appears in one
step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from augment.contract import OutputBusy
from augment.contract.files import beside, disk_errors, locked, nearest, write_json
from augment.contract.foreign import counted
from distill.data.corpus import Corpus
from distill.data.packing import BlockSpec, CorpusCounts, PackedBlocks
from distill.data.tokenize_pool import TokenizedBatch, tokenize_batches
from distill.data.versions import tokenizer_rules
from distill.errors import DataInvalid, ModelInvalid
from distill.runs.directory import reuse
from distill.runs.progress import Gauge, Narrator
from distill.runs.records import Origin, commit_sealed, digest_of, discard, read_json

FORMAT = 1
ROWS, COUNTS = "blocks.arrow", "counts.json"


@dataclass(frozen=True, slots=True)
class Blocks:
    """A tokenized corpus: rows of ``input_ids``, ``document`` and ``length``."""

    rows: datasets.Dataset
    counts: CorpusCounts


@dataclass(frozen=True, slots=True)
class Split:
    """Blocks to train on, and blocks of other documents, perhaps none, to measure losses on."""

    train: datasets.Dataset
    held_out: datasets.Dataset


def block_spec(
    tokenizer: PreTrainedTokenizerBase, name: str, *, max_length: int, min_length: int
) -> BlockSpec:
    """A block as a model reads it that the user called ``name``; lengths as in ``BlockSpec``.

    Raises:
        ModelInvalid: Its tokenizer does not put one token before and one after a text.
    """
    ids = tokenizer("a")["input_ids"]
    inner = tokenizer("a", add_special_tokens=False)["input_ids"]
    if len(ids) < 3 or ids[1:-1] != inner or tokenizer.pad_token_id is None:
        raise ModelInvalid(
            f"the tokenizer of {name} does not frame a text as an encoder's does: expected one "
            "token before it, one after it and one for padding.",
            "Use an encoder such as BERT, RoBERTa or ELECTRA with its own tokenizer.",
        )
    return BlockSpec(max_length, min_length, cls_id=ids[0], sep_id=ids[-1])


def tokenize_corpus(
    corpus: Corpus,
    tokenizer: PreTrainedTokenizerBase,
    spec: BlockSpec,
    *,
    take: int | None,
    cache: Path,
    processes: int,
    narrator: Narrator,
) -> Blocks:
    """Tokenize a corpus, or open what an earlier call left in the cache.

    The corpus is read once, as a stream, until the blocks hold ``take`` tokens, or to its end. The
    number of processes does not change the result.

    Raises:
        DataInvalid: A file cannot be read, or there is no block in all of them.
    """
    rules = tokenizer_rules(tokenizer)
    identity = [FORMAT, corpus.digest, rules, dataclasses.astuple(spec), take]
    origin = Origin(made_from=digest_of(identity), part="blocks")
    folder = cache / origin.made_from[:16]
    id_type = pa.uint16() if len(tokenizer) <= 1 << 16 else pa.int32()

    def fill(staging: Path) -> None:
        with closing(Gauge(narrator, "tokenizing")) as gauge:
            batches = _first_tokens(tokenize_batches(corpus, rules, spec, processes), take)
            counts = _write(staging / ROWS, _with_progress(batches, corpus, take, gauge), id_type)
        if not counts.blocks:
            raise DataInvalid(
                f"{corpus.name} holds no text to train on: "
                f"{counted(counts.empty, 'document', 'are')} empty, "
                f"{counted(counts.short, 'document', 'have')} fewer than "
                f"{counted(spec.min_length, 'token')}.",
                "Name another corpus, or lower general.min_length in the recipe.",
            )
        write_json(staging / COUNTS, dataclasses.asdict(counts))

    with disk_errors(nearest(cache)):
        cache.mkdir(parents=True, exist_ok=True)
        waiting = partial(narrator.say, "waiting", "another process tokenizes this corpus")
        with locked(_lock_of(folder), waiting):
            _sweep(cache)
            if not reuse(folder, origin, narrator):
                commit_sealed(folder, origin, fill)
    counts = read_json(folder / COUNTS, CorpusCounts)
    return Blocks(datasets.Dataset.from_file(str(folder / ROWS)), counts)


def _lock_of(folder: Path) -> Path:
    return beside(folder, ".lock")


def _sweep(cache: Path) -> None:
    """Remove what killed processes left of other corpora; a living one holds its lock."""
    for left in cache.glob(".*.partial"):
        with suppress(OutputBusy), locked(_lock_of(left.with_name(left.stem[1:]))):
            discard(left)


def split(blocks: Blocks, share: float, seed: int) -> Split:
    """Hold out the blocks of a share of the documents, drawn by seed and document.

    At least one document is held out where there are several, unless the share is 0.
    """
    documents = blocks.rows.data.column("document").to_numpy()
    draw = np.random.default_rng(seed).random(int(documents[-1]) + 1)
    held_out = (draw <= max(share, draw[documents].min()))[documents]
    if not share or held_out.all():
        held_out[:] = False
    train, aside = (blocks.rows.select(np.flatnonzero(rows)) for rows in (~held_out, held_out))
    return Split(train, aside)


def _first_tokens(batches: Iterable[TokenizedBatch], take: int | None) -> Iterator[TokenizedBatch]:
    """Batches until their blocks hold so many tokens."""
    left = take
    for batch in batches:
        if left is not None and batch.packed.counts.tokens >= left:
            yield TokenizedBatch(batch.packed.first(left), batch.bytes_read)
            return
        left = None if left is None else left - batch.packed.counts.tokens
        yield batch


def _with_progress(
    batches: Iterable[TokenizedBatch], corpus: Corpus, take: int | None, gauge: Gauge
) -> Iterator[PackedBlocks]:
    """The blocks; on the way, the share of the corpus, or of what is taken, is shown."""
    tokens = 0
    for batch in batches:
        tokens += batch.packed.counts.tokens
        shares = [tokens / take] if take else []
        shares += [batch.bytes_read / corpus.size] if corpus.size else []
        gauge.show(min(max(shares), 1.0) if shares else None, counted(tokens, "token"))
        yield batch.packed


def _write(path: Path, blocks: Iterable[PackedBlocks], id_type: pa.DataType) -> CorpusCounts:
    columns = {"input_ids": pa.list_(id_type), "document": pa.int64(), "length": pa.int32()}
    schema = pa.schema(list(columns.items()))
    counts = CorpusCounts()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for packed in blocks:
            counts += packed.counts
            ends = np.concatenate([[0], np.cumsum(packed.lengths)]).astype(np.int32)
            ids = pa.ListArray.from_arrays(pa.array(ends), pa.array(packed.ids).cast(id_type))
            rows = [ids, pa.array(packed.documents), pa.array(packed.lengths)]
            writer.write_batch(pa.record_batch(rows, schema=schema))
    return counts
