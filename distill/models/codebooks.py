"""Token vectors put together from few shared pieces, so that each takes some bytes: pure.

Product quantization (Jégou et al., 2011; of word vectors: Joulin et al., 2016, "FastText.zip"): the
columns of a table are cut into groups of like width; in each group all tokens share 256 pieces, and
a token is the numbers of its pieces, a byte for each group. Before, the columns are rotated onto
principal axes, which are dealt out so that all groups vary about alike (Ge et al., 2013).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.errors import ModelInvalid

PIECES = 256
WIDEST = 4
"""Columns of a piece at most; the width divides the table's."""
ROUNDS = 12
_LEVELS = 127
_LARGEST = 1e12
Array = NDArray[np.float32]
Bytes = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Codebooks:
    """A table in pieces.

    Attributes:
        codes: Numbers of pieces, shape (tokens, groups).
        pieces: 8-bit numbers, shape (groups, 256, width).
        scales: What they are to be multiplied by, shape (groups,).
        rotation: 8-bit numbers, shape (columns, columns): from axes of pieces back to columns.
        rotation_scales: What its columns are to be multiplied by, shape (columns,).
        mean: Of all vectors, shape (columns,).
    """

    codes: NDArray[np.uint8]
    pieces: Bytes
    scales: Array
    rotation: Bytes
    rotation_scales: Array
    mean: Array

    @property
    def table(self) -> Array:
        """The vectors as they are told, shape (tokens, columns)."""
        pieces = self.pieces * self.scales[:, None, None]
        turned = pieces[np.arange(len(self.scales)), self.codes].reshape(len(self.codes), -1)
        found: Array = turned @ (self.rotation * self.rotation_scales) + self.mean
        return found


def piece_width(columns: int) -> int:
    """Columns of a piece of a table with so many."""
    return next(width for width in range(WIDEST, 0, -1) if columns % width == 0)


def fit_codebooks(table: Array, weights: Array) -> Codebooks:
    """Find the pieces that lose least, by weighted k-means with a fixed seed.

    Args:
        table: Shape (tokens, columns).
        weights: What a token counts for, shape (tokens,); more than 0.

    Raises:
        ModelInvalid: A number of the table is none, or beyond any model's.
    """
    if not np.abs(table).max() < _LARGEST:
        raise ModelInvalid(
            "a token vector holds a number that is none, or larger than any that was learnt.",
            "Train the model again: it has diverged.",
        )
    columns = table.shape[1]
    mean: Array = np.average(table, axis=0, weights=weights).astype(np.float32)
    rotation, rotation_scales = _bytes(_axes(table - mean, weights, piece_width(columns)).T, axis=0)
    back = np.linalg.inv(rotation * rotation_scales)
    turned = ((table - mean) @ back).astype(np.float32)
    groups = np.split(turned, columns // piece_width(columns), axis=1)
    found = [_pieces(np.ascontiguousarray(group), weights) for group in groups]
    pieces, scales = _bytes(np.stack([own for _, own in found]), axis=(1, 2))
    codes = np.stack([numbers for numbers, _ in found], axis=1)
    return Codebooks(codes, pieces, scales.reshape(-1), rotation, rotation_scales.reshape(-1), mean)


def _axes(centered: Array, weights: Array, width: int) -> Array:
    """Principal axes, shape (columns, columns), dealt out to groups there and back again."""
    spread = (centered * weights[:, None]).T @ centered
    variances, axes = np.linalg.eigh(spread.astype(np.float64))
    groups = len(variances) // width
    turn = [*range(groups), *reversed(range(groups))]
    dealt: list[list[int]] = [[] for _ in range(groups)]
    for place, axis in enumerate(np.argsort(-variances, kind="stable")):
        dealt[turn[place % len(turn)]].append(int(axis))
    found: Array = axes[:, np.concatenate(dealt)].astype(np.float32)
    return found


def _pieces(group: Array, weights: Array) -> tuple[NDArray[np.uint8], Array]:
    """The number of each token's piece, shape (tokens,), and the pieces, (256, width)."""
    from sklearn.cluster import KMeans

    known = min(PIECES, len(np.unique(group, axis=0)))
    means = KMeans(known, init="random", n_init=1, max_iter=ROUNDS, random_state=0)
    with warnings.catch_warnings(action="ignore"):  # that more rounds would change a bit
        numbers = means.fit(group, sample_weight=weights).labels_
    pieces = np.zeros((PIECES, group.shape[1]), np.float32)
    pieces[:known] = means.cluster_centers_
    return numbers.astype(np.uint8), pieces


def _bytes(values: Array, axis: int | tuple[int, ...]) -> tuple[Bytes, Array]:
    """As 8-bit numbers with one scale along ``axis``."""
    largest = np.abs(values).max(axis=axis, keepdims=True)
    scales: Array = (np.where(largest > 0, largest, 1.0) / _LEVELS).astype(np.float32)
    return np.rint(values / scales).astype(np.int8), scales
