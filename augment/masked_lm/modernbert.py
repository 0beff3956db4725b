"""Exact forward pass of ModernBERT masked LMs at the masks alone.

As in ``bert.py``, inputs lie one after the other, equal tokens share the first layer's products,
and what follows the last layer's attention runs at the masks only. ModernBERT normalizes before
each block, rotates queries and keys by their positions (RoPE), and in most layers attends no
farther than a window to both sides. The rotation has the precision of the layers, but at least
float32; transformers' own code rotates in float32 even where the weights are float64, too coarse
for the canonical pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from augment.masked_lm.bert import LayerNorm, LMHead
from augment.masked_lm.inputs import LengthGroup, PackedInputs
from augment.masked_lm.kernels import Linear, activate


class ModernBertForward:
    """Logits at the masks that are asked for, from the weights of a ModernBERT masked LM."""

    def __init__(self, model: Any, dtype: torch.dtype = torch.float32) -> None:
        """Copy the weights of a ``ModernBertForMaskedLM`` in eval mode into the fastest layout.

        The layers have this dtype, the LM head at least float32.
        """
        config, base = model.config, model.model
        self._tokens = base.embeddings.tok_embeddings.weight.detach()
        self._norm = LayerNorm(base.embeddings.norm, self._tokens.dtype)
        self._dtype = dtype
        self._rotary = base.rotary_emb
        self._layers = [_Layer(layer, config, dtype) for layer in base.layers]
        self._head = LMHead(model, "head.dense", "head.norm", config.classifier_activation, dtype)
        self._final_norm = LayerNorm(base.final_norm, self._head.dtype)

    def __call__(self, inputs: PackedInputs) -> Tensor:
        """Logits, shape ``(masks, vocabulary)``."""
        distinct, inverse = torch.unique(inputs.ids, return_inverse=True)
        hidden = self._norm(self._tokens[distinct]).to(self._dtype)
        first = self._layers[0].project(hidden).index_select(0, inverse)
        hidden = hidden.index_select(0, inverse)
        kinds = dict.fromkeys(layer.kind for layer in self._layers)
        angles = {kind: self._rotations(kind, inputs) for kind in kinds}
        for number, layer in enumerate(self._layers):
            qkv = layer.project(hidden) if number else first
            context = layer.attend(qkv, angles[layer.kind], inputs.groups)
            if number == len(self._layers) - 1:
                context, hidden = context[inputs.masks], hidden[inputs.masks]
            hidden = layer.after_attention(hidden, context)
        return self._head(self._final_norm(hidden.to(self._head.dtype)))

    def _rotations(self, kind: str, inputs: PackedInputs) -> tuple[Tensor, Tensor]:
        """Cosines and sines of each token's position, both of shape ``(tokens, 1, head size)``."""
        longest = max(group.length for group in inputs.groups)
        positions = torch.arange(longest, device=inputs.ids.device)
        like = torch.empty(0, dtype=self._head.dtype, device=inputs.ids.device)
        cos, sin = self._rotary(like, positions[None], kind)
        return cos[0][inputs.positions][:, None], sin[0][inputs.positions][:, None]


class _Layer:
    """A Transformer layer over all tokens."""

    def __init__(self, layer: Any, config: Any, dtype: torch.dtype) -> None:
        self.kind = str(layer.attention_type)
        sliding = self.kind == "sliding_attention"
        self._window = int(config.sliding_window) if sliding else None
        self._heads = int(config.num_attention_heads)
        norm = layer.attn_norm  # an identity in the first layer
        self._attention_norm = LayerNorm(norm, dtype) if hasattr(norm, "weight") else None
        self._qkv = Linear.of(layer.attn.Wqkv, dtype)
        self._attention_out = Linear.of(layer.attn.Wo, dtype)
        self._norm = LayerNorm(layer.mlp_norm, dtype)
        self._inner, self._outer = Linear.of(layer.mlp.Wi, dtype), Linear.of(layer.mlp.Wo, dtype)
        self._activation = config.hidden_activation

    def project(self, hidden: Tensor) -> Tensor:
        """Queries, keys and values side by side, shape ``(tokens, 3 x width)``."""
        return self._qkv(self._attention_norm(hidden) if self._attention_norm else hidden)

    def attend(
        self, qkv: Tensor, rotations: tuple[Tensor, Tensor], groups: Sequence[LengthGroup]
    ) -> Tensor:
        """Attention output with heads side by side, shape ``(tokens, width)``."""
        query, key, value = qkv.view(len(qkv), 3, self._heads, -1).unbind(1)
        query, key = _rotate(query, *rotations), _rotate(key, *rotations)
        context = torch.empty_like(value)
        for group in groups:
            shape = (group.inputs, group.length, self._heads, -1)
            queries, keys, values = (
                part[group.tokens].view(shape).transpose(1, 2) for part in (query, key, value)
            )
            window = self._window_mask(group.length, qkv.device)
            attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=window)
            context[group.tokens].view(shape).copy_(attended.transpose(1, 2))
        return context.flatten(1)

    def after_attention(self, hidden: Tensor, context: Tensor) -> Tensor:
        """Output projection and feed-forward network, both residual; shape of ``hidden``."""
        hidden = self._attention_out(context, residual=hidden)
        inner, gate = self._inner(self._norm(hidden)).chunk(2, dim=-1)
        gated = (activate(inner, self._activation) * gate).contiguous()
        return self._outer(gated, residual=hidden)

    def _window_mask(self, length: int, device: torch.device) -> Tensor | None:
        """Which positions attend to which, ``(length, length)``, or None where all do to all."""
        if self._window is None or length <= self._window + 1:
            return None
        positions = torch.arange(length, device=device)
        return (positions[:, None] - positions).abs() <= self._window


def _rotate(vectors: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE (Su et al. 2021, section 3): the halves of a head are the two parts of a rotation."""
    wide = vectors.to(cos.dtype)
    first, second = wide.chunk(2, dim=-1)
    return (wide * cos + torch.cat((-second, first), dim=-1) * sin).to(vectors.dtype)
