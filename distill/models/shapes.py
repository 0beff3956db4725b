"""Students by size: ``4x312-1200-12``, ``roberta:4x312-1200-12``, or a published name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from transformers import AutoConfig, PreTrainedConfig, PreTrainedTokenizerBase

from augment.contract.foreign import counted
from augment.contract.models import FAMILIES as BERT_SHAPED
from augment.contract.models import Family
from distill.errors import ModelInvalid, ShapeMismatch, VocabularyMismatch

FAMILIES = ("bert", "roberta", "electra", "distilbert", "mpnet", "modernbert", "deberta-v2")
POSITIONS = 512


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of an encoder: layers x hidden - intermediate - heads, of one of ``FAMILIES``.

    The family is empty where none was named.
    """

    layers: int
    hidden: int
    intermediate: int
    heads: int
    family: str = ""

    def __str__(self) -> str:
        size = f"{self.layers}x{self.hidden}-{self.intermediate}-{self.heads}"
        return f"{self.family}:{size}" if self.family else size


NAMED = {
    "tinybert-4l-312d": Shape(4, 312, 1200, 12),
    "tinybert-6l-768d": Shape(6, 768, 3072, 12),
}
_SHAPE = re.compile(r"(?:([A-Za-z][\w-]*):)?(\d{1,3})x(\d{1,5})-(\d{1,6})-(\d{1,3})")


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What a student takes over from its teacher's side so that it reads the same tokens.

    Attributes:
        tokenizer: Gives the ids of the special tokens.
        vocab_size: Rows of the embedding table.
        segments: Kinds of segments, at least 1.
    """

    tokenizer: PreTrainedTokenizerBase
    vocab_size: int
    segments: int

    @property
    def padding(self) -> int:
        """The id that fills short rows."""
        return int(self.tokenizer.pad_token_id or 0)


def parse_shape(name: str) -> Shape | None:
    """A published name or a shape with or without a family; nothing where it is neither.

    Raises:
        ShapeMismatch: The width is not a multiple of the heads, or a number is 0.
        ModelInvalid: The family is unknown.
    """
    if name in NAMED:
        return NAMED[name]
    match = _SHAPE.fullmatch(name)
    if not match:
        return None
    family, *numbers = match.groups()
    layers, hidden, intermediate, heads = map(int, numbers)
    shape = Shape(layers, hidden, intermediate, heads, (family or "").lower())
    if shape.family and shape.family not in FAMILIES:
        raise ModelInvalid(
            f"student {name}: there is no family {family!r}; known are {', '.join(FAMILIES)}.",
            "Leave the family out for a BERT, or name a folder with the config.json of another.",
        )
    if min(shape.layers, shape.hidden, shape.intermediate, shape.heads) < 1:
        raise ShapeMismatch(f"student {name}: every number must be at least 1.")
    if shape.hidden % shape.heads:
        raise ShapeMismatch(
            f"student {name}: width {shape.hidden} is not a multiple of "
            f"{counted(shape.heads, 'head')}.",
            "Write layers x hidden - intermediate - heads, such as 4x312-1200-12.",
        )
    return shape


def config_of(shape: Shape, spec: InputSpec, labels: dict[str, Any]) -> PreTrainedConfig:
    """The config of a student of this shape; without a family it is a BERT, whatever the teacher.

    A BERT reads any vocabulary: its positions and segments do not depend on special ids. ``labels``
    are the settings of the head, see ``labels.label_settings``.

    Raises:
        ShapeMismatch: The family cannot have these sizes.
        VocabularyMismatch: Nor this padding.
    """
    family = shape.family or "bert"
    check_padding(str(shape), family, fixed_padding(family), spec)
    settings = {
        "vocab_size": spec.vocab_size,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.intermediate,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": spec.segments,
        "pad_token_id": spec.padding,
        **_of_family(family, shape, spec),
    }
    wanted = {name: value for name, value in settings.items() if value is not None}
    config: PreTrainedConfig = AutoConfig.for_model(family, **wanted, **labels)
    return config


def fixed_padding(family: str) -> int | None:
    """The token that a family's code takes for padding, whatever a config says; mostly none."""
    return BERT_SHAPED.get(family, Family()).constants.get("pad_token_id")


def check_padding(name: str, family: str, wanted: int | None, spec: InputSpec) -> None:
    """Refuse a vocabulary whose padding is not the token that positions are counted from.

    Raises:
        VocabularyMismatch: It is another one; ``name`` is what the user called the student.
    """
    if wanted not in (None, spec.padding):
        raise VocabularyMismatch(
            f"student {name}: {family} takes token {wanted} for padding, in the teacher's "
            f"vocabulary that is token {spec.padding}.",
            "Choose a student of another family: a shape without a family is a BERT, which reads "
            "any vocabulary.",
        )


def intermediate_size(config: PreTrainedConfig) -> int:
    """The width of a model's feed-forward layers, by whatever name its family has for it."""
    return int(getattr(config, "intermediate_size", None) or config.hidden_dim)


def _of_family(family: str, shape: Shape, spec: InputSpec) -> dict[str, Any]:
    """Where a family departs from BERT; nothing stands for a setting that it does not have."""
    match family:
        case "roberta" | "mpnet":  # positions are counted from the padding's id + 1 upwards
            table = {"max_position_embeddings": POSITIONS + spec.padding + 1}
            without = {"type_vocab_size": None} if family == "mpnet" else {}
            return {**table, **without, **_ends(spec)}
        case "electra":
            return {"embedding_size": shape.hidden}
        case "distilbert":
            without = {"intermediate_size": None, "type_vocab_size": None}
            return {"hidden_dim": shape.intermediate, **without}
        case "modernbert":
            return {"type_vocab_size": None, **_modernbert(shape, spec)}
        case "deberta-v2":  # as the published v3 models are
            return {
                "relative_attention": True,
                "pos_att_type": ["c2p", "p2c"],
                "position_buckets": POSITIONS // 2,
                "share_att_key": True,
                "norm_rel_ebd": "layer_norm",
                "position_biased_input": False,
                "type_vocab_size": 0,
            }
    return {}


def _modernbert(shape: Shape, spec: InputSpec) -> dict[str, Any]:
    if shape.hidden // shape.heads % 2:
        raise ShapeMismatch(
            f"student {shape}: a head is {shape.hidden // shape.heads} wide; ModernBERT rotates "
            "pairs of numbers.",
            "Choose a width that is an even multiple of the heads.",
        )
    first, last = spec.tokenizer.cls_token_id, spec.tokenizer.sep_token_id
    return {"cls_token_id": first, "sep_token_id": last, **_ends(spec)}


def _ends(spec: InputSpec) -> dict[str, Any]:
    tokenizer = spec.tokenizer
    first, last = tokenizer.bos_token_id, tokenizer.eos_token_id
    return {
        "bos_token_id": tokenizer.cls_token_id if first is None else first,
        "eos_token_id": tokenizer.sep_token_id if last is None else last,
    }
