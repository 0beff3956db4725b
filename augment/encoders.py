"""BERT and its kin read as one shape: RoBERTa, ELECTRA and DistilBERT name their weights otherwise.

All have layers that are normalised after attention and after the inner product, learnt positions,
and a head of one dense layer before the decoder; so one forward serves them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Embedding:
    """The weights that turn pieces into hidden states.

    Attributes:
        words: Vector of each piece, shape ``(vocabulary, embedding)``.
        places: Vector of each place in an input, shape ``(places, embedding)``.
        segments: Vectors of both segments, shape ``(2, embedding)``; equal where the model has one.
        norm: The normalisation of their sum.
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
        norm: Its normalisation.
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
