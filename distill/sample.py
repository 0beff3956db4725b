"""A look at a version without reading it whole into memory: counts of all rows, some of them."""

from __future__ import annotations

from dataclasses import dataclass

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from augment.contract import TaskSpec, Version
from distill.dataset import batches, check_labels, encode

NO_CUT = 10**6


@dataclass(frozen=True, slots=True)
class Census:
    """All rows of a split, counted.

    Attributes:
        rows: In all.
        original: Those with ``variant`` 0.
        classes: Rows of each class, shape (classes,); empty for a regression.
    """

    rows: int
    original: int
    classes: NDArray[np.int64]


def census(version: Version, split: str) -> Census:
    """Count the rows of a split by class and variant."""
    classes = len(version.task.label.names)
    original, counts = 0, np.zeros(classes, dtype=np.int64)
    column = version.task.label.column
    for file in version.files(split):
        table = pq.read_table(file, columns=[column, "variant"])
        original += int((table["variant"].to_numpy() == 0).sum())
        labels = table[column].to_numpy()
        if classes:
            known = labels[(labels >= 0) & (labels < classes)]
            counts += np.bincount(known, minlength=classes)
    return Census(version.rows(split), original, counts)


def sample(version: Version, split: str, most: int) -> pa.Table:
    """Rows at even distances over a split, at most ``most``; their labels are checked.

    Raises:
        DataInvalid: A row read on the way has no usable text or label.
    """
    every = -(-version.rows(split) // most)
    found, seen = [], 0
    for batch in batches(version, split):
        check_labels(version, split, batch)
        wanted = np.arange(-seen % every, len(batch), every)
        found.append(batch.take(pa.array(wanted)))
        seen += len(batch)
    return pa.Table.from_batches(found)


def tokenise_sample(
    task: TaskSpec, rows: pa.Table, tokenizer: PreTrainedTokenizerBase, max_length: int = NO_CUT
) -> datasets.Dataset:
    """Rows of a version as the trainer reads them, in memory."""
    batch = rows.combine_chunks().to_batches()[0]
    columns = encode(task, batch, tokenizer, max_length)
    plain = {n: c.to_pylist() if isinstance(c, pa.Array) else c for n, c in columns.items()}
    return datasets.Dataset.from_dict(plain)
