"""A classifier as an ONNX graph: written, quantized, run. The extra ``onnx`` is needed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from augment.contract.models import max_input_length
from distill.data.batching import MODEL_INPUTS, Collator, model_inputs
from distill.errors import ExtraMissing
from distill.evaluation.target import Logits, LogitsFunction, Row
from distill.models.limits import filter_inputs
from distill.models.loading import Classifier

OPSET = 18
ONE_FILE = 1_800_000_000  # bytes; a graph with its weights in one file may have 2 GiB
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def require_onnx() -> None:
    """Check that the packages are there.

    Raises:
        ExtraMissing: They are not.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ExtraMissing(
            f"ONNX needs packages that are not installed: {', '.join(missing)}.",
            'Install them: pip install "augment-distill[onnx]"',
        )


class _Logits(nn.Module):
    """A classifier as a function of its inputs by position."""

    def __init__(self, model: PreTrainedModel, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)
        nn.Module.eval(self)

    def forward(self, *inputs: Tensor) -> Tensor:
        logits: Tensor = self.model(**dict(zip(self.names, inputs, strict=True))).logits
        return logits


def write_onnx(classifier: Classifier, file: Path) -> None:
    """Write a classifier's graph: inputs of shape (batch, length), both free; output ``logits``.

    The classifier is on the CPU. Its logits are written in the model's own order of labels, which
    is the one of its ``config.json``; weights over 1.8 GB go to a second file beside the graph.
    """
    known = classifier.tokenizer.model_input_names
    length = min(16, max_input_length(classifier.model.config) or 16)
    ones = torch.ones(2, length, dtype=torch.int64)
    inputs = {name: ones.clone() for name in MODEL_INPUTS if name in known}
    inputs = filter_inputs(classifier.model, inputs)
    names, example = list(inputs), tuple(inputs.values())
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    size = sum(weight.numel() * weight.element_size() for weight in classifier.model.parameters())
    with _hushed():
        torch.onnx.export(
            _Logits(classifier.model, names),
            example,
            str(file),
            dynamo=True,
            dynamic_shapes={"inputs": tuple(free for _ in names)},
            opset_version=OPSET,
            input_names=names,
            output_names=["logits"],
            external_data=size > ONE_FILE,
            verbose=False,
        )


def quantize(source: Path, target: Path) -> None:
    """Write a graph with 8-bit weights; activations are quantized as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _hushed():
        quantize_dynamic(
            source,
            target,
            weight_type=QuantType.QInt8,
            per_channel=True,
            use_external_data_format=source.stat().st_size > ONE_FILE,
        )


def graph_logits(file: Path, classifier: Classifier) -> LogitsFunction:
    """A graph of a classifier as a function from rows to logits in the order of the data's labels.

    It runs on the CPU, with as many threads as torch may use.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    collate = Collator(classifier.tokenizer.pad_token_id)
    order = slice(None) if classifier.order is None else list(classifier.order)

    def run(rows: Sequence[Row]) -> Logits:
        inputs = model_inputs(collate(rows))
        feed = {name: inputs[name].numpy() for name in names}
        logits: Logits = session.run(["logits"], feed)[0][:, order]
        return logits

    return run


@contextmanager
def _hushed() -> Iterator[None]:
    """Exporter and quantizer warn about what does not concern a user."""
    before: Any = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)
