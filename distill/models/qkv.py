"""What attention is made of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Heads:
    """Queries, keys and values of one layer, each of shape (batch, heads, length, head size).

    They are what the scores are made of: after rotation where positions are rotated in.

    Attributes:
        scale: 1/√d, or what the architecture has in its place.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    scale: float

    def scores(self) -> Tensor:
        """Their products in float32, (batch, heads, length, length)."""
        with torch.autocast(self.query.device.type, enabled=False):
            return torch.matmul(self.query.float() * self.scale, self.key.float().mT)
