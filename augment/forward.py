"""The exact forward of a BERT masked LM for one position of each input, without what is not read.

Only the mask's prediction is wanted: in the last layer queries, attention and everything after it
are computed for the mask alone (keys and values for all), and the LM head runs on one vector an
input. Inputs of equal length need no padding and no attention mask. Queries, keys and values are
one product. The numbers are those of the whole model up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class _Layer:
    """The weights of one Transformer layer, queries, keys and values side by side."""

    qkv_weight: Tensor
    qkv_bias: Tensor
    attention_out: Any
    attention_norm: Any
    intermediate: Any
    activation: Any
    output: Any
    output_norm: Any


class MaskForward:
    """Logits at the mask of each input.

    Attributes:
        heads: Attention heads of every layer.
    """

    def __init__(self, model: Any) -> None:
        """Take the weights of a ``BertForMaskedLM`` in eval mode."""
        self._embeddings = model.base_model.embeddings
        self._head = model.cls
        self.heads = int(model.config.num_attention_heads)
        self._layers = [_layer(layer) for layer in model.base_model.encoder.layer]

    def __call__(self, ids: Tensor, segments: Tensor, at: Tensor) -> Tensor:
        """Run the model.

        Args:
            ids: Piece ids, shape ``(inputs, length)``; no padding.
            segments: 0 or 1 for each piece, same shape.
            at: Where the mask stands, shape ``(inputs,)``.

        Returns:
            Logits, shape ``(inputs, vocabulary)``.
        """
        hidden = self._embeddings(input_ids=ids, token_type_ids=segments)
        for layer in self._layers[:-1]:
            query, key, value = self._project(layer, hidden)
            hidden = _rest(layer, hidden, self._attend(query, key, value))
        last, rows = self._layers[-1], torch.arange(len(ids), device=ids.device)
        query, key, value = self._project(last, hidden)
        masked = query[rows, :, at].unsqueeze(2)
        context = self._attend(masked, key, value)
        at_mask = _rest(last, hidden[rows, at].unsqueeze(1), context)
        logits: Tensor = self._head(at_mask[:, 0])
        return logits

    def _project(self, layer: _Layer, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each of shape ``(inputs, heads, length, head size)``."""
        inputs, length, _ = hidden.shape
        together = F.linear(hidden, layer.qkv_weight, layer.qkv_bias)
        split = together.view(inputs, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return split[0], split[1], split[2]

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention output with heads side by side, shape ``(inputs, queries, width)``."""
        context = F.scaled_dot_product_attention(query, key, value)
        return context.transpose(1, 2).flatten(2)


def _layer(layer: Any) -> _Layer:
    attention = layer.attention.self
    parts = (attention.query, attention.key, attention.value)
    return _Layer(
        qkv_weight=torch.cat([part.weight.detach() for part in parts]),
        qkv_bias=torch.cat([part.bias.detach() for part in parts]),
        attention_out=layer.attention.output.dense,
        attention_norm=layer.attention.output.LayerNorm,
        intermediate=layer.intermediate.dense,
        activation=layer.intermediate.intermediate_act_fn,
        output=layer.output.dense,
        output_norm=layer.output.LayerNorm,
    )


def _rest(layer: _Layer, hidden: Tensor, context: Tensor) -> Tensor:
    """What follows attention: both residual blocks of the layer."""
    hidden = layer.attention_norm(layer.attention_out(context) + hidden)
    inner = layer.activation(layer.intermediate(hidden))
    normed: Tensor = layer.output_norm(layer.output(inner) + hidden)
    return normed
