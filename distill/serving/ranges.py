"""Ranges of the values inside a graph, as real rows send them through it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import helper

from distill.data.scratch import scratch
from distill.serving.graph_writer import save_graph

Feed = Mapping[str, NDArray[np.int64]]
"""Inputs of a graph by name; one row, so that no padding is observed."""

LEVELS = 255
_KEPT = 2048  # values of a row
_SHARES = np.linspace(1.0, 0.2, 33)


@dataclass(frozen=True, slots=True)
class Range:
    """What 8 bits without a sign stand for: ``(number - zero) * scale``."""

    scale: float
    zero: int

    @classmethod
    def between(cls, low: float, high: float) -> Range:
        """The range from one value to another; 0 is always in it, and exact."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = (high - low) / LEVELS or 1.0
        return cls(float(np.float32(scale)), int(np.clip(round(-low / scale), 0, LEVELS)))

    def rounded(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The values as 8 bits tell them."""
        numbers = np.clip(np.rint(values / np.float32(self.scale)) + self.zero, 0, LEVELS)
        found: NDArray[np.float32] = (numbers - self.zero) * np.float32(self.scale)
        return found


def observe(
    model: onnx.ModelProto, names: Sequence[str], feeds: Iterable[Feed]
) -> dict[str, Range]:
    """The range of each named value of a graph that loses least in the mean square.

    Args:
        model: The graph, which stays as it is.
        names: Values inside it, float32.
        feeds: Inputs, one row each.
    """
    if not names:
        return {}
    with scratch() as place:
        session = _opened(model, names, place / "observed.onnx")
        return _observed(session, names, feeds)


def _observed(session: Any, names: Sequence[str], feeds: Iterable[Feed]) -> dict[str, Range]:
    drawn = np.random.default_rng(0)
    kept: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    ends = dict.fromkeys(names, (0.0, 0.0))
    for feed in feeds:
        for name, value in zip(names, session.run(list(names), dict(feed)), strict=True):
            flat = value.ravel()
            low, high = ends[name]
            ends[name] = min(low, float(flat.min())), max(high, float(flat.max()))
            kept[name].append(drawn.choice(flat, min(_KEPT, len(flat)), replace=False))
    return {name: _best(np.concatenate(kept[name]), *ends[name]) for name in names}


def _opened(model: onnx.ModelProto, names: Sequence[str], file: Path) -> Any:
    """A session of a graph that puts out the named values only."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    save_graph(copy, file)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def _best(values: NDArray[np.float32], low: float, high: float) -> Range:
    """Of the ranges that cut off a part of both ends, the one with the smallest squared error."""
    candidates = [Range.between(low * share, high * share) for share in _SHARES]
    return min(candidates, key=lambda own: float(np.square(own.rounded(values) - values).mean()))
