"""Token vectors put together from few shared pieces, so that each takes some bytes: pure.

Product quantization (Jégou et al., 2011; of word vectors: Joulin et al., 2016, "FastText.zip"): the
columns of a table are cut into groups of like width; in each group all tokens share 256 pieces, and
a token is the numbers of its pieces, a byte for each group. Before, the columns are rotated onto
principal axes, which are dealt out so that all groups vary about alike (Ge et al., 2013). What then
remains of the tokens that count most is put together once more, from narrower pieces (residual
quantization: Chen et al., 2010).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.errors import ModelInvalid

PIECES = 256
WIDE, NARROW = 6, 2
"""Columns of a piece at most; a width divides the table's."""
FREQUENT = 6
"""One of so many tokens has narrow pieces besides."""
ROUNDS = 12
_LEVELS = 127
_PLACE, _SCALE = 2, 4
"""Bytes that a token has besides: of where its narrow pieces are, or of its scale."""
_LARGEST = 1e12
Array = NDArray[np.float32]
Bytes = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Pieces:
    """Vectors side by side from pieces of one width.

    Attributes:
        codes: Numbers of pieces, shape (vectors, groups).
        pieces: 8-bit numbers, shape (groups, 256, width).
        scales: What they are to be multiplied by, shape (groups,).
    """

    codes: NDArray[np.uint8]
    pieces: Bytes
    scales: Array

    @property
    def vectors(self) -> Array:
        """Shape (vectors, columns)."""
        pieces = self.pieces * self.scales[:, None, None]
        found: Array = pieces[np.arange(len(self.scales)), self.codes]
        return found.reshape(len(self.codes), -1)


@dataclass(frozen=True, slots=True)
class Codebooks:
    """A table in pieces.

    Attributes:
        wide: Of all tokens.
        narrow: Of what then remains; the first is nothing, the others are tokens that count most.
        places: Which of ``narrow`` a token has, shape (tokens,).
        rotation: 8-bit numbers, shape (columns, columns): from axes of pieces back to columns.
        rotation_scales: What its columns are to be multiplied by, shape (columns,).
        mean: Of all vectors, shape (columns,).
    """

    wide: Pieces
    narrow: Pieces
    places: NDArray[np.int32]
    rotation: Bytes
    rotation_scales: Array
    mean: Array

    @property
    def table(self) -> Array:
        """The vectors as they are told, shape (tokens, columns)."""
        turned = self.wide.vectors + self.narrow.vectors[self.places]
        found: Array = turned @ (self.rotation * self.rotation_scales) + self.mean
        return found


def piece_width(columns: int, most: int = WIDE) -> int:
    """Columns of a piece of a table with so many."""
    return next(width for width in range(most, 0, -1) if columns % width == 0)


def saves_bytes(tokens: int, columns: int) -> bool:
    """Whether a table is smaller in pieces than in bytes with a scale for each row.

    Of columns that no width divides it is not, however many tokens there are.
    """
    own = columns // piece_width(columns) + columns // piece_width(columns, NARROW) / FREQUENT
    shared = columns * (2 * PIECES + columns)
    return tokens * (own + _PLACE) + shared < tokens * (columns + _SCALE)


def fit_codebooks(table: Array, weights: Array) -> Codebooks:
    """Find the pieces that lose least, by weighted k-means with a fixed seed.

    Sums round otherwise with another number of threads, and some tokens get other pieces then.

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
    width = piece_width(table.shape[1])
    mean: Array = np.average(table, axis=0, weights=weights).astype(np.float32)
    rotation, rotation_scales = _bytes(_axes(table - mean, weights, width).T, axis=0)
    back = np.linalg.inv(rotation * rotation_scales)
    turned = ((table - mean) @ back).astype(np.float32)
    wide = _fit(turned, weights, width)
    frequent = np.argsort(-weights, kind="stable")[: -(-len(table) // FREQUENT)]
    remains = turned[frequent] - wide.vectors[frequent]
    narrow = _fit(remains, weights[frequent], piece_width(table.shape[1], NARROW), nothing=True)
    places = np.zeros(len(table), np.int32)
    places[frequent] = 1 + np.arange(len(frequent))
    return Codebooks(wide, narrow, places, rotation, rotation_scales.reshape(-1), mean)


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


def _fit(vectors: Array, weights: Array, width: int, *, nothing: bool = False) -> Pieces:
    """Pieces of all groups; with ``nothing`` the first piece is zeros, and a first vector of it."""
    groups = np.split(vectors, vectors.shape[1] // width, axis=1)
    most = PIECES - nothing
    found = [_means(np.ascontiguousarray(group), weights, most) for group in groups]
    codes = np.stack([numbers for numbers, _ in found], axis=1)
    pieces = np.zeros((len(groups), PIECES, width), np.float32)
    for own, (_, means) in zip(pieces, found, strict=True):
        own[nothing : nothing + len(means)] = means
    if nothing:
        codes = np.concatenate([np.zeros_like(codes[:1]), codes + 1])
    values, scales = _bytes(pieces, axis=(1, 2))
    return Pieces(codes.astype(np.uint8), values, scales.reshape(-1))


def _means(group: Array, weights: Array, most: int) -> tuple[NDArray[np.int32], Array]:
    """The number of each vector's piece, shape (vectors,), and the pieces, (at most, width)."""
    from sklearn.cluster import KMeans

    known = min(most, len(np.unique(group, axis=0)))
    means = KMeans(known, init="random", n_init=1, max_iter=ROUNDS, random_state=0)
    with warnings.catch_warnings(action="ignore"):  # that more rounds would change a bit
        numbers = means.fit(group, sample_weight=weights).labels_
    return numbers, means.cluster_centers_.astype(np.float32)


def _bytes(values: Array, axis: int | tuple[int, ...]) -> tuple[Bytes, Array]:
    """As 8-bit numbers with one scale along ``axis``."""
    largest = np.abs(values).max(axis=axis, keepdims=True)
    scales: Array = (np.where(largest > 0, largest, 1.0) / _LEVELS).astype(np.float32)
    return np.rint(values / scales).astype(np.int8), scales
