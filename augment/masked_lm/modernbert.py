"""The exact forward of a ModernBERT masked LM for one position of each input.

As in ``forward.py``, inputs lie in one long row, equal pieces share the first layer's products, and
what follows the last layer's attention runs at the masks only. ModernBERT normalizes before each
block, turns queries and keys by their positions (RoPE), and in most layers looks no farther than a
window to both sides. The rotation has the precision of the layers, but at least float32;
transformers' own code rotates in float32 even where the weights are float64, too coarse for the
canonical pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from augment.masked_lm.bert import Norm
from augment.masked_lm.inputs import Packed, Run
from augment.masked_lm.kernels import Linear, activate


class ModernForward:
    """Logits at the mask of each input, from the weights of a ModernBERT masked LM."""

    def __init__(self, model: Any, dtype: torch.dtype = torch.float32) -> None:
        """Take the weights of a ``ModernBertForMaskedLM`` in eval mode.

        Args:
            model: The model; its weights are copied into the layout that is fastest.
            dtype: Of the layers; the LM head never computes below float32.
        """
        config, base = model.config, model.model
        self._words = base.embeddings.tok_embeddings.weight.detach()
        self._norm = Norm(base.embeddings.norm, self._words.dtype)
        self._dtype = dtype
        self._rotary = base.rotary_emb
        self._layers = [_Layer(layer, config, dtype) for layer in base.layers]
        self._head_dtype = torch.promote_types(dtype, torch.float32)
        self._final_norm = Norm(base.final_norm, self._head_dtype)
        self._dense = Linear.of(model.head.dense, self._head_dtype)
        self._dense_activation = config.classifier_activation
        self._dense_norm = Norm(model.head.norm, self._head_dtype)
        self._decoder = Linear.of(model.decoder, self._head_dtype)

    def __call__(self, inputs: Packed) -> Tensor:
        """Run the model.

        Returns:
            Logits, shape ``(inputs, vocabulary)``.
        """
        distinct, inverse = torch.unique(inputs.ids, return_inverse=True)
        hidden = self._norm(self._words[distinct]).to(self._dtype)
        first = self._layers[0].project(hidden).index_select(0, inverse)
        hidden = hidden.index_select(0, inverse)
        turns = {
            kind: self._turns(kind, inputs) for kind in dict.fromkeys(x.kind for x in self._layers)
        }
        for number, layer in enumerate(self._layers):
            qkv = layer.project(hidden) if number else first
            context = layer.attend(qkv, turns[layer.kind], inputs.runs)
            if number == len(self._layers) - 1:
                context, hidden = context[inputs.masks], hidden[inputs.masks]
            hidden = layer.blocks(hidden, context)
        at_mask = self._final_norm(hidden.to(self._head_dtype))
        inner = self._dense(at_mask, activation=self._dense_activation)
        return self._decoder(self._dense_norm(inner))

    def _turns(self, kind: str, inputs: Packed) -> tuple[Tensor, Tensor]:
        """Cosines and sines of each piece's place, both of shape ``(pieces, 1, head size)``."""
        places = torch.arange(max(run.length for run in inputs.runs), device=inputs.ids.device)
        like = torch.empty(0, dtype=self._head_dtype, device=inputs.ids.device)
        cos, sin = self._rotary(like, places[None], kind)
        return cos[0][inputs.positions][:, None], sin[0][inputs.positions][:, None]


class _Layer:
    """A Transformer layer over the long row."""

    def __init__(self, layer: Any, config: Any, dtype: torch.dtype) -> None:
        self.kind = str(layer.attention_type)
        sliding = self.kind == "sliding_attention"
        self._window = int(config.sliding_window) if sliding else None
        self._heads = int(config.num_attention_heads)
        named = hasattr(layer.attn_norm, "weight")  # the first layer has none
        self._attention_norm = Norm(layer.attn_norm, dtype) if named else None
        self._qkv = Linear.of(layer.attn.Wqkv, dtype)
        self._attention_out = Linear.of(layer.attn.Wo, dtype)
        self._norm = Norm(layer.mlp_norm, dtype)
        self._inner, self._outer = Linear.of(layer.mlp.Wi, dtype), Linear.of(layer.mlp.Wo, dtype)
        self._activation = config.hidden_activation

    def project(self, hidden: Tensor) -> Tensor:
        """Queries, keys and values side by side, shape ``(pieces, 3 x width)``."""
        return self._qkv(self._attention_norm(hidden) if self._attention_norm else hidden)

    def attend(self, qkv: Tensor, turns: tuple[Tensor, Tensor], runs: tuple[Run, ...]) -> Tensor:
        """Attention output with heads side by side, shape ``(pieces, width)``."""
        query, key, value = qkv.view(len(qkv), 3, self._heads, -1).unbind(1)
        query, key = _turn(query, *turns), _turn(key, *turns)
        context = torch.empty_like(value)
        for run in runs:
            shape = (run.inputs, run.length, self._heads, -1)
            asked, keys, values = (
                part[run.pieces].view(shape).transpose(1, 2) for part in (query, key, value)
            )
            reach = self._reach(run, qkv)
            attended = F.scaled_dot_product_attention(asked, keys, values, attn_mask=reach)
            context[run.pieces].view(shape).copy_(attended.transpose(1, 2))
        return context.flatten(1)

    def blocks(self, hidden: Tensor, context: Tensor) -> Tensor:
        """What follows attention: both residual blocks, shape of ``hidden``."""
        hidden = self._attention_out(context, residual=hidden)
        inner, gate = self._inner(self._norm(hidden)).chunk(2, dim=-1)
        gated = (activate(inner, self._activation) * gate).contiguous()
        return self._outer(gated, residual=hidden)

    def _reach(self, run: Run, like: Tensor) -> Tensor | None:
        """Which places see which, shape ``(length, length)``, or None where all see all."""
        if self._window is None or run.length <= self._window + 1:
            return None
        places = torch.arange(run.length, device=like.device)
        return (places[:, None] - places).abs() <= self._window


def _turn(vectors: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE (Su et al. 2021, section 3): the halves of a head are the two parts of a rotation."""
    wide = vectors.to(cos.dtype)
    first, second = wide.chunk(2, dim=-1)
    return (wide * cos + torch.cat((-second, first), dim=-1) * sin).to(vectors.dtype)
