"""A graph with 8-bit weights whose answers do not depend on what else is in the batch.

Products with weights take 8-bit numbers on both sides. The range of their inputs is fixed
beforehand, by what training rows send through the graph (``ranges``). Weights have a scale for each
output, tables one for each row; where it is asked for, token vectors are put together from pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from distill.models.codebooks import PIECES, Codebooks, fit_codebooks
from distill.serving.graph_writer import CONTRIBUTED, save_graph, tensor_of
from distill.serving.products import GraphIndex, Product
from distill.serving.ranges import Feed, Range, observe

Array = NDArray[np.float32]

MOST = 127  # of a weight with a sign
FEWEST_TOKENS = 2 * PIECES
"""Of fewer tokens the pieces would be larger than their vectors."""
MOST_PAIR = 128
"""Two neighboring weights of one sign add up to this at most: 255 times it fits into 16 bits, in
which processors without VNNI add the products of a pair, and beyond which they would cut off."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """Weights as 8-bit numbers times scales."""

    values: NDArray[np.int8]
    scales: Array


def quantize_weight(weight: Array) -> Quantized:
    """Quantize the weight of a product, shape (in, out), with a scale for each output."""
    largest = np.abs(weight).max(axis=0) / MOST
    for side in (np.maximum(weight, 0), np.maximum(-weight, 0)):
        pairs = (side[:-1] + side[1:]).max(axis=0, initial=0.0)
        largest = np.maximum(largest, pairs / (MOST_PAIR - 1))  # rounding may add 1
    return _rounded(weight, largest)


def quantize_table(table: Array) -> Quantized:
    """Quantize a table of vectors, shape (rows, width), with a scale for each row."""
    return _rounded(table, np.abs(table).max(axis=1, keepdims=True) / MOST)


def _rounded(weight: Array, scales: NDArray[np.floating[Any]]) -> Quantized:
    scales = np.where(scales > 0, scales, 1.0).astype(np.float32)
    return Quantized(np.rint(weight / scales).astype(np.int8), scales)


def quantize(source: Path, targets: Mapping[Path, Array | None], feeds: Iterable[Feed]) -> None:
    """Write a float32 graph with 8-bit products and tables, in one way or in several.

    Args:
        source: The graph, which stays as it is.
        targets: Each new graph, with what each token counts for, shape (tokens,), where the table
            of their vectors is to be put together from pieces.
        feeds: Inputs from training rows, one row each; the graph is observed once for all targets.
    """
    model = onnx.load(source)
    index = GraphIndex(model)
    products = list(index.products())
    ranges = observe(model, sorted({product.states for product in products}), feeds)
    for target, weights in targets.items():
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        rewriter = _Rewriter(copy, ranges)
        for product in products:
            rewriter.product(product)
        for lookup in index.lookups():
            rewriter.lookup(lookup, weights)
        save_graph(rewriter.finish(), target)


class _Rewriter:
    """Replaces nodes of a model, each by several."""

    def __init__(self, model: onnx.ModelProto, ranges: dict[str, Range]) -> None:
        self.model = model
        self.ranges = ranges
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self.replaced: dict[str, list[onnx.NodeProto]] = {}
        self.numbers: dict[str, str] = {}

    def product(self, product: Product) -> None:
        """Let a product multiply 8-bit numbers."""
        weight = self._array(product.weight)
        found = quantize_weight(weight.T if product.transposed else weight)
        states, scale, zero, nodes = self._quantized(product.states)
        name = product.weight
        inputs = [
            states, self._store(f"{name}.int8", found.values), scale,
            self._store(f"{name}.scales", found.scales), zero, "", product.bias,
        ]  # fmt: skip
        nodes.append(
            helper.make_node(
                "MatMulIntegerToFloat", inputs if product.bias else inputs[:5], [product.output],
                name=product.output, domain=CONTRIBUTED,
            )
        )  # fmt: skip
        first, *others = product.nodes
        self.replaced |= {first: nodes, **{other: [] for other in others}}

    def lookup(self, node: onnx.NodeProto, weights: Array | None) -> None:
        """Let rows of a table be 8-bit numbers with a scale for each row, or pieces."""
        name, output = node.input[0], node.output[0]
        table = self._array(name)
        if weights is not None and len(table) == len(weights) > FEWEST_TOKENS:
            self.replaced[output] = self._pieces(name, node, fit_codebooks(table, weights))
            return
        found = quantize_table(table)
        nodes = []
        for part, array in (("int8", found.values), ("scales", found.scales)):
            taken = onnx.NodeProto()
            taken.CopyFrom(node)
            taken.input[0] = self._store(f"{name}.{part}", array)
            taken.output[0] = taken.name = f"{output}.{part}"
            nodes.append(taken)
        numbers = [f"{output}.numbers"]
        cast = helper.make_node("Cast", [f"{output}.int8"], numbers, to=TensorProto.FLOAT)
        scaled = helper.make_node("Mul", [*numbers, f"{output}.scales"], [output])
        self.replaced[output] = [*nodes, cast, scaled]

    def _pieces(self, name: str, node: onnx.NodeProto, shared: Codebooks) -> list[onnx.NodeProto]:
        """Take the numbers of a row's pieces, then these, and turn them side by side.

        What depends on weights alone is computed once, when the graph is loaded.
        """
        groups, _, width = shared.pieces.shape
        arrays: dict[str, NDArray[Any]] = {
            "codes": shared.codes,
            "pieces": shared.pieces.reshape(-1, width),
            "first": np.arange(groups, dtype=np.int32) * PIECES,
            "scales": shared.scales[:, None],
            "shape": np.array([0, 0, groups * width]),
            "rotation": shared.rotation,
            "rotation_scales": shared.rotation_scales,
            "mean": shared.mean,
        }
        stored = {part: self._store(f"{name}.{part}", own) for part, own in arrays.items()}
        output = node.output[0]

        def step(operator: str, part: str, *inputs: str, **settings: Any) -> onnx.NodeProto:
            made = output if part == "whole" else f"{output}.{part}"
            return helper.make_node(operator, [*inputs], [made], name=made, **settings)

        axes, turned = f"{output}.axes", f"{output}.turned"
        return [
            step("Gather", "codes", stored["codes"], node.input[1]),
            step("Cast", "numbers", f"{output}.codes", to=TensorProto.INT32),
            step("Add", "places", f"{output}.numbers", stored["first"]),
            step("Gather", "pieces", stored["pieces"], f"{output}.places"),
            step("Cast", "values", f"{output}.pieces", to=TensorProto.FLOAT),
            step("Mul", "scaled", f"{output}.values", stored["scales"]),
            step("Reshape", "flat", f"{output}.scaled", stored["shape"]),
            step("Cast", "bytes", stored["rotation"], to=TensorProto.FLOAT),
            step("Mul", "axes", f"{output}.bytes", stored["rotation_scales"]),
            step("MatMul", "turned", f"{output}.flat", axes),
            step("Add", "whole", turned, stored["mean"]),
        ]

    def finish(self) -> onnx.ModelProto:
        """The model with its new nodes, and without weights that nobody reads any more."""
        graph = self.model.graph
        nodes = [
            new
            for node in graph.node
            for new in self.replaced.get(node.output[0] if node.output else "", [node])
        ]
        used = {name for node in nodes for name in _read(node)}
        used |= {value.name for value in graph.output}
        weights = [tensor for name, tensor in self.weights.items() if name in used]
        for field, values in ((graph.node, nodes), (graph.initializer, weights)):
            kept = list(values)
            del field[:]
            field.extend(kept)
        domains = {opset.domain for opset in self.model.opset_import}
        if CONTRIBUTED not in domains:
            self.model.opset_import.append(helper.make_opsetid(CONTRIBUTED, 1))
        return self.model

    def _quantized(self, states: str) -> tuple[str, str, str, list[onnx.NodeProto]]:
        """The 8-bit numbers of states, their scale and zero, and the node if it is new."""
        own = self.ranges[states]
        scale = self._store(f"{states}.scale", np.float32(own.scale))
        zero = self._store(f"{states}.zero", np.uint8(own.zero))
        if states in self.numbers:
            return self.numbers[states], scale, zero, []
        numbers = self.numbers[states] = f"{states}.uint8"
        node = helper.make_node("QuantizeLinear", [states, scale, zero], [numbers], name=numbers)
        return numbers, scale, zero, [node]

    def _array(self, name: str) -> Array:
        found: Array = numpy_helper.to_array(self.weights[name])
        return found

    def _store(self, name: str, array: NDArray[Any] | np.generic) -> str:
        if name not in self.weights:
            self.weights[name] = tensor_of(name, array)
        return name


def _read(node: onnx.NodeProto) -> Iterable[str]:
    """Names that a node reads, or the nodes of a graph inside it."""
    yield from node.input
    for own in node.attribute:
        for graph in (own.g, *own.graphs):
            for inner in graph.node:
                yield from _read(inner)
            yield from (value.name for value in graph.output)
