"""Kernels of the masked LM: packed linear layers and exact top-k by blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_ROWS_HINT = 1024
_FUSED = {
    "gelu": ("gelu", "none"),
    "gelu_new": ("gelu", "tanh"),
    "gelu_pytorch_tanh": ("gelu", "tanh"),
}
_PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
}


class Linear:
    """``activation(x Wᵀ + b)`` or ``x Wᵀ + b + residual`` over rows."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """Take the weights.

        Args:
            weight: Shape ``(outputs, inputs)``.
            bias: Shape ``(outputs,)``, or None.
        """
        self._bias = bias
        self._packed = _packs(weight)
        ops: Any = torch.ops.mkldnn
        self._weight: Tensor = (
            ops._reorder_linear_weight(weight, _ROWS_HINT) if self._packed else weight
        )

    @classmethod
    def of(cls, module: Any, dtype: torch.dtype) -> Linear:
        """The weights of a ``torch.nn.Linear``."""
        bias = None if module.bias is None else module.bias.detach().to(dtype)
        return cls(module.weight.detach().to(dtype), bias)

    def __call__(
        self, rows: Tensor, *, activation: str = "", residual: Tensor | None = None
    ) -> Tensor:
        """Apply the layer.

        Args:
            rows: Shape ``(rows, inputs)``, contiguous.
            activation: A name that transformers gives activations, or nothing.
            residual: Added after the bias, shape ``(rows, outputs)``.

        Returns:
            Shape ``(rows, outputs)``.
        """
        if not self._packed:
            out = activate(F.linear(rows, self._weight, self._bias), activation)
            return out if residual is None else out + residual
        if len(rows) == 1:  # one row takes another kernel, with other last digits
            twice = None if residual is None else residual.expand(2, -1).contiguous()
            return self(rows.expand(2, -1).contiguous(), activation=activation, residual=twice)[:1]
        ops: Any = torch.ops.mkldnn
        if residual is not None:
            summed: Tensor = ops._linear_pointwise.binary(
                rows, residual, self._weight, self._bias, "add"
            )
            return summed
        name, algorithm = _FUSED.get(activation, ("none", ""))
        out = ops._linear_pointwise(rows, self._weight, self._bias, name, [], algorithm)
        return out if activation in _FUSED else activate(out, activation)


def known_activation(name: str) -> bool:
    """Whether a model's activation is one of those above."""
    return name in _PLAIN


def activate(rows: Tensor, name: str) -> Tensor:
    """An activation by the name that transformers gives it; nothing for no name."""
    return _PLAIN[name](rows) if name else rows


def _packs(weight: Tensor) -> bool:
    """Whether oneDNN takes these weights; bfloat16 only where the processor computes in it."""
    ops: Any = torch.ops.mkldnn
    if weight.device.type != "cpu" or not hasattr(ops, "_linear_pointwise"):
        return False
    if weight.dtype is torch.bfloat16:
        supported = getattr(ops, "_is_mkldnn_bf16_supported", None)
        return bool(supported and supported() and computes_bfloat16())
    return weight.dtype is torch.float32


def computes_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (elsewhere it is slower)."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


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
    in_blocks = columns // _BLOCK * _BLOCK
    if in_blocks // _BLOCK <= count:
        return torch.topk(scores, count, dim=1).indices
    maxima = scores[:, :in_blocks].view(rows, -1, _BLOCK).amax(dim=2)
    best = torch.topk(maxima, count, dim=1, sorted=False).indices
    inside = (best[:, :, None] * _BLOCK + torch.arange(_BLOCK, device=scores.device)).view(rows, -1)
    rest = torch.arange(in_blocks, columns, device=scores.device).expand(rows, -1)
    candidates = torch.cat([inside, rest], dim=1)
    top = torch.topk(scores.gather(1, candidates), count, dim=1).indices
    return candidates.gather(1, top)
