"""A graph with 8-bit weights whose answers do not depend on what else is in the batch.

Products with weights take 8-bit numbers on both sides. The range of their inputs is fixed
beforehand, by what training rows send through the graph (``ranges``). Weights have a scale for each
output, tables one for each row. A small graph multiplies in the same way, but its file holds six
bits of a weight, and token vectors are put together from pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from distill.models.codebooks import PIECES, Codebooks, Pieces, fit_codebooks, saves_bytes
from distill.serving.graph_writer import CONTRIBUTED, save_graph, tensor_of
from distill.serving.products import GraphIndex, Product
from distill.serving.ranges import Feed, Range, observe

Array = NDArray[np.float32]

MOST = 127  # of a weight with a sign
FEW_BITS = 6
"""Of a weight in the file of a small graph."""
SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)
"""Of the largest weight of an output, that the largest of few bits may stand for."""
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


def quantize_few(weight: Array) -> Quantized:
    """The same in ``FEW_BITS`` bits; of some scales an output has the one of least squared error.

    Pairs cannot be too large: they add up to 62 at most.
    """
    most = 2 ** (FEW_BITS - 1) - 1
    whole = np.abs(weight).max(axis=0) / most
    best, least = _rounded(weight, whole, most), np.full(len(whole), np.inf)
    for share in SHARES:
        tried = _rounded(weight, share * whole, most)
        lost = np.square(tried.values * tried.scales - weight).sum(axis=0)
        better = lost < least
        least = np.where(better, lost, least)
        values = np.where(better, tried.values, best.values)
        best = Quantized(values, np.where(better, tried.scales, best.scales))
    return best


def pack(values: NDArray[np.int8]) -> NDArray[np.uint8]:
    """The lowest ``FEW_BITS`` bits of numbers, a plane for each: shape (bits, numbers / 8, 1).

    Args:
        values: As many as eight divides, in two's complement.
    """
    bits = values.reshape(-1).view(np.uint8) >> np.arange(FEW_BITS, dtype=np.uint8)[:, None] & 1
    return np.packbits(bits, axis=1, bitorder="little")[:, :, None]


def quantize_table(table: Array) -> Quantized:
    """Quantize a table of vectors, shape (rows, width), with a scale for each row."""
    return _rounded(table, np.abs(table).max(axis=1, keepdims=True) / MOST)


def _rounded(weight: Array, scales: NDArray[np.floating[Any]], most: int = MOST) -> Quantized:
    scales = np.where(scales > 0, scales, 1.0).astype(np.float32)
    return Quantized(np.clip(np.rint(weight / scales), -most, most).astype(np.int8), scales)


def quantize(source: Path, targets: Mapping[Path, Array | None], feeds: Iterable[Feed]) -> None:
    """Write a float32 graph with 8-bit products and tables, in one way or in several.

    Args:
        source: The graph, which stays as it is.
        targets: Each new graph; of a small one with what each token counts for, shape (tokens,).
        feeds: Inputs from training rows, one row each; the graph is observed once for all targets.
    """
    model = onnx.load(source)
    index = GraphIndex(model)
    products = list(index.products())
    ranges = observe(model, sorted({product.states for product in products}), feeds)
    for target, counts in targets.items():
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        rewriter = _Rewriter(copy, ranges, counts)
        for product in products:
            rewriter.product(product)
        for lookup in index.lookups():
            rewriter.lookup(lookup)
        save_graph(rewriter.finish(), target)


class _Rewriter:
    """Replaces nodes of a model, each by several."""

    def __init__(
        self, model: onnx.ModelProto, ranges: dict[str, Range], counts: Array | None
    ) -> None:
        self.model = model
        self.ranges = ranges
        self.counts = counts
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self.replaced: dict[str, list[onnx.NodeProto]] = {}
        self.numbers: dict[str, str] = {}

    def product(self, product: Product) -> None:
        """Let a product multiply 8-bit numbers."""
        name, weight = product.weight, self._array(product.weight)
        weight = weight.T if product.transposed else weight
        few = self.counts is not None and weight.size % 8 == 0
        found = quantize_few(weight) if few else quantize_weight(weight)
        states, scale, zero, nodes = self._quantized(product.states)
        numbers = f"{name}.int8"
        if few:
            nodes += self._unpacked(name, numbers, found.values)
        else:
            self._store(numbers, found.values)
        inputs = [
            states, numbers, scale,
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

    def _unpacked(self, name: str, whole: str, values: NDArray[np.int8]) -> list[onnx.NodeProto]:
        """Put planes of bits together again, when the graph is loaded; once for each weight."""
        if whole in self.numbers:
            return []
        self.numbers[whole] = whole
        planes = self._store(f"{name}.planes", pack(values))
        places = self._store("bits.places", np.arange(8, dtype=np.uint8))
        two = self._store("bits.two", np.uint8(2))
        flat = self._store("bits.flat", np.array([FEW_BITS, -1]))
        signed = [2.0**at for at in range(FEW_BITS - 1)] + [-(2.0 ** (FEW_BITS - 1))]
        worth = self._store("bits.worth", np.array([signed], np.float32))
        shape = self._store(f"{name}.shape", np.array(values.shape))

        def step(operator: str, part: str, *inputs: str, **settings: Any) -> onnx.NodeProto:
            made = part if part == whole else f"{name}.{part}"
            return helper.make_node(operator, [*inputs], [made], name=made, **settings)

        return [
            step("BitShift", "shifted", planes, places, direction="RIGHT"),
            step("Mod", "bits", f"{name}.shifted", two),
            step("Cast", "bits.float", f"{name}.bits", to=TensorProto.FLOAT),
            step("Reshape", "bits.flat", f"{name}.bits.float", flat),
            step("MatMul", "numbers", worth, f"{name}.bits.flat"),
            step("Reshape", "shaped", f"{name}.numbers", shape),
            step("Cast", whole, f"{name}.shaped", to=TensorProto.INT8),
        ]

    def lookup(self, node: onnx.NodeProto) -> None:
        """Let rows of a table be 8-bit numbers with a scale for each row, or pieces."""
        name, output = node.input[0], node.output[0]
        table = self._array(name)
        of_words = node.op_type == "Gather" and node.input[1] == "input_ids"
        if self.counts is not None and of_words and saves_bytes(*table.shape):
            self.replaced[output] = self._pieces(name, node, fit_codebooks(table, self.counts))
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
        """Put a row's wide pieces side by side, add what remains of it, turn both.

        What depends on weights alone is computed once, when the graph is loaded: so are the
        rows of what remains, a sixth of the table.
        """
        output, rows = node.output[0], node.input[1]
        arrays: dict[str, NDArray[Any]] = {
            "wide.codes": shared.wide.codes,
            "narrow.codes": shared.narrow.codes,
            "places": shared.places.astype(np.uint16 if len(shared.places) < 2**16 else np.int32),
            "rotation": shared.rotation,
            "rotation_scales": shared.rotation_scales,
            "mean": shared.mean,
        }
        stored = {part: self._store(f"{name}.{part}", own) for part, own in arrays.items()}
        made = ""

        def step(operator: str, part: str, *inputs: str, **settings: Any) -> onnx.NodeProto:
            nonlocal made
            made = f"{output}.{part}" if part else output
            return helper.make_node(operator, [*inputs], [made], name=made, **settings)

        codes, wide, narrow, table = (
            f"{output}.{own}" for own in ("codes", "wide", "narrow", "table")
        )
        return [
            step("Gather", "codes", stored["wide.codes"], rows),
            *self._side_by_side(f"{name}.wide", wide, codes, (0, 0), shared.wide),
            *self._side_by_side(
                f"{name}.narrow", table, stored["narrow.codes"], (0,), shared.narrow
            ),
            step("Gather", "place", stored["places"], rows),
            step("Cast", "row", made, to=TensorProto.INT32),
            step("Gather", "narrow", table, made),
            step("Cast", "bytes", stored["rotation"], to=TensorProto.FLOAT),
            step("Mul", "axes", made, stored["rotation_scales"]),
            step("Add", "sum", wide, narrow),
            step("MatMul", "turned", made, f"{output}.axes"),
            step("Add", "", made, stored["mean"]),
        ]

    def _side_by_side(
        self, name: str, output: str, codes: str, kept: tuple[int, ...], shared: Pieces
    ) -> Iterator[onnx.NodeProto]:
        """Vectors from the numbers of their pieces, whose first dimensions are ``kept``."""
        groups, _, width = shared.pieces.shape
        arrays: dict[str, NDArray[Any]] = {
            "pieces": shared.pieces,
            "scales": shared.scales[:, None, None],
            "one_by_one": np.array([-1, width]),
            "first": np.arange(groups, dtype=np.int32) * PIECES,
            "shape": np.array([*kept, groups * width]),
        }
        stored = {part: self._store(f"{name}.{part}", own) for part, own in arrays.items()}
        made = ""

        def step(operator: str, *inputs: str, part: str = "", **settings: Any) -> onnx.NodeProto:
            nonlocal made
            made = f"{output}.{part}" if part else output
            return helper.make_node(operator, [*inputs], [made], name=made, **settings)

        yield step("Cast", stored["pieces"], part="values", to=TensorProto.FLOAT)
        yield step("Mul", made, stored["scales"], part="scaled")
        yield step("Reshape", made, stored["one_by_one"], part="pieces")
        pieces = made
        yield step("Cast", codes, part="numbers", to=TensorProto.INT32)
        yield step("Add", made, stored["first"], part="places")
        yield step("Gather", pieces, made, part="taken")
        yield step("Reshape", made, stored["shape"])

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
