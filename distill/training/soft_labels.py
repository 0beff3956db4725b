"""Soft labels: what each row is taught, from teachers, from the version's own, or from both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import datasets
import numpy as np
from numpy.typing import NDArray

from augment.contract import Version
from distill.data.batching import SOFT_LABELS, TaughtRows
from distill.data.row_batches import Places
from distill.evaluation.target import Logits
from distill.recipes.mixtures import Data
from distill.runs.directory import RunDirectory, reuse
from distill.runs.progress import Narrator
from distill.runs.records import Origin, digest_of, write_sealed
from distill.training.kept_labels import KeptLabels
from distill.training.teacher_logits import compute_logits, held_places, holds_logits, write_held
from distill.training.teachers import Teacher

BLOCK = 2048
"""Rows between two writes to the disk."""
LEAST = float(np.finfo(np.float32).tiny)
"""The least probability, so that every logarithm is finite."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Numbers of some rows, in a file that is mapped into memory instead of read.

    Attributes:
        places: Of the rows, increasing.
        values: Shape (places, classes).
    """

    places: Places
    values: Logits

    def put(self, rows: Places, into: Logits) -> None:
        """Put the numbers of those of the rows that it has in their place."""
        at = np.searchsorted(self.places, rows).clip(max=len(self.places) - 1)
        here = self.places[at] == rows
        into[here] = self.values[at[here]]


@dataclass(frozen=True, slots=True)
class SoftLabels:
    """What each row is taught, put together when it is drawn: memory does not grow with the rows.

    Attributes:
        teachers: The logits of each teacher, in one piece or two.
        kept: The version's own: distributions or scores, NaN where a row has none.
        weight: Of the teachers, where a row has both.
    """

    teachers: tuple[tuple[Piece, ...], ...]
    kept: Piece | None = None
    weight: float = 1.0

    def of(self, rows: Places) -> Logits:
        """Logits of shape (rows, classes); not a number for rows that are never asked for."""
        own = None if self.kept is None else _gathered([self.kept], rows)
        if not self.teachers:
            assert own is not None, "nothing teaches"
            return mixed(None, own, 0.0)
        means = [_gathered(each, rows) / np.float32(len(self.teachers)) for each in self.teachers]
        logits = np.sum(means, axis=0)
        return logits if own is None else mixed(logits, own, self.weight)


def _gathered(pieces: Sequence[Piece], rows: Places) -> Logits:
    found = np.full((len(rows), pieces[0].values.shape[1]), np.nan, dtype=np.float32)
    for piece in pieces:
        piece.put(rows, found)
    return found


def mixed(logits: Logits | None, own: Logits, weight: float) -> Logits:
    """The logits of w·softmax(logits) + (1 - w)·own; of a regression that mean of scores itself.

    docs/method.md, section 8.7.

    Args:
        logits: The teachers', shape (rows, classes), or (rows, 1) for a regression's scores.
        own: Distributions, or scores, of the same shape; where a row has none, NaN, the teachers'
            stay as they are.
        weight: w, of the teachers; without them, 0.
    """
    scores = own.shape[1] == 1
    mean = own.astype(np.float64)
    if logits is not None:
        taught = logits.astype(np.float64)
        mean = weight * (taught if scores else _softmax(taught)) + (1 - weight) * mean
    targets = mean if scores else np.log(np.maximum(mean, LEAST))
    if logits is not None:
        targets = np.where(np.isnan(own), logits, targets)
    return targets.astype(np.float32)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


class SoftRows(TaughtRows):
    """Tokenized rows with soft labels beside them."""

    field = SOFT_LABELS

    def __init__(self, rows: datasets.Dataset, labels: SoftLabels) -> None:
        super().__init__(rows)
        self.labels = labels

    def taught(self, indices: list[int]) -> Logits:
        """Soft labels of rows, shape (rows, classes).

        Raises:
            AssertionError: A row has no soft label; a fault of this program.
        """
        chosen = self.labels.of(np.asarray(indices, dtype=np.int64))
        assert np.isfinite(chosen).all(), "a row without a soft label was drawn"
        return chosen


def soft_labels(
    teachers: Sequence[Teacher],
    version: Version,
    data: Data,
    needed: Places,
    *,
    precision: str,
    run: RunDirectory,
    narrator: Narrator,
    kept: KeptLabels | None = None,
    weight: float = 1.0,
    block: int = BLOCK,
) -> SoftLabels:
    """The soft labels of training rows, in files of the run: float32, row by row.

    A teacher's logits come from the version where it holds those of the very teacher: they are
    those of whole texts in multiples of 1/256, whatever length this run cuts texts to. The rest is
    computed.

    Args:
        teachers: Each reads the rows in its own tokenization; none where ``kept`` teaches alone.
        version: The version that is distilled on.
        data: Of the stage that learns from them, see ``TokenizedSplits.rows``.
        needed: Places of the rows that will be asked for, increasing.
        precision: Of the forward passes, see ``precision``.
        run: Where the files are kept.
        narrator: Where progress is shown.
        kept: The version's own soft labels, where they count.
        weight: Of the teachers, where a row has both.
        block: Rows between two writes to the disk.
    """
    wanted = digest_of(run.made_from, str(data), hashlib.sha256(needed.tobytes()).hexdigest())
    shelf = _Shelf(run, wanted, narrator)

    def answers(number: int, teacher: Teacher) -> Iterator[Piece]:
        part, classes = f"soft labels of the {teacher.name}", teacher.classifier.classes
        held, rest = _split(version, data, needed, teacher)
        if len(held):
            told = f"those of the {teacher.name} are kept in {version.reference}"
            narrator.say("soft labels", told)
            fill = partial(write_held, version, data, held, classes)
            yield shelf.piece(f"{number}-held", f"{part}, held", held, fill)
        if len(rest):
            rows = teacher.tokens.rows(data).rows.select(rest)
            compute = partial(compute_logits, teacher, rows, precision, narrator, block)
            yield shelf.computed(str(number), part, rest, compute)

    own = None
    if kept is not None:
        own = shelf.piece("kept", "soft labels of the version", needed, partial(kept.write, needed))
    found = [tuple(answers(number, own)) for number, own in enumerate(teachers, start=1)]
    return SoftLabels(tuple(found), own, weight)


def _split(version: Version, data: Data, needed: Places, teacher: Teacher) -> tuple[Places, Places]:
    """The rows whose logits the version holds, and those whose are to be computed."""
    if not holds_logits(version, teacher.classifier):
        return needed[:0], needed
    there = held_places(version, data)
    inside = np.isin(needed, there, assume_unique=True)
    return needed[inside], needed[~inside]


@dataclass(frozen=True, slots=True)
class _Shelf:
    """Where the files of soft labels lie, and what they are made from."""

    run: RunDirectory
    made_from: str
    narrator: Narrator

    def piece(self, name: str, part: str, places: Places, fill: Callable[[Path], object]) -> Piece:
        """A file that is written in one go, unless an earlier call did."""
        return self.computed(
            name, part, places, lambda file, origin: write_sealed(file, origin, fill)
        )

    def computed(
        self, name: str, part: str, places: Places, make: Callable[[Path, Origin], object]
    ) -> Piece:
        """A file that is made, unless an earlier call did."""
        file = self.run.work / "soft-labels" / f"soft-labels-{name}.f32"
        origin = Origin(made_from=self.made_from, part=part)
        if not reuse(file, origin, self.narrator):
            make(file, origin)
        values = np.memmap(file, dtype=np.float32, mode="r")
        return Piece(places, values.reshape(len(places), -1))
