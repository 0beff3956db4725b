"""Exact nearest rows by cosine: float32 products rule rows out, float64 settles the rest.

The error of a float32 cosine has a bound. A row whose float32 cosine lies more than twice that
bound below the K-th best is none of the K nearest; the others, a few dozen a query, get their
cosines in float64. The result is that of a full float64 sort, whatever the threads, the blocks or
the processor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from augment.vectors.table import Table

_GROUP = 64
_PRODUCTS_PER_BLOCK = 2**20
_PAIR_BATCH = 2048
_MAX_PAIRS = 2**21
"""Contenders of a search beyond which its queries are halved, so that memory stays bounded."""
_BELOW_ALL = -2.0
"""Below every cosine, however it is rounded."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """The nearest rows of one row, nearest first: int32 rows and float64 cosines."""

    rows: np.ndarray
    cosines: np.ndarray


def search(queries: np.ndarray, k: int, table: Table) -> list[Nearest]:
    """The K >= 1 nearest usable rows of each query, itself excluded; equal cosines by row.

    Queries are rows of the table that have a direction.
    """
    query, row = _contenders(queries, k, table)
    if len(row) > _MAX_PAIRS and len(queries) > 1:
        first, second = np.array_split(queries, 2)
        return search(first, k, table) + search(second, k, table)
    cosines = _float64_cosines(queries[query], row, table)
    order = np.lexsort((row, -cosines, query))
    query, row, cosines = query[order], row[order], cosines[order]
    starts = np.searchsorted(query, np.arange(len(queries) + 1))
    ends = np.minimum(starts[:-1] + k, starts[1:])
    return [
        Nearest(row[start:end].astype(np.int32), cosines[start:end])
        for start, end in zip(starts[:-1].tolist(), ends.tolist(), strict=True)
    ]


def _contenders(queries: np.ndarray, k: int, table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Queries and rows, pair by pair, all nearest rows among them; ends early beyond the limit."""
    matrix, norms, usable = table.matrix, table.norms, table.usable
    units = unit_vectors(matrix[queries], norms[queries])
    margin = 2 * error_bound(matrix.shape[1])
    best = torch.full((k, len(queries)), -torch.inf)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    count, size = 0, max(1, _PRODUCTS_PER_BLOCK // len(queries) // _GROUP) * _GROUP
    for start in range(0, len(matrix), size):
        block = slice(start, start + size)
        cosines = float32_cosines(matrix[block], norms[block], usable[block], units)
        own = np.flatnonzero((queries >= start) & (queries < start + size))
        cosines[queries[own] - start, own] = -torch.inf
        best = torch.cat([best, _group_maxima(cosines)]).topk(k, dim=0).values
        floor = (best[-1] - margin).clamp(min=_BELOW_ALL)
        row, query = np.divmod(np.flatnonzero((cosines >= floor).numpy()), len(queries))
        found.append((query, row + start))
        count += len(row)
        if count > _MAX_PAIRS and len(queries) > 1:
            break
    return np.concatenate([pair[0] for pair in found]), np.concatenate([pair[1] for pair in found])


def unit_vectors(matrix: np.ndarray, norms: np.ndarray) -> torch.Tensor:
    """Rows divided by their lengths, float32."""
    return torch.from_numpy((matrix / norms[:, None]).astype(np.float32))


def float32_cosines(
    matrix: np.ndarray, norms: np.ndarray, usable: np.ndarray, units: torch.Tensor
) -> torch.Tensor:
    """Cosines of rows with unit vectors, shape ``(rows, units)``; -inf for unusable rows."""
    inverse = torch.from_numpy((1 / np.where(usable, norms, 1)).astype(np.float32))
    bias = torch.from_numpy(np.where(usable, 0, -np.inf).astype(np.float32))
    # two columns take half the time of one, for which BLAS has a slower kernel
    several = units if len(units) > 1 else units.repeat(2, 1)
    products = (torch.from_numpy(matrix) @ several.T)[:, : len(units)]
    return torch.addcmul(bias[:, None], products, inverse[:, None], out=products)


def error_bound(dimensions: int) -> float:
    """More than a float32 cosine can be off.

    A sum of d products is off by d roundings of 2^-24 in any order (Higham, Accuracy and Stability
    of Numerical Algorithms, section 3.1), the unit vector and the length by a few more; the bound
    is twice that.
    """
    return (dimensions + 8) * 2.0**-23


def _group_maxima(cosines: torch.Tensor) -> torch.Tensor:
    """The greatest cosines of groups of rows; the K-th of them is no greater than the K-th of all.

    Rows behind the last whole group stand for themselves.
    """
    whole = len(cosines) // _GROUP * _GROUP
    grouped = cosines[:whole].view(-1, _GROUP, cosines.shape[1])
    return torch.cat([grouped.amax(dim=1), cosines[whole:]])


def _float64_cosines(left: np.ndarray, right: np.ndarray, table: Table) -> np.ndarray:
    """Cosines of pairs of rows, each summed in one fixed order."""
    dots = np.empty(len(left))
    for start in range(0, len(left), _PAIR_BATCH):
        batch = slice(start, start + _PAIR_BATCH)
        pairs = table.matrix[right[batch]].astype(np.float64)
        pairs *= table.matrix[left[batch]]
        dots[batch] = pairs.sum(axis=1)
    dots /= table.norms[left] * table.norms[right]
    return dots
