"""Where a graph multiplies with weights, and where it looks rows of a table up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper, numpy_helper

NARROWEST = 16  # product that is worth 8 bits: a head of few classes stays as it is
FEWEST_ROWS = 16  # of a table


@dataclass(frozen=True, slots=True)
class Product:
    """A product of states with a weight, and the bias that is added to it.

    Attributes:
        states: Its input.
        weight: Its weight.
        transposed: Whether that has the shape (out, in).
        bias: The bias, or empty.
        output: What it puts out, the bias added.
        nodes: Names of the outputs of the nodes that it stands for.
    """

    states: str
    weight: str
    transposed: bool
    bias: str
    output: str
    nodes: tuple[str, ...]


class GraphIndex:
    """Who reads what in a graph, and which of it are weights."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes = list(model.graph.node)
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self.outputs = {value.name for value in model.graph.output}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self.readers[name].append(node)

    def products(self) -> Iterator[Product]:
        """Every product of states with a weight of two axes."""
        for node in self.nodes:
            if not self._large(node):
                continue
            if node.op_type == "MatMul":
                yield self._with_bias(node)
            elif node.op_type == "Gemm" and _is_plain(node):
                bias = node.input[2] if len(node.input) > 2 else ""
                transposed = bool(_settings(node).get("transB", 0))
                output = node.output[0]
                if not bias or self._is_vector(bias):
                    yield Product(node.input[0], node.input[1], transposed, bias, output, (output,))

    def lookups(self) -> Iterator[onnx.NodeProto]:
        """Every node that takes rows of a table by number, or the first ones."""
        for node in self.nodes:
            table = self.weights.get(node.input[0]) if node.input else None
            if table is None or table.data_type != TensorProto.FLOAT or len(table.dims) != 2:
                continue
            by_number = node.op_type == "Gather" and not _settings(node).get("axis", 0)
            first = node.op_type == "Slice" and self._takes_first(node)
            if table.dims[0] >= FEWEST_ROWS and (by_number or first):
                yield node

    def _large(self, node: onnx.NodeProto) -> bool:
        weight = self.weights.get(node.input[1]) if len(node.input) > 1 else None
        return (
            weight is not None
            and weight.data_type == TensorProto.FLOAT
            and len(weight.dims) == 2
            and min(weight.dims) >= NARROWEST
            and node.input[0] not in self.weights
        )

    def _with_bias(self, node: onnx.NodeProto) -> Product:
        output = node.output[0]
        after = self.readers[output]
        if len(after) == 1 and after[0].op_type == "Add" and output not in self.outputs:
            others = [name for name in after[0].input if name != output]
            if len(others) == 1 and self._is_vector(others[0]):
                added = after[0].output[0]
                return Product(
                    node.input[0], node.input[1], False, others[0], added, (output, added)
                )
        return Product(node.input[0], node.input[1], False, "", output, (output,))

    def _is_vector(self, name: str) -> bool:
        tensor = self.weights.get(name)
        return tensor is not None and len(tensor.dims) == 1 and tensor.dims[0] > 1

    def _takes_first(self, node: onnx.NodeProto) -> bool:
        """Whether a slice starts at row 0, and is one of rows alone."""
        known = [self.weights.get(name) for name in (node.input[1], *node.input[3:])]
        numbers = [own is not None and numpy_helper.to_array(own).tolist() for own in known]
        return len(node.input) in (3, 4) and all(own == [0] for own in numbers)


def _is_plain(gemm: onnx.NodeProto) -> bool:
    settings = {"alpha": 1.0, "beta": 1.0, "transA": 0} | _settings(gemm)
    return settings["alpha"] == settings["beta"] == 1.0 and not settings["transA"]


def _settings(node: onnx.NodeProto) -> dict[str, object]:
    return {own.name: helper.get_attribute_value(own) for own in node.attribute}
