"""An exported graph with its tokenizer: texts to logits, by onnxruntime, tokenizers and numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from augment.contract.foreign import counted
from augment.contract.reading import guarded, is_failure, read_json, read_text, reason_of
from distill.errors import DataInvalid, ExtraMissing, ModelInvalid
from distill.inference.head import Head, Logits, read_head
from distill.inference.texts import Text
from distill.inference.vocabulary import MARK, check_vocabulary

GRAPH, TOKENIZER, TOKENIZER_CONFIG = "model.onnx", "tokenizer.json", "tokenizer_config.json"
_COLUMNS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
_INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_AGAIN = "Export the model again: distill export MODEL VERSION --to onnx --out DIR"
_NO_LIMIT = 10**6  # tokens; tokenizers record far larger numbers where they know none


@dataclass(frozen=True, slots=True)
class _Input:
    """An input of the graph: name, attribute of an encoding, integer type, what pads it."""

    name: str
    attribute: str
    dtype: Any
    padding: int


@dataclass(frozen=True, slots=True)
class GraphModel:
    """A graph that is ready to answer.

    Attributes:
        head: What its logits mean.
        tokenizer: Cuts at the model's length, and does not pad.
        session: Of onnxruntime, on the CPU.
        threads: Of the session, and of the tokenizer for many texts.
    """

    head: Head
    tokenizer: Any
    session: Any
    threads: int
    inputs: tuple[_Input, ...]
    output: str
    pads_left: bool

    def encode(self, texts: Sequence[Text]) -> list[Any]:
        """Texts as encodings, whose ``len`` is their number of tokens.

        Raises:
            DataInvalid: A text holds half a surrogate pair, which is no character.
            ModelInvalid: The tokenizer fails.
        """
        read = self.tokenizer.encode_batch_fast  # leaves out offsets, which nobody asks for
        try:
            if self.threads > 1:
                return list(read(texts))
            return [read([text])[0] for text in texts]
        except (TypeError, UnicodeEncodeError) as error:
            raise DataInvalid(
                "a text is no valid Unicode: it holds half a surrogate pair.",
                "Read the file as UTF-8, or replace such characters.",
            ) from error
        except BaseException as error:
            if not is_failure(error):
                raise
            raise ModelInvalid(
                f"the tokenizer of {self.head.name} fails: {reason_of(error)}.", _AGAIN
            ) from error

    def run(self, rows: Sequence[Any]) -> Logits:
        """Logits of shape (rows, ``head.width``); rows of one length are not padded.

        Raises:
            ModelInvalid: The graph fails, or its answers are no finite numbers.
        """
        if len(rows) == 1:
            row = rows[0]
            feed = {
                own.name: np.array([getattr(row, own.attribute)], own.dtype) for own in self.inputs
            }
        else:
            feed = {own.name: self._padded(rows, own) for own in self.inputs}
        try:
            logits = self.session.run([self.output], feed)[0]
        except Exception as error:  # onnxruntime's own share no base
            raise ModelInvalid(
                f"the graph of {self.head.name} fails: {reason_of(error)}.", _AGAIN
            ) from error
        if logits.shape != (len(rows), self.head.width):
            raise ModelInvalid(
                f"the graph of {self.head.name} answers with the shape {logits.shape}; its config "
                f"names {self.head.width} for a row.",
                _AGAIN,
            )
        if not np.isfinite(logits).all():
            raise ModelInvalid(f"{self.head.name} answers with NaN or infinity.", _AGAIN)
        found: Logits = logits.astype(np.float32, copy=False)
        return found

    def _padded(self, rows: Sequence[Any], own: _Input) -> Any:
        values = [getattr(row, own.attribute) for row in rows]
        longest, shortest = max(map(len, values)), min(map(len, values))
        if longest == shortest:
            return np.array(values, own.dtype)
        array = np.full((len(values), longest), own.padding, own.dtype)
        for line, row in zip(array, values, strict=True):
            if self.pads_left:
                line[longest - len(row) :] = row
            else:
                line[: len(row)] = row
        return array


def open_graph(folder: Path, name: str, threads: int) -> GraphModel:
    """Open an ONNX form as ``distill export`` writes it.

    Args:
        folder: Holds ``model.onnx``, ``config.json`` and ``tokenizer.json``.
        name: What the user called it.
        threads: CPU threads of one answer.

    Raises:
        ExtraMissing: onnxruntime or tokenizers is not installed.
        ModelInvalid: A file is missing, damaged, or not as we write it.
    """
    try:
        import onnxruntime
        import tokenizers
    except ImportError as error:
        raise ExtraMissing(
            f"an exported graph needs {error.name}, which is not installed.",
            "Install it: pip install onnxruntime tokenizers numpy",
        ) from error
    head = read_head(folder, name)
    text = read_text(folder / TOKENIZER, ModelInvalid, "a tokenizer", _AGAIN)
    with guarded(folder / TOKENIZER, ModelInvalid, "a tokenizer", _AGAIN):
        tokenizer = tokenizers.Tokenizer.from_str(text)
    padding, settings = tokenizer.padding or {}, _tokenizer_settings(folder)
    check_vocabulary(name, head.settings.vocabulary, settings.get(MARK), tokenizer.get_vocab)
    _prepare(tokenizer, settings.get("model_max_length"), folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is said once, by us
    for pool in ("intra_op", "inter_op"):  # who waits leaves the processor to others
        options.add_session_config_entry(f"session.{pool}.allow_spinning", "0")
    with guarded(folder / GRAPH, ModelInvalid, "an ONNX graph", _AGAIN):
        session = onnxruntime.InferenceSession(
            folder / GRAPH, options, providers=["CPUExecutionProvider"]
        )
    pads = {"ids": padding.get("pad_id", 0), "type_ids": padding.get("pad_type_id", 0)}
    return GraphModel(
        head=head,
        tokenizer=tokenizer,
        session=session,
        threads=threads,
        inputs=tuple(_input(node, pads, name) for node in session.get_inputs()),
        output=_output([node.name for node in session.get_outputs()]),
        pads_left=padding.get("direction") == "left",
    )


def _tokenizer_settings(folder: Path) -> dict[str, Any]:
    """``tokenizer_config.json``, where there is one."""
    file = folder / TOKENIZER_CONFIG
    found = read_json(file, ModelInvalid, "a part of a tokenizer", _AGAIN) if file.is_file() else {}
    if not isinstance(found, dict):
        raise ModelInvalid(f"{file} holds no object of keys and values.", _AGAIN)
    return found


def _prepare(tokenizer: Any, length: Any, folder: Path) -> None:
    """Let a tokenizer cut but not pad; a special token's name in a text is text.

    Other exporters write its ``length``, in tokens, in ``tokenizer_config.json`` alone.
    """
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    cut = tokenizer.truncation or {}
    length = cut.get("max_length", length)
    if type(length) is not int or not 0 < length < _NO_LIMIT:
        raise ModelInvalid(
            f"{folder / TOKENIZER} does not say how many tokens the model reads.", _AGAIN
        )
    if length <= tokenizer.num_special_tokens_to_add(False):
        raise ModelInvalid(
            f"{folder / TOKENIZER} cuts each text to {counted(length, 'token')}.", _AGAIN
        )
    with guarded(folder / TOKENIZER, ModelInvalid, "a tokenizer", _AGAIN):
        tokenizer.enable_truncation(length, direction=cut.get("direction", "right"))


def _input(node: Any, pads: dict[str, int], name: str) -> _Input:
    attribute, dtype = _COLUMNS.get(node.name), _INTEGERS.get(node.type)
    if attribute is None or dtype is None:
        raise ModelInvalid(
            f"the graph of {name} asks for {node.name} ({node.type}); texts give "
            f"{', '.join(_COLUMNS)} as whole numbers.",
            _AGAIN,
        )
    return _Input(node.name, attribute, dtype, pads.get(attribute, 0))


def _output(names: Sequence[str]) -> str:
    return "logits" if "logits" in names else names[0]
