"""What both packages must agree on about a model: its name, digest, family, length, settings.

Models come as plain values; the few functions that ask torch or transformers import them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

import numpy as np

from augment.contract.errors import Fault, first_line
from augment.contract.process import speech
from augment.contract.reading import is_failure

_VOLATILE = ("_name_or_path", "transformers_version", "_commit_hash", "dtype", "torch_dtype")
_LEFT_BY_A_CALL = ("truncation", "padding")


def refuse_multi_label(name: str, config: Any, fault: type[Fault]) -> None:
    """Refuse a classifier whose classes do not exclude each other: no softmax is meant over them.

    Raises:
        Fault: Of the given kind.
    """
    if getattr(config, "problem_type", None) == "multi_label_classification":
        raise fault(
            f"{name} gives a row several labels at once (problem_type in its config.json is "
            "multi_label_classification); a classifier that gives it one is expected.",
            "Fine-tune one on this task: distill teacher … --out DIR",
        )


def model_digest(
    config: Mapping[str, Any], tokenizer: str, weights: Mapping[str, np.ndarray]
) -> str:
    """SHA-256, in hex, over all that decides a model's answers, however it is stored.

    Args:
        config: ``config.json`` as it stands.
        tokenizer: ``tokenizer.json``; what an earlier call set in it does not count.
        weights: Name → values, all that the model was saved with.
    """
    digest = hashlib.sha256()
    kept = {key: value for key, value in config.items() if key not in _VOLATILE}
    digest.update(json.dumps(kept, sort_keys=True, default=str).encode())
    rules = json.dumps(tokenizer_rules(tokenizer), sort_keys=True, ensure_ascii=False)
    digest.update(rules.encode())
    for name, values in sorted(weights.items()):
        digest.update(f"\0{name}\0{values.shape}\0".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def tokenizer_rules(tokenizer: str) -> dict[str, Any]:
    """All of a ``tokenizer.json`` that decides how it splits a text."""
    return {k: v for k, v in json.loads(tokenizer).items() if k not in _LEFT_BY_A_CALL}


@dataclass(frozen=True, slots=True)
class LayerNames:
    """Dotted names of a layer's modules, below the layer."""

    query: str = "attention.self.query"
    key: str = "attention.self.key"
    value: str = "attention.self.value"
    attention_out: str = "attention.output.dense"
    attention_norm: str = "attention.output.LayerNorm"
    intermediate: str = "intermediate.dense"
    output: str = "output.dense"
    output_norm: str = "output.LayerNorm"


@dataclass(frozen=True, slots=True)
class HeadNames:
    """Dotted names of a masked-LM head's modules, below the model.

    ``activation`` is the head's own, or None where it has that of the layers.
    """

    dense: str
    norm: str
    activation: str | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """Where a family of BERT's shape keeps its weights, and what is special to it.

    Attributes:
        head: Its masked-LM head; None where its masked LMs are not read.
        layers: The list of layers, below the encoder.
        layer: The modules of a layer.
        activation: The key in ``config.json`` with the layers' activation.
        segments: Segment vectors that the model uses; with one, both segments share it.
        position_bias: Table of what is added to the scores of all layers by the distance of two
            tokens, below the encoder; its module has ``compute_position_bias``. Empty: none.
        narrows: Whether its layers are made narrower for a student.
        constants: Settings that its code does not read: what it computes with in their place.
    """

    head: HeadNames | None = None
    layers: str = "encoder.layer"
    layer: LayerNames = LayerNames()
    activation: str = "hidden_act"
    segments: int = 2
    position_bias: str = ""
    narrows: bool = True
    constants: Mapping[str, int] = field(default_factory=dict)


_LM_HEAD = HeadNames("lm_head.dense", "lm_head.layer_norm", "gelu")
FAMILIES = {
    "bert": Family(
        HeadNames("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm")
    ),
    "roberta": Family(_LM_HEAD, segments=1),
    "electra": Family(
        HeadNames("generator_predictions.dense", "generator_predictions.LayerNorm", "gelu")
    ),
    "distilbert": Family(
        HeadNames("vocab_transform", "vocab_layer_norm"),
        layers="transformer.layer",
        layer=LayerNames(
            query="attention.q_lin",
            key="attention.k_lin",
            value="attention.v_lin",
            attention_out="attention.out_lin",
            attention_norm="sa_layer_norm",
            intermediate="ffn.lin1",
            output="ffn.lin2",
            output_norm="output_layer_norm",
        ),
        activation="activation",
        segments=0,
        narrows=False,
    ),
    "mpnet": Family(
        _LM_HEAD,
        layer=LayerNames(
            query="attention.attn.q",
            key="attention.attn.k",
            value="attention.attn.v",
            attention_out="attention.attn.o",
            attention_norm="attention.LayerNorm",
        ),
        segments=0,
        position_bias="encoder.relative_attention_bias",
        constants={"pad_token_id": 1, "relative_attention_num_buckets": 32},
    ),
    "xlm-roberta": Family(segments=1),
    "camembert": Family(segments=1),
}
"""Model type in ``config.json`` → its family, of BERT's shape: docs/howto/add-an-encoder-family."""

