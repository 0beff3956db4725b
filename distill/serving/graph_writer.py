"""An ONNX graph written node by node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
CONTRIBUTED = "com.microsoft"
"""Domain of the fused operators that onnxruntime adds to ONNX's own."""
ONE_FILE = 1_800_000_000  # bytes; a graph with its weights in one file may have 2 GiB
_IR_VERSION = 8  # the oldest that holds this opset: old runtimes refuse newer ones


class GraphWriter:
    """Nodes and weights in the order in which they are added; every node has one output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, onnx.TensorProto] = {}

    def weight(self, name: str, array: NDArray[Any] | np.generic) -> str:
        """Store a weight once, and give its name."""
        if name not in self.weights:
            self.weights[name] = tensor_of(name, array)
        return name

    def node(
        self, operator: str, *inputs: str, output: str = "", domain: str = "", **settings: Any
    ) -> str:
        """Add a node and give the name of its output, by default its operator's and a number."""
        output = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(operator, inputs, [output], name=output, domain=domain, **settings)
        )
        return output

    def model(self, inputs: Sequence[str], output: str, width: int) -> onnx.ModelProto:
        """The graph: integer inputs (batch, length) to float32 (batch, width)."""
        free = ["batch", "length"]
        tables = [helper.make_tensor_value_info(name, TensorProto.INT64, free) for name in inputs]
        answer = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", width])
        graph = helper.make_graph(
            self.nodes, "classifier", tables, [answer], list(self.weights.values())
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIBUTED, 1)]
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="augment-distill"
        )


def node_counts(model: onnx.ModelProto) -> dict[str, int]:
    """How many nodes there are of each operator, the most frequent first."""
    counts = Counter(node.op_type for node in model.graph.node)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def tensor_of(name: str, array: NDArray[Any] | np.generic) -> onnx.TensorProto:
    """An array as a stored weight; a number stays one, without axes."""
    whole = np.asarray(array, order="C")
    return numpy_helper.from_array(whole, name)


def save_graph(model: onnx.ModelProto, file: Path) -> None:
    """Write a graph; weights over 1.8 GB go to a second file beside it."""
    large = sum(len(tensor.raw_data) for tensor in model.graph.initializer) > ONE_FILE
    onnx.save(model, file, save_as_external_data=large, location=f"{file.name}.data")
