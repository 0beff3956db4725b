"""Tokenized versions in a memory-mapped cache; samples and counts of a split."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from augment.contract import UNLABELED, TaskSpec, Version, models
from distill.data.batching import evenly_spread
from distill.data.row_sets import RowSet, row_set
from distill.errors import DataInvalid
from distill.models.limits import NO_LIMIT
from distill.recipes.mixtures import Data, count_parts, unlabeled_split
from distill.runs.directory import reuse
from distill.runs.distributed import main_process_first
from distill.runs.progress import Narrator
from distill.runs.records import Origin, digest_of, write_sealed

ROWS_AT_ONCE = 4096
ROWS_MEASURED, CUT = 2048, 64
"""Rows, and tokens of each, that narrowing is measured on."""


@dataclass(frozen=True, slots=True)
class TokenizedSplits:
    """The tokenized splits of a version.

    Attributes:
        train: All rows; columns ``input_ids``, ``token_type_ids`` where the tokenizer gives
            them, ``labels``, ``idx``, ``variant`` and ``length`` (tokens, special ones included).
        validation: Split name to its labeled rows; the first selects the best checkpoint.
        unlabeled: Rows without labels, where there are any and they were asked for; the same
            columns, ``labels`` being -1 or, of a regression, not a number.
    """

    train: datasets.Dataset
    validation: dict[str, datasets.Dataset]
    unlabeled: datasets.Dataset | None = None

    def rows(self, data: Data) -> RowSet:
        """The rows to train on that a recipe's ``data`` names."""
        return row_set(self.train, self.unlabeled, data)


def tokenize(
    version: Version,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    cache: Path,
    narrator: Narrator | None = None,
    *,
    unlabeled: bool = False,
) -> TokenizedSplits:
    """Tokenize training and validation splits, or open what an earlier call left in the cache.

    Rows are cut to ``max_length`` tokens; files in the cache are named by version, tokenizer and
    length, and sealed with them. The split without labels is read where it is asked for.

    Raises:
        DataInvalid: A split is empty, or a label is missing, outside the task or not a number.
    """
    settings = (tokenizer, max_length, cache, narrator)
    with main_process_first():
        train = tokenize_split(version, version.task.splits.train, *settings)
        validation = tokenize_validation(version, *settings)
        split = unlabeled_split(version) if unlabeled else None
        more = tokenize_split(version, split, *settings) if split else None
        return TokenizedSplits(train, validation, more)


def tokenize_validation(
    version: Version,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    cache: Path,
    narrator: Narrator | None = None,
) -> dict[str, datasets.Dataset]:
    """The labeled rows of every validation split that is stored.

    Raises:
        DataInvalid: There is none.
    """
    validation = {
        split: labeled(
            tokenize_split(version, split, tokenizer, max_length, cache, narrator),
            version.task,
            split,
        )
        for split in version.task.splits.validation
        if split in version.splits
    }
    if not any(validation.values()):
        raise DataInvalid(
            f"{version.reference} has no labeled validation rows: nothing could be measured.",
            "Make a version whose source has a labeled validation split.",
        )
    return {split: rows for split, rows in validation.items() if len(rows)}


def labeled_tests(version: Version) -> tuple[str, ...]:
    """The stored test splits with a label in some row: GLUE's have none."""
    column = version.task.label.column
    return tuple(
        split
        for split in version.task.splits.test
        if split in version.splits
        and any(
            pc.any(pc.not_equal(batch.column(column), UNLABELED)).as_py()
            for batch in version.batches(split, [column])
        )
    )


def tokenize_tests(
    version: Version,
    splits: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    cache: Path,
) -> dict[str, datasets.Dataset]:
    """The labeled rows of ``labeled_tests``, once nothing is to be chosen any more."""
    settings, task = (tokenizer, max_length, cache), version.task
    return {
        split: labeled(tokenize_split(version, split, *settings), task, split) for split in splits
    }


def labeled(rows: datasets.Dataset, task: TaskSpec, split: str) -> datasets.Dataset:
    """The rows with a label; -1 is a score like any other outside a test split."""
    if split == task.splits.unlabeled:
        return rows.select([])
    if task.label.kind == "regression" and split not in task.splits.test:
        return rows
    return _keep(rows, "labels", lambda labels: labels != UNLABELED)


def tokenize_split(
    version: Version,
    split: str,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    cache: Path,
    narrator: Narrator | None = None,
) -> datasets.Dataset:
    """One split as a memory-mapped data set, see ``tokenize``."""
    if not version.rows(split):
        raise DataInvalid(f"{version.reference}: split {split!r} has no rows.")
    origin = Origin(
        made_from=fingerprint(version, tokenizer, max_length), part=f"tokens of {split}"
    )
    file = cache / f"{split}-{origin.made_from[:16]}.arrow"
    if not reuse(file, origin, narrator):
        fill = partial(_write, version=version, split=split, tokenizer=tokenizer)
        write_sealed(file, origin, partial(fill, max_length=max_length))
    return datasets.Dataset.from_file(str(file))


