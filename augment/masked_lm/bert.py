"""Exact forward pass of BERT-shaped masked LMs at the masks alone.

Inputs lie one after the other without padding. Three kinds of products are skipped, and the logits
are the same: equal tokens at equal positions share the first layer's projections; in the last layer
only the masks have queries, and keys and values of other tokens are never formed (``_LastLayer``);
the LM head sees the masks only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from augment.contract.models import FAMILIES, Family, first_position
from augment.masked_lm.inputs import LengthGroup, PackedInputs
from augment.masked_lm.kernels import Linear


class BertForward:
    """Logits at the masks that are asked for, from the weights of a BERT-shaped masked LM."""

    def __init__(self, model: Any, dtype: torch.dtype = torch.float32) -> None:
        """Copy the weights of a masked LM in eval mode into the layout that is fastest.

        Its family is one of ``FAMILIES`` with a head; the layers have this dtype, the LM head at
        least float32.
        """
        config, family = model.config, FAMILIES[model.config.model_type]
        head = family.head
        assert head is not None
        *layers, last = model.base_model.get_submodule(family.layers)
        self._embeddings = _Embeddings(model.base_model, family, dtype)
        self._bias = _PositionBias(model.base_model, family, dtype)
        self._layers = [_Layer(layer, config, family, dtype) for layer in layers]
        self._last = _LastLayer(last, config, family, dtype)
        activation = head.activation or getattr(config, family.activation)
        self._head = LMHead(model, head.dense, head.norm, activation, dtype)

    def __call__(self, inputs: PackedInputs) -> Tensor:
        """Logits, shape ``(masks, vocabulary)``."""
        distinct, inverse = _distinct(inputs)
        hidden = self._embeddings(*distinct)
        first = self._layers[0].project(hidden).index_select(0, inverse) if self._layers else None
        hidden = hidden.index_select(0, inverse)
        bias = self._bias(inputs)
        for layer in self._layers:
            hidden = layer(hidden, inputs.groups, bias, first)
            first = None
        return self._head(self._last(hidden, inputs, bias))


def _distinct(inputs: PackedInputs) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """Ids, positions and segments of the distinct tokens, and which of them each token is."""
    length = int(inputs.positions.max()) + 1
    keys = (inputs.ids * length + inputs.positions) * 2 + inputs.segments
    distinct, inverse = torch.unique(keys, return_inverse=True)
    ids, positions = distinct // 2 // length, distinct // 2 % length
    return (ids, positions, distinct % 2), inverse


class _Embeddings:
    """Token, position and segment vectors, added, normalized, and projected where narrow."""

    def __init__(self, base: Any, family: Family, dtype: torch.dtype) -> None:
        module = base.embeddings
        self._tokens = module.word_embeddings.weight.detach()
        first = first_position(base.config)
        self._positions = module.position_embeddings.weight.detach()[first:]
        self._segments = self._tokens.new_zeros(2, self._tokens.shape[1])
        if family.segments:
            used = module.token_type_embeddings.weight.detach()[: family.segments]
            self._segments = used.expand(2, -1)
        self._norm = LayerNorm(module.LayerNorm, self._tokens.dtype)
        project = getattr(base, "embeddings_project", None)
        self._project = None if project is None else Linear.of(project, dtype)
        self._dtype = dtype

    def __call__(self, ids: Tensor, positions: Tensor, segments: Tensor) -> Tensor:
        summed = self._tokens[ids] + self._segments[segments] + self._positions[positions]
        normed = self._norm(summed).to(self._dtype)
        return normed if self._project is None else self._project(normed)


class _PositionBias:
    """What a family adds to the scores of all layers by the distance of two tokens, if anything."""

    def __init__(self, base: Any, family: Family, dtype: torch.dtype) -> None:
        name = family.position_bias.rpartition(".")[0]
        self._module = base.get_submodule(name) if name else None
        self._dtype = dtype

    def __call__(self, inputs: PackedInputs) -> Tensor | None:
        """Of the longest input, shape ``(heads, length, length)``; shorter ones have its corner."""
        if self._module is None:
            return None
        longest = max(group.length for group in inputs.groups)
        like = torch.empty(1, longest, 0, device=inputs.ids.device)
        bias: Tensor = self._module.compute_position_bias(like)[0]
        return bias.detach().to(self._dtype)


class LayerNorm:
    """Layer normalization, with or without a bias."""

    def __init__(self, module: Any, dtype: torch.dtype) -> None:
        """Take the weights of a ``torch.nn.LayerNorm``."""
        self._weight = module.weight.detach().to(dtype)
        self._bias = None if module.bias is None else module.bias.detach().to(dtype)
        self._eps = module.eps

    def __call__(self, rows: Tensor) -> Tensor:
        """Normalize rows."""
        return F.layer_norm(rows, self._weight.shape, self._weight, self._bias, self._eps)


class _AfterAttention:
    """A layer's output projection of attention and its feed-forward network, both residual."""

    def __init__(self, layer: Any, config: Any, family: Family, dtype: torch.dtype) -> None:
        part = layer.get_submodule
        self._activation = getattr(config, family.activation)
        self._attention_out = Linear.of(part(family.layer.attention_out), dtype)
        self._attention_norm = LayerNorm(part(family.layer.attention_norm), dtype)
        self._intermediate = Linear.of(part(family.layer.intermediate), dtype)
        self._output = Linear.of(part(family.layer.output), dtype)
        self._output_norm = LayerNorm(part(family.layer.output_norm), dtype)

    def __call__(self, hidden: Tensor, context: Tensor) -> Tensor:
        hidden = self._attention_norm(self._attention_out(context, residual=hidden))
        inner = self._intermediate(hidden, activation=self._activation)
        return self._output_norm(self._output(inner, residual=hidden))


