"""PURE: exact nearest rows by cosine. Whole numbers rule rows out, float64 settles the rest.

A unit vector u is kept as int8 codes c with a scale s, and e = |u - s c| is known. By
Cauchy-Schwarz, for rows u, v: |u·v - s s' c·c'| <= e (1 + e') + e'. The product of the codes (exact
in int32) therefore bounds every cosine; only rows whose bound reaches the K-th best are looked at
in float64, a few dozen for each word. The result is that of a full float64 sort, whatever the
threads, the blocks or the processor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from augment.vectors.codes import GROUP, ROUNDING, Codes, products

_FIRST_BLOCK = 128
_PRODUCTS_A_BLOCK = 2**20
_PAIRS_A_TURN = 2048
_CROWD = 2**21
"""Pairs of a search beyond which codes are of no use; a few dozen a word are usual."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """The nearest rows of one row, nearest first: int32 rows and float64 cosines."""

    rows: np.ndarray
    cosines: np.ndarray


def search(
    rows: np.ndarray,
    k: int,
    *,
    codes: Codes,
    matrix: np.ndarray,
    norms: np.ndarray,
    usable: np.ndarray,
) -> list[Nearest]:
    """The K nearest usable rows of each row, itself excluded; equal cosines in order of rows.

    Args:
        rows: The rows asked for; each has a direction.
        k: How many neighbours.
        codes: Codes of the whole table.
        matrix: The table, float32, shape ``(rows, dimensions)``.
        norms: Lengths of its rows, float64.
        usable: Which rows may be neighbours.
    """
    word, row = _contenders(rows, k, codes, usable) or _crowd(rows, k, matrix, norms, usable)
    cosines = _cosines(rows[word], row, matrix, norms)
    order = np.lexsort((row, -cosines, word))
    word, row, cosines = word[order], row[order], cosines[order]
    first = np.searchsorted(word, np.arange(len(rows) + 1))
    ends = np.minimum(first[:-1] + k, first[1:])
    return [
        Nearest(row[start:end].astype(np.int32), cosines[start:end])
        for start, end in zip(first[:-1].tolist(), ends.tolist(), strict=True)
    ]


def _contenders(
    rows: np.ndarray, k: int, codes: Codes, usable: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Pairs of words and rows that codes cannot rule out; None where there are too many."""
    field = _Contenders(rows, k, codes, usable)
    asked = codes.values[rows]
    for start, stop in _blocks(len(codes.values), len(rows)):
        field.enter(start, products(asked, codes.values[start:stop]))
        if field.pairs > _CROWD:
            return None
    return field.left()


