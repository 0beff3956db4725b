"""A model without the tokens that a version does not need, and the proof that little changed.

FOLDER/   config.json model.safetensors tokenizer.json tokenizer_config.json
          trim.json                                   what was left out, and what that did
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedTokenizerBase

from augment.contract import Version
from augment.contract.files import check_output, commit_folder, new_place, sole_writer, write_json
from augment.contract.foreign import counted
from augment.contract.model_folders import SAFETENSORS
from augment.contract.models import quiet_libraries
from augment.contract.version import open_checked
from distill.data.scratch import scratch
from distill.data.versions import batches, check_labels
from distill.errors import ModelInvalid, UsageError
from distill.evaluation.compare import labeled_splits
from distill.evaluation.cost import weight_bytes
from distill.evaluation.evaluate import changed_answers, predict, scores_of
from distill.evaluation.results import Scores, Selection
from distill.inference.vocabulary import vocabulary_digest
from distill.models.folders import folder_digest
from distill.models.loading import open_classifier, read_tokenizer
from distill.models.trimming import Source, open_source, write_trimmed
from distill.runs.card import trimmed_card, write_card
from distill.runs.distributed import device
from distill.runs.progress import Gauge, Narrator
from distill.runs.records import Record, read_json
from distill.serving.segmentation import Numbers, Pieces, compare, split_rows

RECORD = "trim.json"
MIN_COUNT = 1
TOLERANCE = 1e-5


class Coverage(Record):
    """What became of the rows of a split.

    Attributes:
        rows: In all.
        same_rows: Whose pieces are those of before.
        tokens: Pieces of before, special ones left out.
        kept_tokens: Of these, the ones that are still tokens.
        new_tokens: Pieces now.
        unknown: Unknown pieces of before.
        new_unknown: Unknown pieces now; never more in a row.
    """

    rows: int
    same_rows: int
    tokens: int
    kept_tokens: int
    new_tokens: int
    unknown: int
    new_unknown: int


class Sizes(Record):
    """What a model takes, before or after.

    Attributes:
        tokens: Rows of the embedding table.
        table_bytes: Of that table in float32.
        weight_bytes: Of the weights' files, as they are stored.
        tokenizer_bytes: Of ``tokenizer.json``.
    """

    tokens: int
    table_bytes: int
    weight_bytes: int
    tokenizer_bytes: int


class TrimScores(Record):
    """A classifier's scores on the validation splits.

    Attributes:
        before: Of the whole model.
        after: Of the trimmed one.
        drop: Of the selection metric on the first split.
        answers_changed: Rows with another class.
        logit_difference: The largest difference of a logit on rows whose pieces are the same.
    """

    selection: Selection
    before: Scores
    after: Scores
    drop: float
    answers_changed: int
    logit_difference: float


class TrimResult(Record):
    """``trim.json``.

    Attributes:
        model: What the user called it.
        min_count: How often a token was seen that stays; 0 where a size was given.
        vocabulary: The digest that the config names.
        required: Tokens that stay whether or not they were seen.
        scores: Of a classifier.
    """

    model: str
    model_sha256: str
    version: str
    version_id: str
    min_count: int
    vocabulary: str
    required: int
    before: Sizes
    after: Sizes
    splits: dict[str, Coverage]
    scores: TrimScores | None = None


def trim_model(
    model: str | os.PathLike[str],
    version: Version | str | Path,
    *,
    out: str | Path,
    min_count: int | None = None,
    size: int | None = None,
    quiet: bool = False,
) -> TrimResult:
    """Write a copy of a model that has only the tokens that a version needs.

    Args:
        model: Folder, run directory or hub name of a classifier of the task, or of an encoder.
        version: A version or a reference to one; its training and unlabeled rows are counted.
        out: The new folder; it appears when everything in it is whole.
        min_count: How often a token is seen that stays; ``MIN_COUNT`` if left out.
        size: How many tokens stay instead: the most frequent.
        quiet: Say nothing on stderr.

    Raises:
        UsageError: ``out`` exists, or the numbers contradict each other or leave nothing out.
        ModelInvalid: The model cannot be trimmed.
        Fault: With a sentence that says what to do.

    Examples:
        >>> from distill import trim
        >>> found = trim("runs/reviews", "data/versions/reviews", out="models/trimmed")
        >>> assert found.after.tokens < found.before.tokens
    """
    quiet_libraries()
    if min_count is not None and size is not None:
        raise UsageError("--min-count and --size say the same thing twice.", "Give one of them.")
    out = new_place(out)
    with sole_writer(out):
        if out.exists():
            raise UsageError(f"{out} exists.", "Choose another --out, or remove it.")
        check_output(out)
        opened, narrator = open_checked(version), Narrator(quiet=quiet)
        least = MIN_COUNT if min_count is None else min_count
        name = os.fspath(model)
        commit_folder(out, lambda at: fill_trimmed(at, name, opened, size, least, narrator))
    return read_json(out / RECORD, TrimResult)


def fill_trimmed(
    folder: Path, model: str, version: Version, size: int | None, least: int, narrator: Narrator
) -> None:
    """Write the copy and its record into an empty folder.

    Args:
        folder: It.
        model: As ``trim_model``.
        version: Opened.
        size: How many tokens stay; None for those that were seen often enough.
        least: How often that is.
        narrator: Is told how far it is.

    Raises:
        UsageError: The size is too small, or nothing would be left out.
        ModelInvalid: The model cannot be trimmed.
    """
    source = open_source(model, version.task)
    vocabulary = source.vocabulary
    counts = _count(source, version, narrator)
    kept = (
        vocabulary.seen(counts, least) if size is None else vocabulary.most_frequent(counts, size)
    )
    if len(kept) == len(vocabulary.ids):
        raise UsageError(
            f"nothing of the vocabulary of {model} would be left out: all "
            f"{counted(len(kept), 'token')} "
            "are single characters or special, or were seen.",
            "Raise --min-count, or give a --size.",
        )
    narrator.say("keeping", f"{len(kept):,} of {counted(len(vocabulary.ids), 'token')}")
    write_trimmed(source, kept.tolist(), folder)
    new = np.full(vocabulary.size, -1, dtype=np.int64)
    new[kept] = np.arange(len(kept))
    tokenizer = read_tokenizer(str(folder))
    result = TrimResult(
        model=model,
        model_sha256=folder_digest(model),
        version=version.reference,
        version_id=version.manifest.id,
        min_count=least if size is None else 0,
        vocabulary=vocabulary_digest(tokenizer.get_vocab()),
        required=len(vocabulary.required),
        before=_sizes(source.table, source.tokenizer, weight_bytes(source.model)),
        after=_sizes(
            source.table, tokenizer, (folder / SAFETENSORS).stat().st_size, rows=len(kept)
        ),
        splits={
            split: _cover(source, tokenizer, version, split, new, narrator)
            for split in version.splits
        },
        **({"scores": _score(source, folder, version, new)} if source.classifier else {}),
    )
    write_json(folder / RECORD, result.to_json())
    write_card(folder, trimmed_card(folder, version, result))


def _reader(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """A tokenizer's core, which takes special tokens in a text for text and cuts nothing."""
    core = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    core.no_truncation()
    core.no_padding()
    core.encode_special_tokens = True
    return core


