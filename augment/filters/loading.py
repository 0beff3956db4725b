"""Loading what the quality gates ask: a fine-tuned classifier, a sentence encoder.

Only safetensors or weights-only files are read, and no code of a model is run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch.nn import functional as F

from augment.contract import TaskSpec, match_labels
from augment.contract.checkpoint import Part
from augment.contract.model_folders import PROBE, TOKENIZER_HINT
from augment.contract.models import (
    WHOLE_WEIGHTS,
    loading,
    model_digest,
    quiet_libraries,
    reads_segments,
    refuse_multi_label,
)
from augment.errors import AssetInvalid
from augment.filters.pooling import POOLINGS, Pooling, pooling_of
from augment.filters.scorer import Encoded, Scorer
from augment.masked_lm.loading import open_checkpoint, own_memory
from augment.masked_lm.registry import longest_input
from augment.versions.rows import Texts

_UNREAD: tuple[Part, ...] = ("pooler",)
"""What an encoder alone may lack: vectors are means of its last hidden states."""


def load_teacher(name: str, task: TaskSpec, *, device: str = "cpu") -> Scorer:
    """Load a classifier that was fine-tuned for a task; it gives logits in the task's order.

    Raises:
        AssetMissing: No such folder, or the hub is out of reach.
        AssetInvalid: It has no classification head, or its labels are not those of the task.
    """
    from transformers import AutoModelForSequenceClassification

    parts = _Parts(name, "--teacher")
    make_one = f"Fine-tune one on a version of {task.name}: distill teacher … --out DIR"
    parts.checkpoint.require_classifier(parts.config, make_one)
    refuse_multi_label(f"the teacher {name}", parts.config, AssetInvalid)
    names = [str(label) for _, label in sorted(parts.config.id2label.items())]
    order = match_labels(names, task)
    if order is None:
        wanted = ", ".join(task.label.names) or "one score"
        raise AssetInvalid(
            f"the teacher {name} has the labels {', '.join(names)}; {task.name} has {wanted}.",
            f"{make_one}\nWhere only the names differ, correct id2label in its config.json.",
        )
    model = parts.weights(
        AutoModelForSequenceClassification, head="classification", headless=make_one
    )

    def logits(output: Any) -> torch.Tensor:
        values: torch.Tensor = output.logits
        return values if order.columns is None else values[:, list(order.columns)]

    by_position = "" if order.named else f"{name} does not name its labels; taken by position"
    return parts.scorer(model, logits, device, by_position, len(task.text_columns))


def load_sentence_encoder(name: str, *, device: str = "cpu") -> Scorer:
    """Load an encoder whose last hidden states, pooled as its folder says, stand for a text.

    Its vectors have length 1.

    Raises:
        AssetMissing: No such folder, or the hub is out of reach.
        AssetInvalid: It cannot be used as an encoder.
    """
    from transformers import AutoModel

    parts = _Parts(name, "--similarity-model")
    if parts.config.is_encoder_decoder:
        raise AssetInvalid(
            f"{name} is an encoder-decoder; a sentence encoder is expected.",
            "Give one such as sentence-transformers/all-MiniLM-L6-v2.",
        )
    pooling = pooling_of(name, parts.checkpoint.folder)
    model = parts.weights(AutoModel, may_start=_UNREAD)

    def vectors(output: Any) -> torch.Tensor:
        return F.normalize(POOLINGS[pooling](output.last_hidden_state), dim=-1)

    return parts.scorer(model, vectors, device, pooling=pooling)


class _Parts:
    """A model's config, tokenizer and weights, each with a sentence for what can be wrong."""

    def __init__(self, name: str, option: str) -> None:
        quiet_libraries()
        self.name = name
        self.checkpoint = open_checkpoint(name, option)
        self._raw = self.checkpoint.raw_config()
        self.config: Any = self.checkpoint.config()
        self._tokenizer: Any = self.checkpoint.tokenizer(self.config)
        if not self._tokenizer.is_fast:
            raise AssetInvalid(
                f"the tokenizer of {name} is slow; a fast one is expected.", TOKENIZER_HINT
            )
        read = self._tokenizer.model_input_names
        if not reads_segments(self.config):
            read = [each for each in read if each != "token_type_ids"]
        self._inputs = tuple(read)

    def weights(
        self, kind: Any, *, may_start: Collection[Part] = (), head: str = "", headless: str = ""
    ) -> Any:
        """The whole model in float32; see ``Checkpoint.weights``."""
        model, self._missing = self.checkpoint.weights(
            self.config, kind, may_start=may_start, head=head, headless=headless
        )
        own_memory(model)
        return model

    def scorer(
        self,
        model: Any,
        read: Callable[[Any], torch.Tensor],
        device: str,
        notice: str = "",
        columns: int = 1,
        pooling: Pooling = "mean",
    ) -> Scorer:
        """The model with its tokenizer and its digest, once it has read a row of that many texts.

        Raises:
            AssetInvalid: It cannot.
        """
        with loading("model", self.name, AssetInvalid, WHOLE_WEIGHTS):
            state = model.state_dict().items()
            weights = {key: value.numpy() for key, value in state if key not in self._missing}
            own = self._raw if pooling == "mean" else {**self._raw, "pooling": pooling}
            digest = model_digest(own, self._tokenizer.backend_tokenizer.to_str(), weights)
            scorer = Scorer(
                model, read, self._encode, digest, name=self.name, device=device, notice=notice
            )
            scorer.score([PROBE[:columns]])
        return scorer

    def _encode(self, rows: Sequence[Texts]) -> list[Encoded]:
        """Rows as the model reads them, cut to its limit; text that looks special is text."""
        columns = [list(column) for column in zip(*rows, strict=True)]
        longest = int(min(longest_input(self.config), self._tokenizer.model_max_length))
        encoding = self._tokenizer(
            *columns, truncation=True, max_length=longest, split_special_tokens=True
        )
        names = [name for name in self._inputs if name in encoding]
        return [
            Encoded(tuple((name, tuple(encoding[name][i])) for name in names))
            for i in range(len(rows))
        ]
