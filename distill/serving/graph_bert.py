"""The graph of a BERT or MPNet classifier, written for speed: see docs/decisions, 2.

It computes what the model does, up to rounding, with less work than the model's own operations:

* Of the last layer only the first token is computed, the only one that the head reads.
* A layer norm centers, scales by ``gamma`` and leaves ``beta`` to its readers' biases.
  On a CPU onnxruntime's LayerNormalization and SkipLayerNormalization work number by number;
  SimplifiedLayerNormalization, the norm without centering, is vectorized.
* The keys' bias is left out: it adds the same to all scores of a query. The values' bias is added
  once, behind the heads, as the weights of attention sum to 1.
* What MPNet adds to scores by the distance of two tokens is looked up once for all layers, in a
  table with a number for each distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from transformers import (
    BertForSequenceClassification,
    MPNetForSequenceClassification,
    PreTrainedModel,
)

from augment.contract.models import FAMILIES, first_position
from distill.serving.graph_writer import CONTRIBUTED, GraphWriter

Array = NDArray[np.float32]

_ACTIVATIONS = {
    "gelu": ("Gelu", CONTRIBUTED),
    "gelu_new": ("FastGelu", CONTRIBUTED),
    "gelu_pytorch_tanh": ("FastGelu", CONTRIBUTED),
    "gelu_fast": ("FastGelu", CONTRIBUTED),
    "relu": ("Relu", ""),
    "tanh": ("Tanh", ""),
}


def writes_bert(model: PreTrainedModel) -> bool:
    """Whether a model is a BERT or MPNet classifier whose every setting is written here."""
    config = model.config
    return (
        type(model) in (BertForSequenceClassification, MPNetForSequenceClassification)
        and config.hidden_act in _ACTIVATIONS
        and getattr(config, "position_embedding_type", None) in (None, "absolute")
        and not getattr(config, "is_decoder", False)
        and not getattr(config, "add_cross_attention", False)
    )


def bert_graph(model: PreTrainedModel, inputs: Sequence[str], length: int) -> onnx.ModelProto:
    """Write the graph of a classifier that ``writes_bert`` accepts.

    Args:
        model: In float32, on the CPU.
        inputs: Names of the graph's inputs, ``token_type_ids`` where the model reads segments.
        length: Positions that are kept, the most tokens that the graph reads.
    """
    writer = _BertWriter(model)
    states = writer.embed(length, segments="token_type_ids" in inputs)
    layers = writer.base.get_submodule(writer.family.layers)
    for number, layer in enumerate(layers):
        states = writer.layer(f"layer{number}", layer, states, last=layer is layers[-1])
    inner, classifier = _head(model)
    output = writer.head(inner, classifier, states)
    return writer.graph.model(inputs, output, classifier.out_features)


def _head(model: Any) -> tuple[Any, Any]:
    """The two layers behind the first token's states: up to a tanh, and to the classes."""
    if model.config.model_type == "mpnet":
        return model.classifier.dense, model.classifier.out_proj
    return model.base_model.pooler.dense, model.classifier


@dataclass(frozen=True, slots=True)
class _States:
    """Hidden states: what a node puts out, and the vector that its readers still have to add."""

    name: str
    beta: Array


