"""How much of a student is dropped while a stage lasts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from torch import nn


@contextmanager
def dropping(model: nn.Module, share: float | Literal["auto"]) -> Iterator[None]:
    """Drop this share of the model's numbers, and its own share again afterwards.

    Args:
        model: Whose config is not changed.
        share: From 0 to below 1; ``auto`` leaves what the architecture says.
    """
    own = list(_shares(model)) if share != "auto" else []
    for module, place, _ in own:
        setattr(module, place, share)
    try:
        yield
    finally:
        for module, place, before in own:
            setattr(module, place, before)


def _shares(model: nn.Module) -> Iterator[tuple[nn.Module, str, float]]:
    for module in model.modules():
        place = "p" if isinstance(module, nn.Dropout) else "attention_dropout"  # ModernBERT's
        if isinstance(before := getattr(module, place, None), float | int):
            yield module, place, float(before)
