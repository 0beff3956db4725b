"""Configurations of models: what an old one leaves out, and settings that are not computed here.

transformers accepts any key in ``config.json`` and ignores those its code does not know: a model
that was trained with such a setting would answer, and wrongly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

BERT_KEYS = frozenset({"vocab_size", "hidden_size", "num_hidden_layers", "type_vocab_size"})
"""What a ``config.json`` without a model type must say to be BERT's (TinyBERT was published so)."""

PLAIN_OUTPUT = {"return_dict": True, "output_hidden_states": False, "output_attentions": False}
"""How a model hands out its results. A config may say otherwise; the results are the same."""

_NEVER = {
    "is_decoder": "each token would see those before it alone",
    "add_cross_attention": "a second input is expected",
    "pruned_heads": "attention heads were taken out",
    "chunk_size_feed_forward": "",
    "quantization_config": "its weights are stored in another number format",
    "per_layer_config": "its layers differ in size",
    "adapters": "layers of another library lie between its own",
}
"""Settings that are not computed here, whatever the family, and what they mean."""

_UNREAD = {
    "position_embedding_type": "positions enter in another way",
    "rope_parameters": "positions enter as rotations",
    "rope_scaling": "positions enter as rotations",
    "rope_theta": "positions enter as rotations",
    "alibi_starting_size": "positions enter as ALiBi",
    "use_alibi": "positions enter as ALiBi",
    "sliding_window": "attention is local",
    "attention_window": "attention is local",
    "local_attention": "attention is local",
    "pre_norm": "it normalizes in another order",
    "prenorm": "it normalizes in another order",
    "use_rms_norm": "it normalizes in another way",
}
"""Settings of some families, and what they mean; the code of the others does not look at them."""

_HARMLESS = {"position_embedding_type": ("absolute", "learned_absolute")}
_CLASSIC = (
    "albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "modernbert",
    "mpnet", "roberta", "xlm-roberta",
)  # fmt: skip
"""Families that need no code beside transformers' own: where it is named, it computes another
model."""
_FIXES = {
    "chunk_size_feed_forward": "Set it to 0 in config.json: the results are the same.",
    "quantization_config": "Give the model as it was before, in float32, float16 or bfloat16.",
    "pruned_heads": "Give a model with all its heads.",
    "adapters": "Merge the adapters into the model, and save that with save_pretrained.",
}
_OTHER_MODEL = (
    "Give a model without it. Where its weights were not trained with it, take it out of "
    "config.json."
)


def model_type(raw: Mapping[str, Any]) -> str:
    """The family in a ``config.json``, or nothing; old ones of BERT do not name theirs."""
    if named := raw.get("model_type"):
        return str(named)
    built_as = str((raw.get("architectures") or ["Bert"])[0])
    return "bert" if raw.keys() >= BERT_KEYS and built_as.startswith("Bert") else ""


@dataclasses.dataclass(frozen=True, slots=True)
class Unsupported:
    """A setting that the code here does not compute: what is wrong, and what to do."""

    problem: str
    remedy: str


def find_unsupported(raw: Mapping[str, Any], kind: type) -> Unsupported | None:
    """The first setting of a ``config.json`` that would be ignored, or None.

    Args:
        raw: Its content.
        kind: The configuration class of transformers that reads it.
    """
    for key, meaning in _NEVER.items():
        value = raw.get(key)
        if _says_something(value):
            why = f" ({meaning})" if meaning else ""
            return Unsupported(f"{key} = {_short(value)}{why}", _FIXES.get(key, _OTHER_MODEL))
    for key, meaning in _UNREAD.items():
        value = raw.get(key)
        harmless = not _says_something(value) or value in _HARMLESS.get(key, ())
        if not harmless and not _reads(kind, key):
            return Unsupported(f"{key} = {_short(value)} ({meaning})", _OTHER_MODEL)
    code = raw.get("auto_map") or {}
    if model_type(raw) in _CLASSIC and any(str(name).startswith("AutoModel") for name in code):
        return Unsupported(
            "code of its own (auto_map), which is never run",
            "Where transformers' own code computes the same, take auto_map out of config.json.",
        )
    return None


def _says_something(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_says_something, value.values()))
    return bool(value)


def _reads(kind: type, key: str) -> bool:
    """Whether a configuration class declares a key: then the family's code reads it."""
    from transformers import PretrainedConfig

    own = {field.name for field in dataclasses.fields(kind)}
    own |= {name for name in dir(kind) if not hasattr(PretrainedConfig, name)}
    return key in own or (key.startswith("rope_") and "rope_parameters" in own)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def reads_segments(config: Any) -> bool:
    """Whether a model has a table of segments that ``token_type_ids`` may point into."""
    return (getattr(config, "type_vocab_size", 0) or 0) > 1
