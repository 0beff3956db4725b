"""The rows of a version that a stage draws from: their parts, their order, their columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import datasets
import numpy as np
from numpy.typing import NDArray

from augment.contract import SOFT_LABELS, Version
from distill.data.mixtures import Mixture, mix
from distill.errors import DataInvalid
from distill.recipes.mixtures import (
    PARTS,
    Data,
    Part,
    Shares,
    count_parts,
    parts_of,
    unlabeled_split,
)

UNLABELED = PARTS.index("unlabeled")


@dataclass(frozen=True, slots=True)
class RowSet:
    """Rows that a stage draws from: those of ``train`` in their order, then unlabeled ones.

    Attributes:
        rows: Tokenized, memory-mapped.
        mixture: How often each part is drawn; without it an epoch has every row once.
    """

    rows: datasets.Dataset
    mixture: Mixture | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def keep(self, chosen: NDArray[np.bool_]) -> RowSet:
        """Some of the rows, shape (rows,), of each part of a mixture; these keep their shares."""
        if chosen.all():
            return self
        mixture = self.mixture.keep(chosen) if self.mixture else None
        return RowSet(self.rows.select(np.flatnonzero(chosen)), mixture)


def row_set(train: datasets.Dataset, unlabeled: datasets.Dataset | None, data: Data) -> RowSet:
    """The rows that ``data`` names, see ``recipes.mixtures``; each part of a table has rows."""
    named, rows = parts_of(data), train
    if "unlabeled" in named and unlabeled is not None:
        rows = unlabeled if len(named) == 1 else datasets.concatenate_datasets([train, unlabeled])
    shares = [getattr(data, part) for part in PARTS] if isinstance(data, Shares) else []
    if named == ("unlabeled",) or (len(named) > 1 and not shares):
        return RowSet(rows)  # as they are: nothing of size is made of them
    numbers = np.full(len(rows), UNLABELED, dtype=np.int8)
    numbers[: len(train)] = _variants(train) > 0
    chosen = np.isin(numbers, [PARTS.index(part) for part in named])
    kept = rows if chosen.all() else rows.select(np.flatnonzero(chosen))
    return RowSet(kept, mix(numbers[chosen], shares) if len(named) > 1 else None)


def _variants(rows: datasets.Dataset) -> NDArray[np.int32]:
    return np.concatenate([c.to_numpy() for c in rows.data.column("variant").chunks])


def count_taught(version: Version) -> int:
    """Rows without labels that soft labels teach: those that have one."""
    split = unlabeled_split(version) if version.manifest.soft_labels else None
    batches = version.batches(split, [SOFT_LABELS]) if split else ()
    return sum(len(batch) - batch.column(SOFT_LABELS).null_count for batch in batches)


def check_parts(version: Version, stages: Mapping[str, Data], taught: int | None = None) -> None:
    """See that every part that a stage names has rows, before anything is read.

    Args:
        version: Opened.
        stages: ``data`` by section of the recipe.
        taught: Rows without labels that stage 2 learns from, where those are not all.

    Raises:
        DataInvalid: One has none. ``all`` and ``augmented`` may name parts without rows, as they
            mean all that there is.
    """
    counts = count_parts(version)
    for stage, data in stages.items():
        named = parts_of(data)
        if isinstance(data, str) and len(named) > 1:
            continue
        some = stage == "prediction" and taught == 0
        if some and "unlabeled" in named and counts["unlabeled"]:
            raise DataInvalid(
                f"none of the unlabeled rows of {version.reference} has a soft label, and data of "
                "[prediction] asks for them.",
                "Make a version whose unlabeled rows bring some, or leave that part out.",
            )
        for part in named:
            if not counts[part]:
                raise DataInvalid(
                    f"{version.reference} has no {part} rows, and data of [{stage}] asks for them.",
                    f"{_SOURCES[part]}, or change data in the recipe.",
                )


_SOURCES: dict[Part, str] = {
    "original": "Make a version whose training rows come from a source",
    "augmented": "Generate some (augment run, augment add)",
    "unlabeled": "Make a version with some (augment run … --unlabeled FILE)",
}
