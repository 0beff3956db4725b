"""Queries, keys and values of a layer, and the raw scores they give."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class QKV:
    """Queries, keys and values of one layer, each of shape (batch, heads, length, head size).

    Queries and keys are those whose product is the scores: after rotation in ModernBERT. The scale
    is 1/√d, or what the architecture has in its place.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    scale: float

    def scores(self) -> Tensor:
        """The raw scores QKᵀ·scale in float32, shape (batch, heads, length, length)."""
        with torch.autocast(self.query.device.type, enabled=False):
            return torch.matmul(self.query.float() * self.scale, self.key.float().mT)
