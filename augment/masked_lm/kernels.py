"""Kernels of the masked LM: packed linear layers and exact top-k by blocks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from augment.contract.models import processor_computes_bfloat16

_ROWS_HINT = 1024
_GELUS = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
"""The approximation of each GELU that transformers names; oneDNN computes them with the product."""
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    **{name: partial(F.gelu, approximate=how) for name, how in _GELUS.items()},
    "relu": F.relu,
}
"""By the names that transformers gives them."""


class Linear:
    """``activation(x Wᵀ + b)`` or ``x Wᵀ + b + residual`` over rows."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """Take the weights, shape ``(outputs, inputs)``, and a bias, shape ``(outputs,)``."""
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
        """Apply the layer to contiguous rows, shape ``(rows, inputs)``.

        The residual and what is returned have the shape ``(rows, outputs)``.
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
        name, how = ("gelu", _GELUS[activation]) if activation in _GELUS else ("none", "")
        out = ops._linear_pointwise(rows, self._weight, self._bias, name, [], how)
        return out if activation in _GELUS else activate(out, activation)


def activate(rows: Tensor, name: str) -> Tensor:
    """An activation by the name that transformers gives it; nothing for no name."""
    return ACTIVATIONS[name](rows) if name else rows


def _packs(weight: Tensor) -> bool:
    """Whether oneDNN takes these weights; bfloat16 only where the processor computes in it."""
    ops: Any = torch.ops.mkldnn
    if weight.device.type != "cpu" or not hasattr(ops, "_linear_pointwise"):
        return False
    if weight.dtype is torch.bfloat16:
        supported = getattr(ops, "_is_mkldnn_bf16_supported", None)
        return bool(supported and supported() and processor_computes_bfloat16())
    return weight.dtype is torch.float32


_BLOCK = 64


def top_columns(scores: Tensor, count: int) -> Tensor:
    """The columns of the largest values of each row, largest first, shape ``(rows, count)``.

    The best of every block of columns first: the ``count`` largest values lie in the ``count``
    blocks with the largest maxima, so that most of a row is read once and never sorted.
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
