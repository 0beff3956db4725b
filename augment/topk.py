"""PURE: the largest values of long rows, without sorting them."""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK = 64


def top_columns(scores: Tensor, count: int) -> Tensor:
    """The columns of the largest values of each row, largest first.

    The best of every block of columns first: the ``count`` largest values lie in the ``count``
    blocks with the largest maxima, so that most of a row is read once and never sorted.

    Args:
        scores: Shape ``(rows, columns)``.
        count: How many.

    Returns:
        Shape ``(rows, count)``.
    """
    rows, columns = scores.shape
    whole = columns // _BLOCK * _BLOCK
    if whole // _BLOCK <= count:
        return torch.topk(scores, count, dim=1).indices
    blocks = scores[:, :whole].view(rows, -1, _BLOCK)
    best = torch.topk(blocks.amax(dim=2), count, dim=1, sorted=False).indices
    inside = (best[:, :, None] * _BLOCK + torch.arange(_BLOCK, device=scores.device)).view(rows, -1)
    rest = torch.arange(whole, columns, device=scores.device).expand(rows, -1)
    candidates = torch.cat([inside, rest], dim=1)
    top = torch.topk(scores.gather(1, candidates), count, dim=1).indices
    return candidates.gather(1, top)
