"""A classifier as an ONNX graph: written, quantized, run. The extra ``onnx`` is needed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from augment.contract.models import max_input_length
from distill.data.batching import MODEL_INPUTS, Collator, model_inputs
from distill.data.scratch import scratch
from distill.errors import ExtraMissing
from distill.evaluation.target import Logits, LogitsFunction, Row
from distill.models.limits import filter_inputs
from distill.models.loading import Classifier

_ALIKE = 1e-4
"""Difference between logits of a graph written by hand and the model's own, at most."""
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


@dataclass(frozen=True, slots=True)
class GraphSource:
    """What a graph is written from.

    Attributes:
        classifier: On the CPU.
        length: Tokens that its texts are cut to.
    """

    classifier: Classifier
    length: int

    @property
    def inputs(self) -> dict[str, Tensor]:
        """Two rows of the model's inputs, the second shorter."""
        model = self.classifier.model
        known = self.classifier.tokenizer.model_input_names
        length = min(16, max_input_length(model.config) or 16)
        numbers = torch.arange(2 * length).reshape(2, length) % model.config.vocab_size
        numbers[numbers == self.classifier.tokenizer.pad_token_id] = model.config.vocab_size - 1
        mask = torch.ones_like(numbers)
        mask[1, length // 2 :] = 0
        segments = torch.arange(length).expand(2, -1) // (length - length // 4)
        all_known = {"input_ids": numbers, "attention_mask": mask, "token_type_ids": segments}
        inputs = {name: all_known[name] for name in MODEL_INPUTS if name in known}
        return filter_inputs(model, inputs)


def write_onnx(source: GraphSource, file: Path, *, cut: bool = False) -> None:
    """Write a classifier's graph: inputs of shape (batch, length), both free; output ``logits``.

    Its logits are in the model's own order of labels, which is the one of its ``config.json``;
    weights over 1.8 GB go to a second file beside the graph.

    Args:
        source: The classifier.
        file: The graph.
        cut: Leave out the positions that no text of the classifier reaches, where it can be done.
    """
    from distill.serving.graph_bert import bert_graph, writes_bert
    from distill.serving.graph_writer import save_graph

    model, inputs = source.classifier.model, source.inputs
    if writes_bert(model) and "attention_mask" in inputs:
        longest = max_input_length(model.config) or source.length
        length = max(source.length, 16) if cut else longest
        save_graph(bert_graph(model, list(inputs), min(length, longest)), file)
        if _answers_alike(file, model, inputs):
            return
    export_onnx(source, file)


def write_int8(
    source: GraphSource,
    rows: Iterable[Row],
    files: Mapping[Path, NDArray[np.float32] | None],
    plain: Path | None = None,
) -> None:
    """Write a classifier's graph with 8-bit weights, in one way or in several.

    Args:
        source: The classifier.
        rows: Tokenized training rows.
        files: Each graph, with what each token counts for where token vectors are to be put
            together from pieces.
        plain: The float32 graph, where it was written before.
    """
    from distill.serving.graph_bert import writes_bert
    from distill.serving.quantize import quantize

    names = list(source.inputs)
    collate = Collator(source.classifier.tokenizer.pad_token_id)
    batches = (model_inputs(collate([row])) for row in rows)
    feeds = ({name: batch[name].numpy() for name in names} for batch in batches)
    with scratch() as place:
        if plain is None or writes_bert(source.classifier.model):
            plain = place / "plain.onnx"
            write_onnx(source, plain, cut=True)
        quantize(plain, files, feeds)


def count_nodes(file: Path) -> dict[str, int]:
    """How many nodes of each operator a graph has, the most frequent first."""
    import onnx

    from distill.serving.graph_writer import node_counts

    return node_counts(onnx.load(file, load_external_data=False))


def _answers_alike(file: Path, model: PreTrainedModel, inputs: dict[str, Tensor]) -> bool:
    """Whether a graph gives a model's logits."""
    with torch.inference_mode():
        expected = model(**inputs).logits.numpy()
    feed = {name: tensor.numpy() for name, tensor in inputs.items()}
    found = open_session(file).run(["logits"], feed)[0]
    return bool(np.allclose(found, expected, rtol=_ALIKE, atol=_ALIKE))


def export_onnx(source: GraphSource, file: Path) -> None:
    """Write any model's graph, operation by operation, as PyTorch's exporter does."""
    from distill.serving.graph_writer import ONE_FILE, OPSET

    model, inputs = source.classifier.model, source.inputs
    names = list(inputs)
    example = tuple(torch.ones_like(tensor) for tensor in inputs.values())
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    with _hushed():
        torch.onnx.export(
            _Logits(model, names),
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


def open_session(file: Path) -> Any:
    """A session of a graph on the CPU, with as many threads as torch may use."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def graph_logits(file: Path, classifier: Classifier) -> LogitsFunction:
    """A graph as a function from rows to logits in the order of the data's labels."""
    session = open_session(file)
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
    """The exporter warns about what does not concern a user."""
    before: Any = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)
