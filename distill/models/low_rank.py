"""The least loss with which numbers, heads and matrices get fewer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.linalg import qr
from torch import Tensor

RIDGE = 1e-4


@dataclass(frozen=True, slots=True)
class Affine:
    """y = W x + b: weight (out, in), bias (out,)."""

    weight: Tensor
    bias: Tensor

    def after(self, inner: Affine) -> Affine:
        """This map of what ``inner`` gives, as one map."""
        return Affine(self.weight @ inner.weight, self.weight @ inner.bias + self.bias)

    def __call__(self, states: Tensor) -> Tensor:
        """States (n, in) to (n, out)."""
        return states @ self.weight.T + self.bias


def select_dimensions(states: Tensor, count: int) -> Tensor:
    """Numbers of the width that explain the others well, ascending.

    By a pivoted QR of the centered states: each next one is that with most variance left.

    Args:
        states: Shape (n, width).
        count: How many to keep.
    """
    centered = (states - states.mean(dim=0)).double()
    covariance = centered.T @ centered / len(centered)
    values, vectors = torch.linalg.eigh(covariance)
    root = values.clamp(min=0).sqrt()[:, None] * vectors.T
    _, _, order = qr(root.cpu().numpy(), mode="economic", pivoting=True)
    return torch.tensor(sorted(order[:count].tolist()), device=states.device)


def reconstruction(states: Tensor, keep: Tensor) -> Affine:
    """The map from the kept numbers back to all of them, exact for those kept."""
    back = fit(states[:, keep], states)
    back.weight[keep] = torch.eye(len(keep), device=states.device)
    back.bias[keep] = 0.0
    return back


def fit(inputs: Tensor, targets: Tensor) -> Affine:
    """Least squares with a slight ridge.

    Args:
        inputs: Shape (n, in).
        targets: Shape (n, out).
    """
    mean_in, mean_out = inputs.mean(dim=0), targets.mean(dim=0)
    centered = (inputs - mean_in).double()
    moments = centered.T @ centered
    moments += RIDGE * moments.diagonal().mean() * torch.eye(len(moments), device=inputs.device)
    weight = torch.linalg.solve(moments, centered.T @ (targets - mean_out).double()).T.float()
    return Affine(weight, mean_out - weight @ mean_in)


def low_rank_scores(queries: Tensor, keys: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Maps of queries and keys to a smaller head size that keep q·k/√d best in the mean square.

    Args:
        queries: Shape (heads, n, head size), float64.
        keys: The same.
        size: The new head size d'.

    Returns:
        Two maps, each of shape (heads, d', head size).
    """
    roots = _root(queries), _root(keys)
    left, values, right = torch.linalg.svd(roots[0].mT @ roots[1])
    scale = (size / queries.shape[-1]) ** 0.25 * values[:, :size, None].sqrt()
    return (
        scale * torch.linalg.solve(roots[0].mT, left[:, :, :size]).mT,
        scale * torch.linalg.solve(roots[1].mT, right.mT[:, :, :size]).mT,
    )


def low_rank_values(values: Tensor, columns: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """A map of values to a smaller head size, and what reads them, that keep their product best.

    Args:
        values: Shape (heads, n, head size), float64.
        columns: What the output layer makes of them, shape (heads, width, head size).
        size: The new head size d'.

    Returns:
        Shapes (heads, d', head size) and (heads, width, d').
    """
    root = _root(values)
    left, strength, right = torch.linalg.svd(columns @ root, full_matrices=False)
    scale = strength[:, :size].sqrt()
    small = torch.linalg.solve(root.mT, right.mT[:, :, :size]).mT
    return scale[:, :, None] * small, left[:, :, :size] * scale[:, None, :]


def _root(states: Tensor) -> Tensor:
    """L of E[x xᵀ] = L Lᵀ, shape (heads, size, size)."""
    moments = states.mT @ states / states.shape[1]
    size = moments.shape[-1]
    ridge = moments.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None] * 1e-6
    root: Tensor = torch.linalg.cholesky(moments + ridge * torch.eye(size, device=states.device))
    return root
