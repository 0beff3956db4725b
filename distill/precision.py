"""In which number format forward passes run."""

from __future__ import annotations

import torch


def uses_bfloat16(precision: str) -> bool:
    """Whether forward passes run in bfloat16 while training (``auto``: where it is fast)."""
    return precision == "bfloat16" or (precision == "auto" and computes_bfloat16())


def computes_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 in hardware (elsewhere it is slower)."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context that forward passes run in: the trainer's own, for use outside of it."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=uses_bfloat16(precision))
