"""Loading what the quality gates ask: a fine-tuned classifier, a sentence encoder.

Only safetensors or weights-only files are read, and no code of a model is run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional as F

from augment.contract import TaskSpec, match_labels
from augment.contract.models import loading, model_digest, quiet_libraries
from augment.errors import AssetInvalid, AssetMissing
from augment.filters.scorer import Encoded, Scorer
from augment.masked_lm.loading import how_to_name, read_weights, refuse_absent
from augment.masked_lm.registry import longest_input
from augment.versions.rows import Texts


def load_teacher(name: str, task: TaskSpec, *, device: str = "cpu") -> Scorer:
    """Load a classifier that was fine-tuned for a task; it gives logits in the task's order.

    Raises:
        AssetMissing: No such folder, or the hub is out of reach.
        AssetInvalid: It has no classification head, or its labels are not those of the task.
    """
    from transformers import AutoModelForSequenceClassification

    parts = _Parts(name, "--teacher")
    make_one = f"Fine-tune one on a version of {task.name}: distill teacher … --out DIR"
    names = [str(label) for _, label in sorted(parts.config.id2label.items())]
    order = match_labels(names, task)
    if order is None:
        wanted = ", ".join(task.label.names) or "one score"
        raise AssetInvalid(
            f"the teacher {name} has the labels {', '.join(names)}; {task.name} has {wanted}.",
            f"{make_one}\nWhere only the names differ, correct id2label in its config.json.",
        )
    model, missing = parts.weights(AutoModelForSequenceClassification)
    if missing:
        raise AssetInvalid(
            f"{name} has no classification head: {len(missing)} weights are missing, "
            f"the first is {missing[0]}.",
            make_one,
        )

    def logits(output: Any) -> torch.Tensor:
        values: torch.Tensor = output.logits
        return values if order.columns is None else values[:, list(order.columns)]

    by_position = "" if order.named else f"{name} does not name its labels; taken by position"
    return parts.scorer(model, logits, device, notice=by_position)


def load_sentence_encoder(name: str, *, device: str = "cpu") -> Scorer:
    """Load an encoder whose last hidden states, averaged, stand for a text; vectors have length 1.

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
    model, missing = parts.weights(AutoModel)
    unread = [key for key in missing if not key.startswith("pooler.")]
    if unread:
        raise AssetInvalid(
            f"the weights of {name} are not whole: {len(unread)} are missing, "
            f"the first is {unread[0]}."
        )

    def vectors(output: Any) -> torch.Tensor:
        return F.normalize(output.last_hidden_state.mean(dim=1), dim=-1)

    return parts.scorer(model, vectors, device)


class _Parts:
    """A model's config, tokenizer and weights, each with a sentence for what can be wrong."""

    def __init__(self, name: str, option: str) -> None:
        from transformers import AutoConfig, AutoTokenizer, PretrainedConfig

        quiet_libraries()
        self.name = name
        refuse_absent(name, option)
        with loading("config", name, AssetMissing, how_to_name(option)):
            self._raw, _ = PretrainedConfig.get_config_dict(name)
            self.config: Any = AutoConfig.from_pretrained(name, trust_remote_code=False)
        with loading("tokenizer", name, AssetMissing, how_to_name(option)):
            self._tokenizer: Any = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        size = getattr(self.config, "vocab_size", len(self._tokenizer))
        fits = size // 2 <= len(self._tokenizer) <= size
        if not self._tokenizer.is_fast or not fits:
            raise AssetInvalid(
                f"the tokenizer of {name} has {len(self._tokenizer):,} tokens, "
                f"the model {size:,}; a fast tokenizer that fits the model is expected."
            )

    def weights(self, kind: Any) -> tuple[Any, list[str]]:
        """The model in float32, and the names of weights that were not saved with it."""
        model, self._missing = read_weights(self.name, kind)
        return model, self._missing

    def scorer(
        self, model: Any, read: Callable[[Any], torch.Tensor], device: str, notice: str = ""
    ) -> Scorer:
        """The model with its tokenizer and its digest."""
        state = model.state_dict().items()
        weights = {key: value.numpy() for key, value in state if key not in self._missing}
        digest = model_digest(self._raw, self._tokenizer.backend_tokenizer.to_str(), weights)
        return Scorer(
            model, read, self._encode, digest, name=self.name, device=device, notice=notice
        )

    def _encode(self, rows: Sequence[Texts]) -> list[Encoded]:
        """Rows as the model reads them, cut to its limit; text that looks special is text."""
        columns = [list(column) for column in zip(*rows, strict=True)]
        longest = int(min(longest_input(self.config), self._tokenizer.model_max_length))
        encoding = self._tokenizer(
            *columns, truncation=True, max_length=longest, split_special_tokens=True
        )
        names = [name for name in self._tokenizer.model_input_names if name in encoding]
        return [
            Encoded(tuple((name, tuple(encoding[name][i])) for name in names))
            for i in range(len(rows))
        ]
