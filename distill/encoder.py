"""The teacher of general distillation: an encoder that no task has touched."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distill.models import HEAD, at_rest, read_config, read_tokenizer, read_weights


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder without a head for a task.

    Attributes:
        name: What the user called it.
        model: In evaluation mode, float32, frozen.
        tokenizer: Its own.
        notice: A sentence about where it comes from that the user should see, or nothing.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    notice: str = ""


def load_encoder(name: str) -> Encoder:
    """Load an encoder for general distillation, with or without a head: frozen, at rest.

    Raises:
        ModelInvalid: Its weights or its tokenizer cannot be used.
    """
    config = read_config(name)
    model = at_rest(read_weights(name, config, head=False))
    model.requires_grad_(False)
    built_as = (config.architectures or [""])[0]
    notice = (
        f"{name} was fine-tuned ({built_as}); general distillation wants an untuned encoder"
        if HEAD in built_as
        else ""
    )
    return Encoder(name, model, read_tokenizer(name), notice)