COUNT_FROM_PADDING = frozenset((
    "camembert", "data2vec-text", "esm", "ibert", "lilt", "longformer", "luke", "markuplm", "mpnet",
    "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
))  # fmt: skip
"""Families whose first position is the padding token's id plus one: see
``create_position_ids_from_input_ids`` in their modules of transformers."""


def first_position(config: Any) -> int:
    """The number of a text's first position in a model's table of positions."""
    return config.pad_token_id + 1 if config.model_type in COUNT_FROM_PADDING else 0


def max_input_length(config: Any) -> int | None:
    """The longest input of a model, in tokens, special ones included.

    None where the model has no table of positions.
    """
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None or positions < 1:  # XLNet says -1
        return None
    return int(positions) - first_position(config)


def is_hub_name(name: str) -> bool:
    """Whether something that is not here may be on the hub: ``name`` or ``owner/name``."""
    return not name.startswith((".", "/", "~")) and name.count("/") <= 1 and "\\" not in name


WHOLE_WEIGHTS = (
    "A complete model.safetensors (or pytorch_model.bin) that fits config.json is needed."
)


@contextmanager
def loading(part: str, name: str, fault: type[Fault], hint: str) -> Iterator[None]:
    """Around a library that reads a part of a model: what it raises becomes a sentence.

    Safetensors, tokenizers, torch, transformers and the hub's client each raise their own; the
    panic of a library in Rust is no ``Exception``. A fault raised inside passes as it is.

    Raises:
        Fault: Of the kind ``fault``, with the hint; it names the part, such as ``tokenizer``.
    """
    try:
        yield
    except Fault:
        raise
    except BaseException as error:
        if not is_failure(error):
            raise
        raise fault(f"the {part} of {name} cannot be loaded: {first_line(error)}", hint) from error


def processor_computes_bfloat16() -> bool:
    """Whether this processor has instructions that multiply bfloat16, fast or not."""
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


_TRIED_ROWS, _TRIED_WIDTH, _TRIED_TIMES = 256, 768, 7


@lru_cache(maxsize=1)
def bfloat16_is_faster() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32.

    Tiles (AMX) do, ten times. What AVX-512 does differs: twice as fast on some cores, half as fast
    on others that have the same instructions. So it is tried, once a process and in a tenth of a
    second: the best of some products in each format, by turns, which other work does not upset.
    """
    import torch

    if not processor_computes_bfloat16():
        return False
    if torch.cpu._is_amx_tile_supported():
        return True
    best = {torch.float32: math.inf, torch.bfloat16: math.inf}
    made = {
        kind: (
            torch.ones((_TRIED_ROWS, _TRIED_WIDTH), dtype=kind),
            torch.ones((_TRIED_WIDTH, _TRIED_WIDTH), dtype=kind),
        )
        for kind in best
    }
    for _ in range(_TRIED_TIMES):
        for kind, (rows, weight) in made.items():
            started = time.perf_counter()
            torch.nn.functional.linear(rows, weight)
            best[kind] = min(best[kind], time.perf_counter() - started)
    return best[torch.bfloat16] < best[torch.float32]


def slow_bfloat16(better: str) -> str:
    """What to know before a run in bfloat16 that is slower than in float32.

    ``better`` is what the recipe had better say.
    """
    return (
        "this processor multiplies bfloat16 more slowly than float32; "
        f'set precision = "{better}" in the recipe'
    )


def quiet_libraries() -> None:
    """Let transformers, datasets and the hub's client say nothing but errors, unless asked to.

    Their reports and bars would break into our own progress; what they report is checked.
    """
    if speech.verbose:
        return
    import transformers

    settings: Any = transformers.logging
    settings.set_verbosity_error()
    settings.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if datasets := sys.modules.get("datasets"):
        datasets.disable_progress_bars()


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


@dataclass(frozen=True, slots=True)
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
    family = model_type(raw)
    for key, constant in FAMILIES.get(family, Family()).constants.items():
        if raw.get(key, constant) != constant:
            return Unsupported(
                f"{key} = {_short(raw[key])} (the code of {family} computes with {constant})",
                f"Give a model whose {key} is {constant}.",
            )
    code = raw.get("auto_map") or {}
    if family in _CLASSIC and any(str(name).startswith("AutoModel") for name in code):
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

    own = {field.name for field in fields(kind)}
    own |= {name for name in dir(kind) if not hasattr(PretrainedConfig, name)}
    return key in own or (key.startswith("rope_") and "rope_parameters" in own)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def reads_segments(config: Any) -> bool:
    """Whether a model has a table of segments that ``token_type_ids`` may point into."""
    return (getattr(config, "type_vocab_size", 0) or 0) > 1
