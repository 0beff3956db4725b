"""Low-rank approximation and selection of dimensions: docs/method.md, section 8.1."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.linalg import qr
from torch import Tensor

RIDGE, LAYER_RIDGE, PROJECTION_RIDGE = 1e-4, 0.3, 0.01
"""Ridges, in parts of the mean variance of what is read: of a first fit (step 2), of a layer that
is fitted to the student (step 6), and of the projection (step 8)."""


@dataclass(frozen=True, slots=True)
class Affine:
    """An affine map y = W x + b: ``weight`` of shape (out, in), ``bias`` of shape (out,)."""

    weight: Tensor
    bias: Tensor

    def compose(self, inner: Affine) -> Affine:
        """The map x → self(inner(x))."""
        return Affine(self.weight @ inner.weight, self.weight @ inner.bias + self.bias)

    def __call__(self, states: Tensor) -> Tensor:
        """Map states of shape (n, in) to (n, out)."""
        return states @ self.weight.T + self.bias


def select_dimensions(states: Tensor, count: int) -> Tensor:
    """Select dimensions that explain the others well, by a pivoted QR of the centered states.

    Each next one is that with most variance left (section 8.1, step 1).

    Args:
        states: Shape (n, width).
        count: How many to keep; their indices are returned, ascending.
    """
    centered = (states - states.mean(dim=0)).double()
    covariance = centered.T @ centered / len(centered)
    values, vectors = torch.linalg.eigh(covariance)
    root = values.clamp(min=0).sqrt()[:, None] * vectors.T
    _, _, order = qr(root.cpu().numpy(), mode="economic", pivoting=True)
    return torch.tensor(sorted(order[:count].tolist()), device=states.device)


def reconstruction(states: Tensor, keep: Tensor) -> Affine:
    """The affine map from the kept dimensions to all, exact for those kept (step 2).

    Args:
        states: Shape (n, width).
        keep: Indices of the dimensions that are kept, shape (kept,).
    """
    expand = fit(states[:, keep], states)
    expand.weight[keep] = torch.eye(len(keep), device=states.device)
    expand.bias[keep] = 0.0
    return expand


def fit(inputs: Tensor, targets: Tensor, ridge: float = RIDGE) -> Affine:
    """The affine map from inputs to targets with the least squared error, up to a ridge.

    Inputs (n, in) and targets (n, out) give a map in float32, fitted in float64.
    """
    mean_in, mean_out = inputs.mean(dim=0), targets.mean(dim=0)
    centered = (inputs - mean_in).double()
    moments = centered.T @ centered
    moments += ridge * moments.diagonal().mean() * torch.eye(len(moments), device=inputs.device)
    weight = torch.linalg.solve(moments, centered.T @ (targets - mean_out).double()).T.float()
    return Affine(weight, mean_out - weight @ mean_in)


def refit(first: Affine, inputs: Tensor, targets: Tensor, ridge: float = LAYER_RIDGE) -> Affine:
    """The affine map with the least squared error, with a ridge on how far it is from a first one.

    Inputs (n, in) and targets (n, out); section 8.1, steps 6 and 8.
    """
    change = fit(inputs, targets - first(inputs), ridge)
    return Affine(first.weight + change.weight, first.bias + change.bias)


@dataclass(frozen=True, slots=True)
class ScoreMaps:
    """Maps of queries and keys to a smaller head size, each (heads, new head size, head size)."""

    query: Tensor
    key: Tensor


def low_rank_scores(queries: Tensor, keys: Tensor, size: int) -> ScoreMaps:
    """The maps to a smaller head size that keep qᵀk/√e best in the mean square (step 3).

    Queries and keys have the shape (heads, n, head size), in float64; ``size`` is the new one.
    """
    query_root, key_root = _root(queries), _root(keys)
    left, values, right = torch.linalg.svd(query_root.mT @ key_root)
    scale = (size / queries.shape[-1]) ** 0.25 * values[:, :size, None].sqrt()
    return ScoreMaps(
        scale * torch.linalg.solve(query_root.mT, left[:, :, :size]).mT,
        scale * torch.linalg.solve(key_root.mT, right.mT[:, :, :size]).mT,
    )


@dataclass(frozen=True, slots=True)
class ValueMaps:
    """Values of a smaller head size, and the output matrix that reads them.

    Attributes:
        value: Map of values, shape (heads, new head size, head size).
        output: Shape (heads, width, new head size).
    """

    value: Tensor
    output: Tensor


def low_rank_values(values: Tensor, output: Tensor, size: int) -> ValueMaps:
    """The maps to a smaller head size that keep what heads write best in the mean square (step 4).

    Args:
        values: Shape (heads, n, head size), float64.
        output: Columns of the output matrix that read each head, (heads, width, head size).
        size: The new head size.
    """
    root = _root(values)
    left, singular, right = torch.linalg.svd(output @ root, full_matrices=False)
    scale = singular[:, :size].sqrt()
    whitened = torch.linalg.solve(root.mT, right.mT[:, :, :size]).mT
    return ValueMaps(scale[:, :, None] * whitened, left[:, :, :size] * scale[:, None, :])


def _root(states: Tensor) -> Tensor:
    """L of E[x xᵀ] = L Lᵀ, up to a small ridge; shape (heads, head size, head size)."""
    moments = states.mT @ states / states.shape[1]
    size = moments.shape[-1]
    ridge = moments.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None] * 1e-6
    root: Tensor = torch.linalg.cholesky(moments + ridge * torch.eye(size, device=states.device))
    return root