def _crowd(
    rows: np.ndarray, k: int, matrix: np.ndarray, norms: np.ndarray, usable: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The same from float32 products, word by word: for tables whose rows all lie close together.

    A float32 sum of d products of unit vectors is off by less than d roundings.
    """
    slack = (matrix.shape[1] + 8) * 2.0**-23
    lengths = torch.from_numpy(np.where(norms > 0, norms, 1).astype(np.float32))
    words, found = [], []
    for word, row in enumerate(rows):
        unit = torch.from_numpy(matrix[row] / np.float32(norms[row]))
        cosines = (torch.mv(torch.from_numpy(matrix), unit) / lengths).numpy()
        cosines[~usable] = cosines[row] = -np.inf
        floor = np.partition(cosines, -min(k, len(cosines)))[-min(k, len(cosines))]
        near = np.flatnonzero(usable & (cosines >= floor - 2 * slack) & (cosines > -np.inf))
        words.append(np.full(len(near), word))
        found.append(near)
    return np.concatenate(words), np.concatenate(found)


class _Contenders:
    """The rows that may still be among the K best of each word, while blocks come in."""

    def __init__(self, rows: np.ndarray, k: int, codes: Codes, usable: np.ndarray) -> None:
        self._rows, self._codes, self._usable = rows, codes, usable
        self._scales = codes.scales[rows // GROUP].astype(np.float64)
        self._errors = codes.errors[rows // GROUP].astype(np.float64)
        self._sure = np.full((len(rows), k), -np.inf)  # the K best cosines are at least these
        self._kept: list[_Pairs] = []
        self._fresh: list[_Pairs] = []

    def enter(self, start: int, seen: torch.Tensor) -> None:
        """Take in what may reach the floor of a block of rows.

        Args:
            start: The block's first row, the first of a group.
            seen: Products of codes, shape ``(words, rows)``: whole groups or one short one.
        """
        group_rows = min(GROUP, seen.shape[1])
        grouped = seen.view(len(seen), -1, group_rows)
        groups = grouped.shape[1]
        own = slice(start // GROUP, start // GROUP + groups)
        scales = self._scales[:, None] * self._codes.scales[own]
        slack = self._codes.errors[own] * (1 + self._errors[:, None])
        slack += self._errors[:, None] + ROUNDING
        least = np.ceil((self._sure.min(axis=1)[:, None] - slack) / scales)
        least = np.clip(least, -(2.0**24), 2.0**24).astype(grouped.numpy().dtype)
        hits = np.flatnonzero(grouped.amax(dim=2).numpy() >= least)
        found = grouped.numpy().reshape(-1, group_rows)[hits]
        inside = np.flatnonzero(found >= least.ravel()[hits, None])
        at, column = np.divmod(inside, group_rows)
        hits = hits[at]
        word, group = np.divmod(hits, groups)
        row = start + group * group_rows + column
        cosine, slack = found.ravel()[inside] * scales.ravel()[hits], slack.ravel()[hits]
        pairs = _Pairs(word, row, cosine - slack, cosine + slack)
        pairs = pairs.where(self._usable[row] & (row != self._rows[word]))
        self._fresh.append(pairs)
        if sum(len(part.word) for part in self._fresh) > self._sure.size:
            self._raise_floor()

    @property
    def pairs(self) -> int:
        """How many pairs are in question."""
        return sum(len(part.word) for part in [*self._kept, *self._fresh])

    def left(self) -> tuple[np.ndarray, np.ndarray]:
        """Words and rows of all pairs still in question."""
        if self._fresh:
            self._raise_floor()
        return self._kept[0].word, self._kept[0].row

    def _raise_floor(self) -> None:
        """Sort the fresh lower bounds in; whatever is surely below the K best goes."""
        words, k = self._sure.shape
        fresh = _Pairs.joined(self._fresh)
        order = np.argsort(fresh.word.astype(np.int16), kind="stable")
        word, low = fresh.word[order], fresh.low[order]
        counts = np.bincount(word, minlength=words)
        place = np.arange(len(word)) - (np.cumsum(counts) - counts)[word]
        bounds = np.full((words, k + int(counts.max(initial=0))), -np.inf)
        bounds[:, :k] = self._sure
        bounds[word, k + place] = low
        self._sure = np.partition(bounds, -k, axis=1)[:, -k:]
        floor = self._sure.min(axis=1)
        pairs = _Pairs.joined([*self._kept, fresh])
        self._kept, self._fresh = [pairs.where(pairs.high >= floor[pairs.word])], []


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Words asked for and rows of the table, with bounds of their cosines; all one length."""

    word: np.ndarray
    row: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def where(self, chosen: np.ndarray) -> _Pairs:
        """Those that are chosen."""
        return _Pairs(self.word[chosen], self.row[chosen], self.low[chosen], self.high[chosen])

    @staticmethod
    def joined(parts: Sequence[_Pairs]) -> _Pairs:
        """All parts behind each other."""
        return _Pairs(
            np.concatenate([part.word for part in parts]),
            np.concatenate([part.row for part in parts]),
            np.concatenate([part.low for part in parts]),
            np.concatenate([part.high for part in parts]),
        )


def _blocks(rows: int, words: int) -> Iterator[tuple[int, int]]:
    """Stretches of the table in whole groups, small ones first, and what is left over.

    The first rows set a floor, so that of the later ones few have to be looked at.
    """
    largest = max(GROUP, _PRODUCTS_A_BLOCK // words // GROUP * GROUP)
    whole, start, size = rows // GROUP * GROUP, 0, _FIRST_BLOCK
    while start < whole:
        stop = min(start + size, whole)
        yield start, stop
        start, size = stop, min(2 * size, largest)
    if whole < rows:
        yield whole, rows


def _cosines(
    left: np.ndarray, right: np.ndarray, matrix: np.ndarray, norms: np.ndarray
) -> np.ndarray:
    """Cosines of pairs of rows in float64, summed in one fixed order."""
    dots = np.empty(len(left))
    for at in range(0, len(left), _PAIRS_A_TURN):
        part = slice(at, at + _PAIRS_A_TURN)
        pairs = matrix[right[part]].astype(np.float64)
        pairs *= matrix[left[part]]
        dots[part] = pairs.sum(axis=1)
    dots /= norms[left] * norms[right]
    return dots
