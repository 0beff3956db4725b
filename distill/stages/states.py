"""What is compared of a guide, side by side for each token, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distill.models.capture import Activations
from distill.models.qkv import QKV


@dataclass(frozen=True, slots=True)
class Related:
    """Queries, keys or values of one layer that are kept.

    Attributes:
        layer: Counted from 1.
        names: Those of ``query``, ``key`` and ``value`` that are kept.
        heads: Their number.
        size: Of a head.
        scale: Of the scores, see ``QKV``.
    """

    layer: int
    names: tuple[str, ...]
    heads: int
    size: int
    scale: float


@dataclass(frozen=True, slots=True)
class StateLayout:
    """Which numbers of a token stand where: embedding, hidden states, queries, keys, values.

    Scores are not kept but queries and keys, from which they are computed as in the guide itself:
    that is less for long texts, and the same for every length.

    Attributes:
        width: Of embedding and hidden states.
        hidden: Layers, counted from 1, whose hidden states are kept.
        related: Of which layers queries, keys or values are.
    """

    width: int
    hidden: tuple[int, ...]
    related: tuple[Related, ...]

    @property
    def numbers(self) -> int:
        """Of a token."""
        more = sum(len(own.names) * own.heads * own.size for own in self.related)
        return self.width * (1 + len(self.hidden)) + more

    @classmethod
    def of(cls, found: Activations, names: Sequence[str]) -> StateLayout:
        """The layout of what was captured, with these of queries, keys and values."""
        related = (
            Related(layer, tuple(names), qkv.query.shape[1], qkv.query.shape[3], qkv.scale)
            for layer, qkv in found.qkv.items()
        )
        return cls(found.embedding.shape[2], tuple(found.hidden), tuple(related))

    def join(self, found: Activations) -> Tensor:
        """What was captured as float32, shape (batch, length, numbers)."""
        parts = [found.embedding, *(found.hidden[layer] for layer in self.hidden)]
        for own in self.related:
            heads = [getattr(found.qkv[own.layer], name) for name in own.names]
            parts += [states.transpose(1, 2).flatten(2) for states in heads]
        return torch.cat([part.float() for part in parts], dim=2)

    def split(self, states: Tensor) -> Activations:
        """The same as it was captured, but for scores; what is not kept is empty."""
        related = [own.heads * own.size for own in self.related for _ in own.names]
        sizes = [self.width] * (1 + len(self.hidden)) + related
        embedding, *parts = torch.split(states, sizes, dim=2)
        hidden = {layer: parts.pop(0) for layer in self.hidden}
        return Activations(
            embedding=embedding,
            hidden=hidden,
            scores={},
            windows={},
            qkv={own.layer: _qkv(own, parts) for own in self.related},
        )


def _qkv(own: Related, parts: list[Tensor]) -> QKV:
    """Take a layer's from the parts that are left."""
    found = {}
    for name in own.names:
        states = parts.pop(0)
        found[name] = states.view(*states.shape[:2], own.heads, own.size).transpose(1, 2)
    nothing = next(iter(found.values()))[..., :0]
    query, key, value = (found.get(name, nothing) for name in ("query", "key", "value"))
    return QKV(query, key, value, own.scale)