class _BertWriter:
    """Writes the parts of one model."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.base: Any = model.base_model
        self.config = model.config
        self.family = FAMILIES[model.config.model_type]
        self.graph = GraphWriter()
        self.bias = ""
        self.mask = self.graph.node("Cast", "attention_mask", to=onnx.TensorProto.INT32)
        self.last_axis = self.graph.weight("last_axis", np.array([-1]))
        self.first = self.graph.weight("first", np.array([0]))

    @staticmethod
    def array(weight: Any) -> Array:
        """A parameter as an array."""
        found: Array = weight.detach().numpy()
        return found

    def embed(self, length: int, *, segments: bool) -> _States:
        """Words, positions and segments, normalized; and what scores have by distance."""
        graph, tables = self.graph, self.base.embeddings
        positions = self.array(tables.position_embeddings.weight)[first_position(self.config) :]
        positions = positions[:length]
        kinds = self.family.segments
        types = self.array(tables.token_type_embeddings.weight) if kinds else np.zeros((1, 1))
        if kinds and not segments:
            positions = positions + types[0]
        words = graph.weight("embed.words", self.array(tables.word_embeddings.weight))
        states = graph.node("Gather", words, "input_ids", output="embed.word")
        end = graph.node("Shape", "input_ids", start=1, end=2)
        table = graph.weight("embed.positions", positions)
        added = graph.node("Slice", table, self.first, end, self.first, output="embed.position")
        if segments:
            chosen = graph.node("Gather", graph.weight("embed.types", types), "token_type_ids")
            added = graph.node("Add", chosen, added)
        if self.family.position_bias:
            self.bias = self._position_bias(length, end)
        return self._norm("embed.norm", tables.LayerNorm, graph.node("Add", states, added))

    def layer(self, name: str, layer: Any, states: _States, *, last: bool) -> _States:
        """One layer; of the last one only the first token, shape (batch, 1, width)."""
        graph, names, part = self.graph, self.family.layer, layer.get_submodule
        asked, bias = states, self.bias
        if last:
            asked = _States(graph.node("Gather", states.name, self.first, axis=1), states.beta)
            bias = bias and graph.node("Gather", bias, self.first, axis=2)
        own = [part(own) for own in (names.query, names.key, names.value)]
        context = self._attend(f"{name}.attention", own, asked, states, bias)
        written = part(names.attention_out), part(names.attention_norm)
        middle = self._residual(f"{name}.attention.output", *written, context, asked)
        hidden = self._linear(f"{name}.up", part(names.intermediate), middle)
        operator, domain = _ACTIVATIONS[self.config.hidden_act]
        hidden = graph.node(operator, hidden, domain=domain)
        written = part(names.output), part(names.output_norm)
        nothing = np.zeros(written[0].in_features, np.float32)
        return self._residual(f"{name}.down", *written, _States(hidden, nothing), middle)

    def head(self, inner: Any, classifier: Any, states: _States) -> str:
        """Both layers of the head of states of shape (batch, 1, width)."""
        graph = self.graph
        first = _States(
            graph.node("Squeeze", states.name, graph.weight("one", np.array([1]))), states.beta
        )
        pooled = graph.node("Tanh", self._linear("pooler", inner, first))
        nothing = np.zeros(classifier.in_features, np.float32)
        return self._linear("classifier", classifier, _States(pooled, nothing), output="logits")

    def _position_bias(self, length: int, end: str) -> str:
        """What is added to scores by distance, shape (1, heads, tokens, tokens)."""
        graph, owner = self.graph, self.family.position_bias.rpartition(".")[0]
        with torch.no_grad():
            pairs = self.base.get_submodule(owner).compute_position_bias(torch.empty(1, length, 0))
        after, before = pairs[0, :, 0], pairs[0, :, 1:, 0].flip(1)
        table = graph.weight("bias.distances", torch.cat([before, after], dim=1).numpy())
        tokens = graph.node("Squeeze", end)
        nothing, step = graph.weight("zero", np.array(0)), graph.weight("step", np.array(1))
        key = graph.node("Range", nothing, tokens, step)
        query = graph.node("Unsqueeze", key, graph.weight("one", np.array([1])))
        middle = graph.weight("bias.middle", np.array(length - 1))
        places = graph.node("Add", graph.node("Sub", key, query), middle)
        return graph.node("Unsqueeze", graph.node("Gather", table, places, axis=1), self.first)

    def _attend(
        self, name: str, own: Sequence[Any], asked: _States, states: _States, bias: str
    ) -> _States:
        """The heads' outputs, to which the values' bias is still to be added."""
        query = self._linear(f"{name}.query", own[0], asked)
        key = self._product(f"{name}.key", own[1], states.name)
        value = self._product(f"{name}.value", own[2], states.name)
        heads = self.config.num_attention_heads
        context = self.graph.node(
            "MultiHeadAttention", query, key, value, "", self.mask, *([bias] if bias else []),
            output=name, domain=CONTRIBUTED, num_heads=heads,
        )  # fmt: skip
        return _States(context, self._bias(own[2], states.beta))

    def _residual(
        self, name: str, dense: Any, norm: Any, states: _States, kept: _States
    ) -> _States:
        """The norm of a map of states and of what goes past it."""
        added = self._linear(name, dense, states, lacking=kept.beta)
        return self._norm(f"{name}.norm", norm, self.graph.node("Add", added, kept.name))

    def _norm(self, name: str, norm: Any, states: str) -> _States:
        graph = self.graph
        mean = graph.node("ReduceMean", states, self.last_axis)
        centered = graph.node("Sub", states, mean)
        gamma = graph.weight(f"{name}.gamma", self.array(norm.weight))
        scaled = graph.node(
            "SimplifiedLayerNormalization", centered, gamma,
            output=name, axis=-1, epsilon=float(norm.eps),
        )  # fmt: skip
        return _States(scaled, self.array(norm.bias))

    def _linear(
        self,
        name: str,
        linear: Any,
        states: _States,
        *,
        lacking: Array | float = 0.0,
        output: str = "",
    ) -> str:
        """An affine map; ``lacking`` is what else its output is to be moved by."""
        product = self._product(name, linear, states.name)
        bias = self.graph.weight(f"{name}.bias", self._bias(linear, states.beta) + lacking)
        return self.graph.node("Add", product, bias, output=output)

    def _product(self, name: str, linear: Any, states: str) -> str:
        weight = self.graph.weight(f"{name}.weight", self.array(linear.weight).T)
        return self.graph.node("MatMul", states, weight, output=name)

    def _bias(self, linear: Any, beta: Array) -> Array:
        """The bias of a map whose input lacks ``beta``."""
        found: Array = self.array(linear.bias) + self.array(linear.weight) @ beta
        return found
