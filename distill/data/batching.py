"""Batching: collation, batches of like length, evenly spread and longest rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from distill.data.mixtures import Mixture

SOFT_LABELS, TEACHER_STATES = "soft_labels", "teacher_states"
BATCHES_IN_POOL = 50
MODEL_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
ROW_NUMBERS = ("idx", "variant", "document")


@dataclass(frozen=True, slots=True)
class Collator:
    """Pads to the longest row of the batch, and no further.

    Attributes:
        pad_token_id: Fills ``input_ids``.
        fixed_length: Pad every batch to this length instead: only for losses that count padding.
    """

    pad_token_id: int
    fixed_length: int | None = None

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Build a batch of tokenized rows.

        Returns:
            ``input_ids``, ``attention_mask`` and, where the rows have them, ``token_type_ids``,
            all int64 of shape (batch, length); ``labels``, and the row numbers ``idx``,
            ``variant`` or ``document`` where the rows have them, of shape (batch,);
            ``soft_labels``, float32 of shape (batch, classes), where the rows have them;
            likewise ``teacher_states`` of shape (batch, length, numbers), 0 where it is padded.
        """
        length = self.fixed_length or max(len(row["input_ids"]) for row in rows)
        batch = {
            "input_ids": _padded([row["input_ids"] for row in rows], length, self.pad_token_id),
            "attention_mask": _padded([[1] * len(row["input_ids"]) for row in rows], length, 0),
        }
        if "token_type_ids" in rows[0]:
            batch["token_type_ids"] = _padded([row["token_type_ids"] for row in rows], length, 0)
        for name in ("labels", *ROW_NUMBERS):
            if name in rows[0]:
                batch[name] = torch.tensor([row[name] for row in rows])
        if SOFT_LABELS in rows[0]:
            batch[SOFT_LABELS] = torch.from_numpy(np.stack([row[SOFT_LABELS] for row in rows]))
        if TEACHER_STATES in rows[0]:
            batch[TEACHER_STATES] = _padded_states([row[TEACHER_STATES] for row in rows], length)
        return batch


class TaughtRows(Dataset[dict[str, Any]]):
    """Tokenized rows, each with what a guide says of it beside it, as one more field.

    Attributes:
        rows: Tokenized.
        field: The name of that field.
    """

    field: ClassVar[str]

    def __init__(self, rows: datasets.Dataset) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        """Rows of a batch."""
        taught = self.taught(indices)
        rows = self.rows.__getitems__(indices)
        return [{**row, self.field: own} for row, own in zip(rows, taught, strict=True)]

    @abstractmethod
    def taught(self, indices: list[int]) -> Iterable[NDArray[np.float32]]:
        """What is beside each of these rows."""


class LengthGrouped(Sampler[int]):
    """An order of rows in which every batch holds rows of about one length.

    Rows are shuffled, sorted by length within pools of 50 batches, cut into batches, and the
    batches are shuffled. The order is a function of seed and epoch alone: a resumed run sees
    the rows that an undisturbed one would have seen. ``lengths`` are in tokens, shape (rows,).
    An epoch has every row once, or those that a ``mixture`` draws.
    """

    def __init__(
        self,
        lengths: NDArray[np.int32],
        batch_size: int,
        seed: int,
        mixture: Mixture | None = None,
    ) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.mixture = mixture
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of another epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)  # an epoch of a mixture has as many draws

    def __iter__(self) -> Iterator[int]:
        draw = np.random.default_rng((self.seed, self.epoch))
        order: NDArray[np.signedinteger]
        if self.mixture is None:
            order = draw.permutation(len(self.lengths))
        else:
            order = self.mixture.epoch(self.seed, self.epoch)
            draw.shuffle(order)
        full = len(order) // self.batch_size * self.batch_size  # rows of full batches
        pool_size = self.batch_size * BATCHES_IN_POOL
        for start in range(0, full, pool_size):
            pool = order[start : min(start + pool_size, full)]
            pool[:] = pool[np.argsort(self.lengths[pool], kind="stable")]
        if full:  # a batch may be larger than any array
            batches = order[:full].reshape(-1, self.batch_size)
            for batch in draw.permutation(batches):  # one list of millions: a third of a GiB
                yield from batch.tolist()
        yield from order[full:].tolist()


def model_inputs(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inputs of a model in a batch: neither labels nor row numbers."""
    return {name: tensor for name, tensor in batch.items() if name in MODEL_INPUTS}


def _padded(rows: Sequence[Sequence[int]], length: int, filler: int) -> Tensor:
    return torch.tensor([[*row, *[filler] * (length - len(row))] for row in rows])


def _padded_states(rows: Sequence[NDArray[np.float32]], length: int) -> Tensor:
    padded = np.empty((len(rows), length, rows[0].shape[1]), dtype=np.float32)
    for own, states in zip(padded, rows, strict=True):
        own[: len(states)], own[len(states) :] = states, 0.0
    return torch.from_numpy(padded)


def lengths_of(rows: datasets.Dataset) -> NDArray[np.int32]:
    """The ``length`` column of the selected rows in their order, in tokens, shape (rows,)."""
    return column_of(rows, "length")


def column_of(rows: datasets.Dataset, name: str) -> NDArray[Any]:
    """A column of numbers of the selected rows in their order, shape (rows,).

    Taken from the mapped table: by way of ``rows[name]`` it takes a minute for millions.
    """
    values = np.asarray(rows.data.column(name).to_numpy())
    chosen = rows._indices
    return values if chosen is None else values[chosen.column(0).to_numpy()]


def length_batches(rows: datasets.Dataset, batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Indices of all rows in batches, from the shortest to the longest: little is padded."""
    order = np.argsort(lengths_of(rows), kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def evenly_spread(total: int, count: int) -> NDArray[np.int64]:
    """``count`` indices below ``total`` at even distances, ascending; some twice if it is less."""
    return ((np.arange(count) + 0.5) * total / count).astype(np.int64)


def spread(rows: datasets.Dataset, count: int) -> NDArray[np.int64]:
    """Indices of ``count`` rows at even ranks of length; of fewer rows, some of them twice."""
    return np.argsort(lengths_of(rows), kind="stable")[evenly_spread(len(rows), count)]


def longest(rows: datasets.Dataset, count: int) -> NDArray[np.int64]:
    """Indices of the longest rows, at most ``count``."""
    return np.argsort(lengths_of(rows), kind="stable")[-count:]
