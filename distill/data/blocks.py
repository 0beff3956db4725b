"""A corpus as blocks in one memory-mapped Arrow file, tokenized once.

CACHE/<key>/blocks.arrow   input_ids, document, length: one row for each block, in corpus order
CACHE/<key>/counts.json    what became of the corpus

The key covers the corpus' content, the tokenizer and the cut. The folder appears in one step.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from augment.contract.files import commit_folder, locked, write_json
from distill.data.corpus import Corpus
from distill.data.packing import Counts, Frame, Packed
from distill.data.tokenize_pool import Tokenized, tokenize_parts
from distill.data.versions import tokenizer_rules
from distill.errors import DataInvalid, ModelInvalid
from distill.progress import Gauge, Narrator

FORMAT = 1
ROWS, COUNTS = "blocks.arrow", "counts.json"


@dataclass(frozen=True, slots=True)
class Blocks:
    """A tokenized corpus.

    Attributes:
        rows: Columns ``input_ids``, ``document`` and ``length``.
        counts: What became of the corpus.
    """

    rows: datasets.Dataset
    counts: Counts


@dataclass(frozen=True, slots=True)
class Split:
    """Blocks to train on, and blocks of other documents to measure losses on."""

    train: datasets.Dataset
    held_out: datasets.Dataset


def frame_of(tokenizer: PreTrainedTokenizerBase, name: str, *, length: int, minimum: int) -> Frame:
    """What a block looks like to a model.

    Raises:
        ModelInvalid: Its tokenizer does not put one piece before and one after a text.
    """
    whole = tokenizer("a")["input_ids"]
    inner = tokenizer("a", add_special_tokens=False)["input_ids"]
    if len(whole) < 3 or whole[1:-1] != inner or tokenizer.pad_token_id is None:
        raise ModelInvalid(
            f"the tokenizer of {name} does not frame a text as an encoder's does: expected one "
            "piece before it, one after it and one for padding.",
            "Use an encoder such as BERT, RoBERTa or ELECTRA with its own tokenizer.",
        )
    return Frame(length, minimum, opening=whole[0], closing=whole[-1])


def tokenize_corpus(
    corpus: Corpus,
    tokenizer: PreTrainedTokenizerBase,
    frame: Frame,
    *,
    take: int | None,
    cache: Path,
    processes: int,
    narrator: Narrator,
) -> Blocks:
    """Tokenize a corpus, or open what an earlier call left in the cache.

    Args:
        corpus: Read once, as a stream.
        tokenizer: The teacher's.
        frame: What a block looks like.
        take: Stop when the blocks hold so many pieces, or nothing for the whole corpus.
        cache: Folder of tokenized corpora.
        processes: How many tokenize; their number does not change the result.
        narrator: Where progress is shown.

    Raises:
        DataInvalid: A file cannot be read, or there is no block in all of them.
    """
    rules = tokenizer_rules(tokenizer)
    parts = [FORMAT, corpus.digest, rules, dataclasses.astuple(frame), take]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    folder = cache / key
    kind = pa.uint16() if len(tokenizer) <= 1 << 16 else pa.int32()

    def fill(staging: Path) -> None:
        gauge = Gauge(narrator, "tokenizing")
        try:
            found = tokenize_parts(corpus, rules, frame, processes)
            counts = _write(staging / ROWS, _shown(_taken(found, take), corpus, take, gauge), kind)
        finally:
            gauge.close()
        if not counts.blocks:
            raise _nothing(corpus, counts, frame)
        write_json(staging / COUNTS, dataclasses.asdict(counts))

    folder.parent.mkdir(parents=True, exist_ok=True)
    told = partial(narrator.say, "waiting", "another process tokenizes this corpus")
    with locked(folder.with_name(f".{folder.name}.lock"), told):
        if not folder.is_dir():
            commit_folder(folder, fill)
    stored = json.loads((folder / COUNTS).read_text(encoding="utf-8"))
    return Blocks(datasets.Dataset.from_file(str(folder / ROWS)), Counts(**stored))


def split(blocks: Blocks, share: float, seed: int) -> Split:
    """Hold out the blocks of some documents, drawn by seed and document.

    Args:
        blocks: All of them.
        share: Of the documents; at least one where there are several, unless 0.
        seed: Of the draw.
    """
    documents = blocks.rows.data.column("document").to_numpy()
    draw = np.random.default_rng(seed).random(int(documents[-1]) + 1)
    aside = (draw <= max(share, draw[documents].min()))[documents]
    if not share or aside.all():
        aside[:] = False
    return Split(
        blocks.rows.select(np.flatnonzero(~aside)), blocks.rows.select(np.flatnonzero(aside))
    )


def _taken(found: Iterable[Tokenized], take: int | None) -> Iterator[Tokenized]:
    left = take
    for some in found:
        if left is not None and some.packed.counts.tokens >= left:
            yield Tokenized(some.packed.first(left), some.at)
            return
        left = None if left is None else left - some.packed.counts.tokens
        yield some


def _shown(
    found: Iterable[Tokenized], corpus: Corpus, take: int | None, gauge: Gauge
) -> Iterator[Packed]:
    """The blocks; on the way, how far they are of the corpus or of what is taken."""
    tokens = 0
    for some in found:
        tokens += some.packed.counts.tokens
        shares = [tokens / take] if take else []
        shares += [some.at / corpus.size] if corpus.size else []
        gauge.show(min(max(shares), 1.0) if shares else None, f"{tokens:,} tokens")
        yield some.packed


def _write(path: Path, found: Iterable[Packed], kind: pa.DataType) -> Counts:
    columns = {"input_ids": pa.list_(kind), "document": pa.int64(), "length": pa.int32()}
    schema = pa.schema(list(columns.items()))
    counts = Counts()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for packed in found:
            counts += packed.counts
            ends = np.concatenate([[0], np.cumsum(packed.lengths)]).astype(np.int32)
            ids = pa.ListArray.from_arrays(pa.array(ends), pa.array(packed.ids).cast(kind))
            rows = [ids, pa.array(packed.documents), pa.array(packed.lengths)]
            writer.write_batch(pa.record_batch(rows, schema=schema))
    return counts


def _nothing(corpus: Corpus, counts: Counts, frame: Frame) -> DataInvalid:
    return DataInvalid(
        f"{corpus.name} holds no text to train on: {counts.empty:,} documents are empty and "
        f"{counts.short:,} have fewer than {frame.minimum} pieces.",
        "Name another corpus, or lower general.min_length in the recipe.",
    )
