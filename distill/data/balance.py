"""Uneven classes: what a label weighs in the loss, and how often rows of a class are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from distill.data.batching import column_of
from distill.data.mixtures import mix
from distill.data.row_sets import RowSet
from distill.recipes.schema import ClassWeights


def class_weights(
    setting: ClassWeights, names: Sequence[str], rows: RowSet
) -> tuple[float, ...] | None:
    """What a row of each class counts for in the loss on labels; None where all count the same.

    They count by their ratio; the smallest is 1.

    Args:
        setting: ``balanced``: classes count alike, as scikit-learn's weights of that name; a table
            of weights by class name: classes that are not named weigh 1.
        names: Of the classes; the table names no others.
        rows: That are trained on.
    """
    if setting == "none":
        return None
    if isinstance(setting, dict):
        weights = np.array([setting.get(name, 1.0) for name in names])
    else:
        labels = column_of(rows.rows, "labels")
        counts = np.bincount(labels[labels >= 0], minlength=len(names))
        weights = counts.max() / np.maximum(counts, 1)
        weights[counts == 0] = 1.0
    weights = weights / weights.min()
    return None if np.ptp(weights) == 0 else tuple(weights.tolist())


def balanced(rows: RowSet) -> RowSet:
    """The same rows, of which an epoch draws every class equally often; as many draws as rows.

    Rows go by in one permutation of their class after the other, so that a rare class repeats its
    rows and a frequent one is gone through in turn. The shares of a mixture stay, and the classes
    within each part of it are even. Rows without a label keep their share.
    """
    labels = column_of(rows.rows, "labels")
    part = np.where(labels >= 0, 0, 1)
    shares = np.bincount(part, minlength=2).astype(float)
    if rows.mixture:
        shares = np.zeros(max(own.number for own in rows.mixture.parts) + 1)
        for own in rows.mixture.parts:
            part[own.places] = own.number
            shares[own.number] = own.share
    return RowSet(rows.rows, mix(*_by_class(part, labels, shares)))


def _by_class(
    part: NDArray[np.int64], labels: NDArray[np.int64], shares: NDArray[np.float64]
) -> tuple[NDArray[np.int64], list[float]]:
    """The group of each row, by part and class, and what share of an epoch each group has."""
    pairs, group = np.unique(np.stack([part, labels]), axis=1, return_inverse=True)
    classes = np.bincount(pairs[0])
    return group.ravel(), [float(shares[own] / classes[own]) for own in pairs[0]]
