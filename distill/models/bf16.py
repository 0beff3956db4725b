"""bfloat16: support of the processor, autocast, and a frozen copy of a teacher."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from augment.contract.models import (
    bfloat16_is_faster,
    processor_computes_bfloat16,
    slow_bfloat16,
)
from distill.models.loading import eval_mode

_MKLDNN: Any = torch.ops.mkldnn
_ROWS_HINT = 512


class FrozenLinear(nn.Module):
    """The weights of an ``nn.Linear`` in bfloat16, without gradient."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().to(torch.bfloat16)
        self._packed: Tensor | None = None
        if weight.device.type == "cpu" and _packs():
            self._packed = _MKLDNN._reorder_linear_weight(weight, _ROWS_HINT)
            weight = weight.new_empty((0, linear.in_features))  # a slice would keep all of it
        bias = None if linear.bias is None else linear.bias.detach().to(torch.bfloat16)
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, states: Tensor) -> Tensor:
        """Map states (…, in) of any format to (…, out) in bfloat16."""
        rows = states.to(torch.bfloat16)
        if self._packed is None:
            return nn.functional.linear(rows, self.weight, self.bias)
        flat = rows.reshape(-1, self.in_features)
        out: Tensor = _MKLDNN._linear_pointwise(flat, self._packed, self.bias, "none", [], "")
        return out.view(*states.shape[:-1], self.out_features)


def _packs() -> bool:
    """Whether oneDNN is there and takes bfloat16 on this processor."""
    supported = getattr(_MKLDNN, "_is_mkldnn_bf16_supported", None)
    usable = hasattr(_MKLDNN, "_linear_pointwise") and bool(supported and supported())
    return usable and processor_computes_bfloat16()


def frozen(teacher: PreTrainedModel, precision: str) -> PreTrainedModel:
    """A teacher in evaluation mode, for forward passes: itself in float32, else a copy.

    The copy's matrices are bfloat16; all other weights are those of the teacher, which stays as
    it is.
    """
    if not uses_bfloat16(precision):
        return teacher
    shared = {id(weight): weight for weight in teacher.parameters()}
    copied = copy.deepcopy(teacher, shared)
    for module in list(copied.base_model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear:
                setattr(module, name, FrozenLinear(child))
    return eval_mode(copied)


def uses_bfloat16(precision: str) -> bool:
    """Whether forward passes run in bfloat16 while training (``auto``: where it is faster)."""
    return precision == "bfloat16" or (precision == "auto" and computes_bfloat16_faster())


def computes_bfloat16_faster() -> bool:
    """Whether this machine multiplies bfloat16 faster than float32."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bfloat16_is_faster()


def slow_format(precision: str, *, faster: bool | None = None) -> str:
    """What to know before a run in bfloat16 that is slower than in float32; empty elsewhere.

    Whether bfloat16 is ``faster`` is asked of the machine if left out.
    """
    if precision != "bfloat16":
        return ""
    slower = not (computes_bfloat16_faster() if faster is None else faster)
    return slow_bfloat16("auto") if slower else ""


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context of forward passes, as in the trainer, for use outside of it."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=uses_bfloat16(precision))
