"""Families of masked LMs: which are known, their forward pass, longest input, activations."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from augment.contract.models import max_input_length
from augment.masked_lm.bert import WEIGHT_NAMES, BertForward
from augment.masked_lm.inputs import PackedInputs
from augment.masked_lm.modernbert import ModernBertForward

FAMILIES = (*WEIGHT_NAMES, "modernbert")
"""Model types in ``config.json``."""

_POSITIONS = 512
"""Where a model does not say how many it has."""

_ACTIVATIONS = ("hidden_act", "activation", "hidden_activation", "classifier_activation")


class Forward(Protocol):
    """Logits at the mask of each input."""

    def __call__(self, inputs: PackedInputs) -> Tensor:
        """Run the model; logits of shape ``(inputs, vocabulary)``."""
        ...


def forward_of(model: Any, dtype: torch.dtype = torch.float32) -> Forward:
    """The forward of a masked LM of transformers in eval mode.

    Args:
        model: A model whose type is one of ``FAMILIES``.
        dtype: Of the layers.
    """
    if model.config.model_type == "modernbert":
        return ModernBertForward(model, dtype)
    return BertForward(model, dtype)


def longest_input(config: Any) -> int:
    """The longest input of a model of any kind, in tokens, special ones included."""
    return max_input_length(config) or _POSITIONS


def activations(config: Any) -> list[str]:
    """The names of a model's activations."""
    return [str(getattr(config, name)) for name in _ACTIVATIONS if hasattr(config, name)]
