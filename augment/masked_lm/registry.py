"""Families of masked LMs: which are known, their forward pass, longest input, activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from augment.contract.models import FAMILIES as BERT_SHAPED
from augment.contract.models import max_input_length
from augment.masked_lm.bert import BertForward
from augment.masked_lm.inputs import PackedInputs
from augment.masked_lm.kernels import ACTIVATIONS
from augment.masked_lm.modernbert import ModernBertForward

FAMILIES = (*(name for name, family in BERT_SHAPED.items() if family.head), "modernbert")
"""Model types in ``config.json``."""

_POSITIONS = 512
"""Where a model does not say how many it has."""

_ACTIVATION_KEYS = ("hidden_act", "activation", "hidden_activation", "classifier_activation")


Forward = Callable[[PackedInputs], Tensor]
"""Logits at each mask that is asked for, shape ``(masks, vocabulary)``."""


def forward_of(model: Any, dtype: torch.dtype = torch.float32) -> Forward:
    """The forward of a masked LM of one of the ``FAMILIES`` in eval mode, layers in ``dtype``."""
    modern = model.config.model_type == "modernbert"
    return ModernBertForward(model, dtype) if modern else BertForward(model, dtype)


def longest_input(config: Any) -> int:
    """The longest input of a model of any kind, in tokens, special ones included."""
    return max_input_length(config) or _POSITIONS


def moving_rotations(config: Any) -> list[str]:
    """The kinds of RoPE that turn a text by how long its batch is; here a batch decides nothing."""
    by_layer = (getattr(config, "rope_parameters", None) or {}).values()
    kinds = {str(rope.get("rope_type")) for rope in by_layer if isinstance(rope, dict)}
    return sorted(kinds & {"dynamic", "longrope"})


def unknown_activations(config: Any) -> list[str]:
    """The names of a model's activations that are not known here."""
    names = [str(getattr(config, key)) for key in _ACTIVATION_KEYS if hasattr(config, key)]
    return [name for name in names if name not in ACTIVATIONS]