def _texts(
    version: Version, split: str, title: str, narrator: Narrator
) -> Iterator[tuple[pa.RecordBatch, list[list[str]]]]:
    """The rows of a split, checked, with the values of their text columns."""
    done, rows = 0, max(1, version.rows(split))
    with closing(Gauge(narrator, title)) as gauge:
        for batch in batches(version, split):
            check_labels(version, split, batch)
            yield batch, [batch.column(name).to_pylist() for name in version.task.text_columns]
            done += len(batch)
            gauge.show(done / rows, f"{split}: {done:,} of {counted(rows, 'row')}")


def _count(source: Source, version: Version, narrator: Narrator) -> Numbers:
    """How often each token stands in the rows that models learn from, shape (tokens,)."""
    reader = _reader(source.tokenizer)
    counts = np.zeros(source.vocabulary.size, dtype=np.int64)
    for split in version.trained:
        for _, texts in _texts(version, split, "counting", narrator):
            counts += np.bincount(split_rows(reader, texts).ids, minlength=len(counts))
    return counts


def _cover(
    source: Source,
    tokenizer: PreTrainedTokenizerBase,
    version: Version,
    split: str,
    new: Numbers,
    narrator: Narrator,
) -> Coverage:
    """Split every row of a split in both ways.

    Raises:
        ModelInvalid: A row is split otherwise though all its pieces stay, or can no longer be
            read.
    """
    before, after = _reader(source.tokenizer), _reader(tokenizer)
    framing = before.num_special_tokens_to_add(len(version.task.text_columns) > 1)
    unknown, total = source.tokenizer.unk_token_id, np.zeros(7, dtype=np.int64)
    for batch, texts in _texts(version, split, "comparing", narrator):
        old, now = split_rows(before, texts), split_rows(after, texts)
        found = compare(old, now, new, unknown)
        for wrong, what in (
            (found.broken, "is split in another way, though all its pieces are kept"),
            (found.new_unknown > found.unknown, "has a word that could be read, and no longer can"),
        ):
            if wrong.any():
                row = batch.column("idx")[int(wrong.argmax())]
                raise ModelInvalid(
                    f"the vocabulary of {source.name} cannot be trimmed so: split {split!r}, row "
                    f"idx {row} {what}.",
                    "Keep more tokens, or use the model as it is.",
                )
        rows = len(batch)
        total += [
            rows,
            found.same.sum(),
            old.lengths.sum() - framing * rows,
            found.kept.sum() - framing * rows,
            now.lengths.sum() - framing * rows,
            found.unknown.sum(),
            found.new_unknown.sum(),
        ]
    return Coverage(**dict(zip(Coverage.model_fields, total.tolist(), strict=True)))


