"""The exact forward of a masked LM of BERT's shape for one position of each input, and no more.

Inputs of any lengths lie one after the other in one long row of pieces, so nothing is padded and
every product is large; only attention looks at one length at a time. Queries, keys and values are
one product, computed once for equal embeddings in the first layer: the masks of a sentence differ
in one piece only. In the last layer only the mask's own attention is wanted, so its query is
carried through the keys' and the weighted mean through the values' weights instead of projecting
every piece. The LM head runs at the mask. The numbers are those of the whole model up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from augment.encoders import BertShaped, Embedding, Head, bert_shaped
from augment.linear import Linear
from augment.packing import Packed, Run


class MaskForward:
    """Logits at the mask of each input, from the weights of a BERT-shaped masked LM."""

    def __init__(self, model: Any, dtype: torch.dtype = torch.float32) -> None:
        """Take the weights of a masked LM of one of the families ``BERT_SHAPED``, in eval mode.

        Args:
            model: The model; its weights are copied into the layout that is fastest.
            dtype: Of the layers; the LM head never computes below float32.
        """
        shaped = bert_shaped(model)
        *layers, last = shaped.layers
        self._embeddings = _Embeddings(shaped.embedding, dtype)
        self._layers = [_Layer(layer, shaped, dtype) for layer in layers]
        self._last = _LastLayer(last, shaped, dtype)
        self._head = _Head(shaped.head, torch.promote_types(dtype, torch.float32))

    def __call__(self, inputs: Packed) -> Tensor:
        """Run the model.

        Returns:
            Logits, shape ``(inputs, vocabulary)``.
        """
        distinct, inverse = _distinct(inputs)
        hidden = self._embeddings(*distinct)
        first = self._layers[0].project(hidden).index_select(0, inverse) if self._layers else None
        hidden = hidden.index_select(0, inverse)
        for layer in self._layers:
            hidden = layer(hidden, inputs.runs, first)
            first = None
        return self._head(self._last(hidden, inputs))


def _distinct(inputs: Packed) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """Ids, positions and segments of the distinct pieces, and which of them each piece is."""
    places = int(inputs.positions.max()) + 1
    keys = (inputs.ids * places + inputs.positions) * 2 + inputs.segments
    distinct, inverse = torch.unique(keys, return_inverse=True)
    ids, positions = distinct // 2 // places, distinct // 2 % places
    return (ids, positions, distinct % 2), inverse


class _Embeddings:
    """Word, position and segment vectors, added and normalised; widened where they are narrow."""

    def __init__(self, weights: Embedding, dtype: torch.dtype) -> None:
        self._words, self._positions = weights.words, weights.places
        self._segments = weights.segments
        self._norm = Norm(weights.norm, self._words.dtype)
        self._project = None if weights.project is None else Linear.of(weights.project, dtype)
        self._dtype = dtype

    def __call__(self, ids: Tensor, positions: Tensor, segments: Tensor) -> Tensor:
        summed = self._words[ids] + self._segments[segments] + self._positions[positions]
        normed = self._norm(summed).to(self._dtype)
        return normed if self._project is None else self._project(normed)


class Norm:
    """Layer normalisation, with or without a bias."""

    def __init__(self, module: Any, dtype: torch.dtype) -> None:
        """Take the weights of a ``torch.nn.LayerNorm``."""
        self._weight = module.weight.detach().to(dtype)
        self._bias = None if module.bias is None else module.bias.detach().to(dtype)
        self._eps = module.eps

    def __call__(self, rows: Tensor) -> Tensor:
        """Normalise rows."""
        return F.layer_norm(rows, self._weight.shape, self._weight, self._bias, self._eps)


class _Blocks:
    """What follows attention in a layer: both residual blocks."""

    def __init__(self, layer: Any, shaped: BertShaped, dtype: torch.dtype) -> None:
        self._activation = shaped.activation
        self._attention_out = Linear.of(layer.attention.output.dense, dtype)
        self._attention_norm = Norm(layer.attention.output.LayerNorm, dtype)
        self._intermediate = Linear.of(layer.intermediate.dense, dtype)
        self._output = Linear.of(layer.output.dense, dtype)
        self._output_norm = Norm(layer.output.LayerNorm, dtype)

    def __call__(self, hidden: Tensor, context: Tensor) -> Tensor:
        hidden = self._attention_norm(self._attention_out(context, residual=hidden))
        inner = self._intermediate(hidden, activation=self._activation)
        return self._output_norm(self._output(inner, residual=hidden))


class _Layer:
    """A Transformer layer over the long row."""

    def __init__(self, layer: Any, shaped: BertShaped, dtype: torch.dtype) -> None:
        attention = layer.attention.self
        parts = (attention.query, attention.key, attention.value)
        self._qkv = Linear(
            torch.cat([part.weight.detach() for part in parts]).to(dtype),
            torch.cat([part.bias.detach() for part in parts]).to(dtype),
        )
        self._heads = shaped.heads
        self._blocks = _Blocks(layer, shaped, dtype)

    def project(self, hidden: Tensor) -> Tensor:
        """Queries, keys and values side by side, shape ``(pieces, 3 x width)``."""
        return self._qkv(hidden)

    def __call__(self, hidden: Tensor, runs: Sequence[Run], qkv: Tensor | None = None) -> Tensor:
        """Hidden states, shape ``(pieces, width)``; ``qkv`` where it is known already."""
        qkv = self.project(hidden) if qkv is None else qkv
        context = torch.empty_like(hidden)
        for run in runs:
            split = qkv[run.pieces].view(run.inputs, run.length, 3, self._heads, -1)
            query, key, value = split.permute(2, 0, 3, 1, 4)
            attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2)
            context[run.pieces].view(attended.shape).copy_(attended)
        return self._blocks(hidden, context)


class _LastLayer:
    """The last layer at the masks only; keys and values of the other pieces are never formed."""

    def __init__(self, layer: Any, shaped: BertShaped, dtype: torch.dtype) -> None:
        attention, self._heads = layer.attention.self, shaped.heads
        self._query = Linear.of(attention.query, dtype)
        width = len(attention.query.weight)
        by_head = (self._heads, width // self._heads, width)
        self._key = attention.key.weight.detach().to(dtype).view(by_head).contiguous()
        self._value = attention.value.weight.detach().to(dtype).view(by_head).contiguous()
        self._value_bias = attention.value.bias.detach().to(dtype)
        self._scale = (width // self._heads) ** -0.5
        self._blocks = _Blocks(layer, shaped, dtype)

    def __call__(self, hidden: Tensor, inputs: Packed) -> Tensor:
        """Hidden states at the masks, shape ``(inputs, width)``.

        The keys' bias moves all scores of a query alike, so that the softmax does not see it; the
        values' bias passes through a mean unchanged.
        """
        at_mask = hidden.index_select(0, inputs.masks)
        query = self._query(at_mask).view(len(at_mask), self._heads, -1).transpose(0, 1)
        asked = torch.bmm(query, self._key).transpose(0, 1) * self._scale
        means, first = torch.empty_like(asked), 0
        for run in inputs.runs:
            mine = slice(first, first + run.inputs)
            states = hidden[run.pieces].view(run.inputs, run.length, -1)
            weights = torch.softmax(asked[mine] @ states.transpose(1, 2), dim=-1)
            means[mine] = weights @ states
            first += run.inputs
        values = torch.bmm(means.transpose(0, 1), self._value.transpose(1, 2))
        context = values.transpose(0, 1).flatten(1) + self._value_bias
        return self._blocks(at_mask, context)


class _Head:
    """The LM head."""

    def __init__(self, weights: Head, dtype: torch.dtype) -> None:
        self._activation = weights.activation
        self._dense = Linear.of(weights.dense, dtype)
        self._norm = Norm(weights.norm, dtype)
        self._decoder = Linear.of(weights.decoder, dtype)
        self._dtype = dtype

    def __call__(self, hidden: Tensor) -> Tensor:
        inner = self._dense(hidden.to(self._dtype), activation=self._activation)
        return self._decoder(self._norm(inner))