def fingerprint(version: Version, tokenizer: PreTrainedTokenizerBase, max_length: int) -> str:
    """The digest of everything that decides the tokenized rows."""
    manifest = version.manifest
    files = [entry.model_dump(mode="json") for entry in manifest.files]
    return digest_of(manifest.id, tokenizer_rules(tokenizer), max_length, files)


def tokenizer_rules(tokenizer: PreTrainedTokenizerBase) -> str:
    """All that decides how a tokenizer splits a text, as canonical JSON."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = models.tokenizer_rules(backend.to_str()) if backend else tokenizer.get_vocab()
    return json.dumps(rules, sort_keys=True)


def _write(
    path: Path,
    version: Version,
    split: str,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> None:
    from datasets.arrow_writer import ArrowWriter

    task = version.task
    features = _features(task, "token_type_ids" in tokenizer.model_input_names)
    with ArrowWriter(path=str(path), features=features) as writer:
        for batch in batches(version, split):
            check_labels(version, split, batch)
            columns = encode(task, batch, tokenizer, max_length)
            writer.write_batch({name: columns[name] for name in features})
        writer.finalize()


def batches(version: Version, split: str) -> Iterator[pa.RecordBatch]:
    """The rows of a split, a few thousand at a time: texts, label, ``idx``, ``variant``."""
    task = version.task
    columns = [*task.text_columns, task.label.column, "idx", "variant"]
    yield from version.batches(split, columns, ROWS_AT_ONCE)


def encode(
    task: TaskSpec, batch: pa.RecordBatch, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> dict[str, Any]:
    """Rows of a version as columns of a tokenized data set."""
    texts = [batch.column(name).to_pylist() for name in task.text_columns]
    missing = UNLABELED if task.label.kind == "classification" else math.nan
    return {
        **token_columns(texts, tokenizer, max_length),
        "labels": batch.column(task.label.column).fill_null(missing),
        "idx": batch.column("idx"),
        "variant": batch.column("variant"),
    }


def token_columns(
    texts: Sequence[list[str]], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> dict[str, Any]:
    """Texts, or two lists of them for pairs, as ``input_ids`` and so on, and ``length``."""
    encoded = tokenizer(
        *texts,
        truncation=True,
        max_length=max_length,
        split_special_tokens=True,
        return_attention_mask=False,
    )
    return {**encoded, "length": [len(ids) for ids in encoded["input_ids"]]}


def _features(task: TaskSpec, segments: bool) -> datasets.Features:
    value = datasets.Value
    number = "int64" if task.label.kind == "classification" else "float32"
    columns = {"input_ids": datasets.List(value("int32"))}
    if segments:
        columns["token_type_ids"] = datasets.List(value("int8"))
    columns |= {"labels": value(number), "idx": value("int64"), "variant": value("int32")}
    return datasets.Features({**columns, "length": value("int32")})


def check_labels(version: Version, split: str, batch: pa.RecordBatch) -> None:
    """Check that labels are within the task; training rows must have one, unlabeled rows none.

    Raises:
        DataInvalid: One is not, or a text or label is missing.
    """
    task = version.task
    where = f"{version.reference}: split {split!r}, row idx"
    blind = split == task.splits.unlabeled
    for name in (*task.text_columns, *([] if blind else [task.label.column])):
        if batch.column(name).null_count:
            row = batch.column("idx")[batch.column(name).is_null().index(True).as_py()]
            raise DataInvalid(f"{where} {row}: {name} is empty (null).")
    if blind:
        known = batch.column(task.label.column).is_valid()
        if known.true_count:
            row = batch.column("idx")[known.index(True).as_py()]
            raise DataInvalid(f"{where} {row}: it has a label, and rows of this split have none.")
        return
    labels = batch.column(task.label.column).to_numpy()
    missing = labels == UNLABELED
    if task.label.names:
        bad, last = (labels < 0) | (labels >= len(task.label.names)), len(task.label.names) - 1
        fault = f"is not one of 0 to {last}"
    else:
        bad, fault = ~np.isfinite(labels), "is not a usable score"
    if split != task.splits.train:
        bad &= ~missing
    if bad.any():
        row = batch.column("idx")[int(bad.argmax())]
        raise DataInvalid(f"{where} {row}: label {labels[bad.argmax()]} {fault}.")


def _keep(rows: datasets.Dataset, column: str, condition: Any) -> datasets.Dataset:
    kept = condition(np.concatenate([c.to_numpy() for c in rows.data.column(column).chunks]))
    return rows if kept.all() else rows.select(np.flatnonzero(kept))


@dataclass(frozen=True, slots=True)
class SplitCounts:
    """Rows of a split: in all, with ``variant`` 0, and of each class (none for a regression)."""

    rows: int
    original: int
    classes: NDArray[np.int64]


def count_split(version: Version, split: str) -> SplitCounts:
    """Count the rows of a split by class and variant."""
    classes = len(version.task.label.names)
    original, counts = 0, np.zeros(classes, dtype=np.int64)
    column = version.task.label.column
    for batch in version.batches(split, [column, "variant"]):
        original += int((batch["variant"].to_numpy() == 0).sum())
        labels = batch[column].to_numpy(zero_copy_only=False)
        if classes:
            known = labels[(labels >= 0) & (labels < classes)]
            counts += np.bincount(known, minlength=classes)
    return SplitCounts(version.rows(split), original, counts)


def texts_of_rows(version: Version, split: str, index: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """The texts of some original rows by their number."""
    wanted, found = pa.array(index, pa.int64()), {}
    for batch in batches(version, split):
        chosen = pc.and_(
            pc.equal(batch.column("variant"), 0),
            pc.is_in(pc.cast(batch.column("idx"), pa.int64()), wanted),
        )
        some = batch.filter(chosen)
        columns = [some.column(name).to_pylist() for name in version.task.text_columns]
        for number, *texts in zip(some.column("idx").to_pylist(), *columns, strict=True):
            found[number] = tuple(texts)
    return found


def sample(version: Version, split: str, most: int, *, originals: bool = False) -> pa.Table:
    """Rows at even distances over a split, at most ``most``; their labels are checked.

    Args:
        version: Opened.
        split: Of it; with ``originals`` that of training.
        most: Rows.
        originals: Of the source rows alone.

    Raises:
        DataInvalid: A row read on the way has no usable text or label.
    """
    total = count_parts(version)["original"] if originals else version.rows(split)
    indices, first = evenly_spread(total, min(most, total)), 0
    taken = []
    for batch in batches(version, split):
        check_labels(version, split, batch)
        own = batch.filter(pc.equal(batch.column("variant"), 0)) if originals else batch
        within = indices[(indices >= first) & (indices < first + len(own))] - first
        taken.append(own.take(pa.array(within)))
        first += len(own)
    return pa.Table.from_batches(taken)


def sample_drawn(version: Version, most: int, *, unlabeled: bool) -> pa.Table:
    """Rows at even distances over ``train``, or over that and the rows without labels."""
    split = version.task.splits.train
    blind = unlabeled_split(version) if unlabeled else None
    if blind is None:
        return sample(version, split, most)
    share = version.rows(split) / (version.rows(split) + version.rows(blind))
    few = min(max(1, round(most * share)), most - 1)
    return pa.concat_tables([sample(version, split, few), sample(version, blind, most - few)])


def sample_originals(version: Version, most: int) -> pa.Table:
    """Source rows at even distances over ``train``; where these are few, ones without labels too.

    Raises:
        DataInvalid: A row read on the way has no usable text or label.
    """
    found = sample(version, version.task.splits.train, most, originals=True)
    blind = unlabeled_split(version)
    if blind is None or len(found) == most:
        return found
    return pa.concat_tables([found, sample(version, blind, most - len(found))])


@dataclass(frozen=True)
class TokenSamples:
    """Token ids of some source rows, cut to a few: what a teacher is measured on to be narrowed.

    Nothing is read before they are first asked for, and nothing again after it.
    """

    version: Version
    tokenizer: PreTrainedTokenizerBase

    def __iter__(self) -> Iterator[list[int]]:
        """One text after the other."""
        return iter(self._rows)

    @cached_property
    def _rows(self) -> list[list[int]]:
        rows = sample_originals(self.version, ROWS_MEASURED)
        if not len(rows):
            return []
        read = tokenize_sample(self.version.task, rows, self.tokenizer, CUT)
        return [*read["input_ids"]]


def tokenize_sample(
    task: TaskSpec, rows: pa.Table, tokenizer: PreTrainedTokenizerBase, max_length: int = NO_LIMIT
) -> datasets.Dataset:
    """Rows of a version, as ``sample`` gives them, as the trainer reads them, in memory."""
    batch = rows.combine_chunks().to_batches()[0]
    columns = encode(task, batch, tokenizer, max_length)
    plain = {n: c.to_pylist() if isinstance(c, pa.Array) else c for n, c in columns.items()}
    return datasets.Dataset.from_dict(plain)
