"""BERT-shaped encoders: their weights by one set of names, and a forward pass of masks alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from augment.masked_lm.inputs import Packed, Run
from augment.masked_lm.kernels import Linear


@dataclass(frozen=True, slots=True)
class Embedding:
    """The weights that turn pieces into hidden states.

    Attributes:
        words: Vector of each piece, shape ``(vocabulary, embedding)``.
        places: Vector of each place in an input, shape ``(places, embedding)``.
        segments: Vectors of both segments, shape ``(2, embedding)``; equal where the model has one.
        norm: The normalization of their sum.
        project: The layer from embeddings to hidden states, or None where they are as wide.
    """

    words: Tensor
    places: Tensor
    segments: Tensor
    norm: Any
    project: Any = None


@dataclass(frozen=True, slots=True)
class Head:
    """The LM head.

    Attributes:
        dense: The inner layer.
        activation: Its activation.
        norm: Its normalization.
        decoder: The layer to the vocabulary.
    """

    dense: Any
    activation: str
    norm: Any
    decoder: Any


@dataclass(frozen=True, slots=True)
class BertShaped:
    """The weights of a masked LM of BERT's shape.

    Attributes:
        embedding: From pieces to hidden states.
        layers: The layers, under the names of BERT's.
        activation: Of the layers.
        heads: Attention heads of each layer.
        head: From hidden states to the vocabulary.
    """

    embedding: Embedding
    layers: Sequence[Any]
    activation: str
    heads: int
    head: Head


def bert_shaped(model: Any) -> BertShaped:
    """The weights of a masked LM of transformers, one of ``BERT_SHAPED``."""
    return BERT_SHAPED[model.config.model_type](model)


def _bert(model: Any) -> BertShaped:
    config, head = model.config, model.cls.predictions
    return BertShaped(
        _embedding(model.bert.embeddings),
        model.bert.encoder.layer,
        config.hidden_act,
        config.num_attention_heads,
        Head(head.transform.dense, config.hidden_act, head.transform.LayerNorm, head.decoder),
    )


def _roberta(model: Any) -> BertShaped:
    """Places are numbered from the padding piece's id plus one; there is one segment."""
    config, head = model.config, model.lm_head
    embedding = _embedding(model.roberta.embeddings)
    return BertShaped(
        replace(
            embedding,
            places=embedding.places[config.pad_token_id + 1 :],
            segments=embedding.segments[:1].expand(2, -1),
        ),
        model.roberta.encoder.layer,
        config.hidden_act,
        config.num_attention_heads,
        Head(head.dense, "gelu", head.layer_norm, head.decoder),
    )


def _electra(model: Any) -> BertShaped:
    """The generator, whose embeddings may be narrower than its layers."""
    config, inner = model.config, model.generator_predictions
    project = getattr(model.electra, "embeddings_project", None)
    return BertShaped(
        replace(_embedding(model.electra.embeddings), project=project),
        model.electra.encoder.layer,
        config.hidden_act,
        config.num_attention_heads,
        Head(inner.dense, "gelu", inner.LayerNorm, model.generator_lm_head),
    )


def _distilbert(model: Any) -> BertShaped:
    """No segments."""
    config, embeddings = model.config, model.distilbert.embeddings
    words = embeddings.word_embeddings.weight.detach()
    return BertShaped(
        Embedding(
            words,
            embeddings.position_embeddings.weight.detach(),
            torch.zeros(2, words.shape[1], dtype=words.dtype, device=words.device),
            embeddings.LayerNorm,
        ),
        [_renamed(layer) for layer in model.distilbert.transformer.layer],
        config.activation,
        config.num_attention_heads,
        Head(
            model.vocab_transform,
            config.activation,
            model.vocab_layer_norm,
            model.vocab_projector,
        ),
    )


def _embedding(module: Any) -> Embedding:
    return Embedding(
        module.word_embeddings.weight.detach(),
        module.position_embeddings.weight.detach(),
        module.token_type_embeddings.weight.detach(),
        module.LayerNorm,
    )


def _renamed(layer: Any) -> Any:
    """A layer of DistilBERT with BERT's names."""
    own = layer.attention
    return SimpleNamespace(
        attention=SimpleNamespace(
            self=SimpleNamespace(query=own.q_lin, key=own.k_lin, value=own.v_lin),
            output=SimpleNamespace(dense=own.out_lin, LayerNorm=layer.sa_layer_norm),
        ),
        intermediate=SimpleNamespace(dense=layer.ffn.lin1),
        output=SimpleNamespace(dense=layer.ffn.lin2, LayerNorm=layer.output_layer_norm),
    )


BERT_SHAPED: dict[str, Callable[[Any], BertShaped]] = {
    "bert": _bert,
    "roberta": _roberta,
    "electra": _electra,
    "distilbert": _distilbert,
}
"""Model type in ``config.json`` → how its weights are read."""


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
    """Word, position and segment vectors, added and normalized; widened where they are narrow."""

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
    """Layer normalization, with or without a bias."""

    def __init__(self, module: Any, dtype: torch.dtype) -> None:
        """Take the weights of a ``torch.nn.LayerNorm``."""
        self._weight = module.weight.detach().to(dtype)
        self._bias = None if module.bias is None else module.bias.detach().to(dtype)
        self._eps = module.eps

    def __call__(self, rows: Tensor) -> Tensor:
        """Normalize rows."""
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