class _Layer:
    """A Transformer layer over all tokens.

    ``project`` gives queries, keys and values side by side, shape ``(tokens, 3 x width)``.
    """

    def __init__(self, layer: Any, config: Any, family: Family, dtype: torch.dtype) -> None:
        qkv = (family.layer.query, family.layer.key, family.layer.value)
        parts = [layer.get_submodule(name) for name in qkv]
        self.project = Linear(
            torch.cat([part.weight.detach() for part in parts]).to(dtype),
            torch.cat([part.bias.detach() for part in parts]).to(dtype),
        )
        self._heads = config.num_attention_heads
        self._after_attention = _AfterAttention(layer, config, family, dtype)

    def __call__(
        self,
        hidden: Tensor,
        groups: Sequence[LengthGroup],
        bias: Tensor | None,
        qkv: Tensor | None = None,
    ) -> Tensor:
        """Hidden states, shape ``(tokens, width)``; ``qkv`` where it is known already."""
        qkv = self.project(hidden) if qkv is None else qkv
        context = torch.empty_like(hidden)
        for group in groups:
            split = qkv[group.tokens].view(group.inputs, group.length, 3, self._heads, -1)
            query, key, value = split.permute(2, 0, 3, 1, 4)
            added = None if bias is None else bias[None, :, : group.length, : group.length]
            attended = F.scaled_dot_product_attention(query, key, value, added).transpose(1, 2)
            context[group.tokens].view(attended.shape).copy_(attended)
        return self._after_attention(hidden, context)


class _LastLayer:
    """The last layer at the masks only; keys and values of the other tokens are never formed."""

    def __init__(self, layer: Any, config: Any, family: Family, dtype: torch.dtype) -> None:
        query, key, value = (
            layer.get_submodule(name)
            for name in (family.layer.query, family.layer.key, family.layer.value)
        )
        self._heads, width = config.num_attention_heads, len(query.weight)
        by_head = (self._heads, width // self._heads, width)
        self._query = Linear.of(query, dtype)
        self._key = key.weight.detach().to(dtype).view(by_head).contiguous()
        self._value = value.weight.detach().to(dtype).view(by_head).contiguous()
        self._value_bias = value.bias.detach().to(dtype)
        self._scale = (width // self._heads) ** -0.5
        self._after_attention = _AfterAttention(layer, config, family, dtype)

    def __call__(self, hidden: Tensor, inputs: PackedInputs, bias: Tensor | None) -> Tensor:
        """Hidden states at the masks, shape ``(masks, width)``.

        The keys' bias moves all scores of a query alike, so that the softmax does not see it; the
        values' bias passes through a mean unchanged.
        """
        at_mask = hidden.index_select(0, inputs.masks)
        query = self._query(at_mask).view(len(at_mask), self._heads, -1).transpose(0, 1)
        scaled = torch.bmm(query, self._key).transpose(0, 1) * self._scale
        means, first = torch.empty_like(scaled), 0
        for group in inputs.groups:
            rows = slice(first, first + group.inputs * group.masks)
            states = hidden[group.tokens].view(group.inputs, group.length, -1)
            queries = scaled[rows].reshape(group.inputs, group.masks * self._heads, -1)
            scores = queries @ states.transpose(1, 2)
            if bias is not None:
                at = inputs.positions[inputs.masks[rows]]
                scores += bias[:, at, : group.length].transpose(0, 1).reshape(scores.shape)
            weights = torch.softmax(scores, dim=-1)
            means[rows] = (weights @ states).view(-1, self._heads, states.shape[-1])
            first += group.inputs * group.masks
        values = torch.bmm(means.transpose(0, 1), self._value.transpose(1, 2))
        context = values.transpose(0, 1).flatten(1) + self._value_bias
        return self._after_attention(at_mask, context)


class LMHead:
    """The LM head, which never computes below float32."""

    def __init__(
        self, model: Any, dense: str, norm: str, activation: str, dtype: torch.dtype
    ) -> None:
        self.dtype = torch.promote_types(dtype, torch.float32)
        self._activation = activation
        self._dense = Linear.of(model.get_submodule(dense), self.dtype)
        self._norm = LayerNorm(model.get_submodule(norm), self.dtype)
        self._decoder = Linear.of(model.get_output_embeddings(), self.dtype)

    def __call__(self, hidden: Tensor) -> Tensor:
        """Logits, shape ``(rows, vocabulary)``."""
        inner = self._dense(hidden.to(self.dtype), activation=self._activation)
        return self._decoder(self._norm(inner))
