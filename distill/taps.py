"""Raw attention scores and hidden states of chosen layers, from any transformers encoder.

No modelling code is copied: one attention function is registered with transformers under a name
of ours. It computes what ``sdpa`` computes and, for layers that are being tapped, hands back
QKᵀ/√d as well: before the mask, the softmax and dropout, which is the quantity of Eq. 1 and 7.
(The probabilities that transformers calls ``attentions`` are another one.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.utils.output_capturing import OutputRecorder

from distill.errors import EncoderUnsupported

ATTENTION = "sdpa_with_scores"
_ARMED = "_distill_tapped"


@dataclass(frozen=True, slots=True)
class Tapped:
    """What one forward pass of an encoder showed.

    Attributes:
        embedding: Output of the embedding layer, shape (batch, length, width).
        hidden: Layer, counted from 1, to its output, shape (batch, length, width).
        scores: Layer to its raw scores QKᵀ/√d, shape (batch, heads, length, length).
    """

    embedding: Tensor
    hidden: Mapping[int, Tensor]
    scores: Mapping[int, Tensor]


class Tap:
    """An encoder together with the layers to listen to.

    Deliberately no ``nn.Module``: a module that holds a tap does not own the model's weights.

    Args:
        model: A model with or without a task head; its attention implementation is replaced by
            one that computes the same.
        layers: Layers counted from 1, increasing.

    Raises:
        EncoderUnsupported: The architecture does not use transformers' attention interface.
    """

    def __init__(self, model: PreTrainedModel, layers: Sequence[int]) -> None:
        self.model = model
        self.layers = tuple(layers)
        modules = attention_modules(model)
        self._modules = [modules[layer - 1] for layer in self.layers]
        model.set_attn_implementation(ATTENTION)

    def __call__(self, **inputs: Tensor) -> Tapped:
        """Run the encoder without its head.

        Args:
            **inputs: ``input_ids`` and ``attention_mask``, shape (batch, length), and what else
                the tokenizer gives.
        """
        with self._listening():
            output = self.model.base_model(
                **inputs, output_attentions=True, output_hidden_states=[0, *self.layers]
            )
        hidden = output.hidden_states
        return Tapped(
            embedding=hidden[0],
            hidden={layer: hidden[layer] for layer in self.layers},
            scores=dict(zip(self.layers, output.attentions, strict=True)),
        )

    @contextmanager
    def _listening(self) -> Iterator[None]:
        for module in self._modules:
            setattr(module, _ARMED, True)
        try:
            yield
        finally:
            for module in self._modules:
                delattr(module, _ARMED)


def attention_modules(model: PreTrainedModel) -> list[nn.Module]:
    """The self-attention modules of an encoder, in the order of its layers.

    Raises:
        EncoderUnsupported: They cannot be found.
    """
    encoder = model.base_model
    spec = (getattr(type(encoder), "_can_record_outputs", None) or {}).get("attentions")
    target = spec.target_class if isinstance(spec, OutputRecorder) else spec
    found = [m for m in encoder.modules() if target and isinstance(m, target)]
    if len(found) != model.config.num_hidden_layers:
        raise EncoderUnsupported(
            f"{type(model).__name__} does not show its attention scores: expected one attention "
            f"module in each of {model.config.num_hidden_layers} layers, found {len(found)}.",
            "Use BERT, RoBERTa, ELECTRA, DistilBERT or a relative of theirs.",
        )
    return found


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention as sdpa computes it; queries and keys are (batch, heads, length, head size)."""
    options.pop("output_attentions", None)
    context, _ = sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
    )
    if not getattr(module, _ARMED, False):
        return context, None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return context, torch.matmul(query, key.transpose(-1, -2)) * scale


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
