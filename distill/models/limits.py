"""Limits of inputs: longest text of a recipe and of a model, and the inputs that a model reads."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from augment.contract import TaskSpec
from augment.contract.foreign import counted
from augment.contract.models import max_input_length, reads_segments
from distill.errors import ModelInvalid

SINGLE_LENGTH, PAIR_LENGTH = 64, 128
NO_LIMIT = 10**6  # tokens; tokenizers record far larger numbers where they know none


def filter_inputs(model: PreTrainedModel, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inputs that a model reads: ``token_type_ids`` only if it has a table of them."""
    if reads_segments(model.config):
        return inputs
    return {name: tensor for name, tensor in inputs.items() if name != "token_type_ids"}


def resolve_length(max_length: int | str, task: TaskSpec) -> int:
    """The recipe's ``max_length`` in tokens: ``auto`` is 64 or 128 (docs/method.md, section 6)."""
    if isinstance(max_length, int):
        return max_length
    return SINGLE_LENGTH if len(task.text_columns) == 1 else PAIR_LENGTH


def check_length(max_length: int, name: str, config: Any) -> None:
    """Refuse texts longer than the position table of a model, as the user called it.

    Raises:
        ModelInvalid: ``max_length``, in tokens, exceeds it.
    """
    most = max_input_length(config)
    if most is not None and max_length > most:
        raise ModelInvalid(
            f"max_length is {counted(max_length, 'token')}, {name} reads at most {most}.",
            f"Set max_length = {most} in the recipe.",
        )
