"""A rate of its own for the head, which starts from random numbers where the encoder does not."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer
from transformers import PreTrainedModel


def head_of(model: PreTrainedModel) -> list[nn.Parameter]:
    """The weights between an encoder's last layer and its answers, a pooler included."""
    encoder = f"{model.base_model_prefix}."
    return [
        weight
        for name, weight in model.named_parameters()
        if not name.startswith(encoder) or name.startswith(f"{encoder}pooler.")
    ]


def raise_head_rate(optimizer: Optimizer, model: PreTrainedModel, factor: float) -> None:
    """Let the head learn this many times as fast as the rest; 1 leaves the optimizer as it is.

    Args:
        optimizer: Before its first step; each of its groups is parted.
        model: Whose head.
        factor: Of the rate, at every step of the schedule.
    """
    if factor == 1:
        return
    head = {id(weight) for weight in head_of(model)}
    groups = list(optimizer.param_groups)
    optimizer.param_groups.clear()
    for group in groups:
        parts = (
            ([own for own in group["params"] if id(own) not in head], 1.0),
            ([own for own in group["params"] if id(own) in head], factor),
        )
        for weights, times in parts:
            if weights:
                rate = group["lr"] * times
                optimizer.add_param_group({**group, "params": weights, "lr": rate})