def _sizes(
    table: nn.Embedding, tokenizer: PreTrainedTokenizerBase, weights: int, *, rows: int = 0
) -> Sizes:
    rows = rows or table.num_embeddings
    return Sizes(
        tokens=rows,
        table_bytes=4 * rows * table.embedding_dim,
        weight_bytes=weights,
        tokenizer_bytes=len(tokenizer.backend_tokenizer.to_str(pretty=True).encode()),
    )


def _score(source: Source, folder: Path, version: Version, new: Numbers) -> TrimScores:
    """Both classifiers on the validation rows.

    Raises:
        ModelInvalid: They answer a row otherwise that both read as the same pieces.
    """
    task, before = version.task, source.classifier
    assert before is not None
    nn.Module.to(before.model, device())
    after = open_classifier(str(folder), task)
    with scratch() as one, scratch() as other:
        old = labeled_splits(version, None, before, source.max_length, one)
        now = labeled_splits(version, None, after, source.max_length, other)
        logits = {split: (predict(before, old[split]), predict(after, now[split])) for split in old}
        scores = [
            {split: scores_of(logits[split][at], rows, task, own) for split, rows in old.items()}
            for at, own in enumerate((before.calibration, after.calibration))
        ]
        same = {
            split: compare(_stored(old[split]), _stored(now[split]), new, None).same
            for split in old
        }
    difference = max(
        float(np.abs(a - b)[same[split]].max(initial=0)) for split, (a, b) in logits.items()
    )
    largest = max(float(np.abs(a).max()) for a, _ in logits.values())
    if difference > TOLERANCE * max(1.0, largest):
        raise ModelInvalid(
            f"{source.name} does not answer by its tokens alone: trimmed, it answers the same "
            f"tokens otherwise by {difference:.1e}.",
            "Use the model as it is.",
        )
    selection = Selection(metric=task.selection_metric, split=next(iter(old)))
    return TrimScores(
        selection=selection,
        before=scores[0],
        after=scores[1],
        drop=selection.of(scores[0]) - selection.of(scores[1]),
        answers_changed=sum(
            changed_answers(a, b, task, before.calibration) for a, b in logits.values()
        ),
        logit_difference=difference,
    )


def _stored(rows: datasets.Dataset) -> Pieces:
    """The tokens of tokenized rows."""
    ids = list(rows["input_ids"])
    return Pieces(
        np.fromiter(chain.from_iterable(ids), np.int64), np.fromiter(map(len, ids), np.int64)
    )
