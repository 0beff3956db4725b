"""Students: by published name, by shape, or from a checkpoint; and how they start."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import (
    BertConfig,
    PreTrainedModel,
    set_seed,
)

from augment.contract import TaskSpec
from distill.errors import ModelInvalid, ShapeMismatch, VocabularyMismatch
from distill.labels import label_settings
from distill.models import (
    PICKLED,
    SAFETENSORS,
    Classifier,
    fresh,
    model_folder,
    read_config,
    read_tokenizer,
    read_weights,
    same_vocabulary,
)
from distill.projections import Pretrained

Init = Literal["random", "teacher-layers"]


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a BERT: layers x hidden - intermediate - heads."""

    layers: int
    hidden: int
    intermediate: int
    heads: int


NAMED = {
    "tinybert-4l-312d": Shape(4, 312, 1200, 12),
    "tinybert-6l-768d": Shape(6, 768, 3072, 12),
}
_SHAPE = re.compile(r"(\d{1,3})x(\d{1,5})-(\d{1,6})-(\d{1,3})")
_LAYER = re.compile(r"(?<=layer\.)\d+(?=\.)|(?<=layers\.)\d+(?=\.)")
_PROJECTION = re.compile(r"fit_dense(?:s\.(\d+))?\.(weight|bias)")


@dataclass(frozen=True, slots=True)
class Student:
    """A student before training.

    Attributes:
        model: With a classification head for the task, float32.
        origin: Where its weights come from, in words.
        pretrained: Projections of a general student's checkpoint, or nothing.
    """

    model: PreTrainedModel
    origin: str
    pretrained: Pretrained = ()


def parse_shape(name: str) -> Shape | None:
    """A published name or ``4x312-1200-12`` as a shape; nothing where it is neither.

    Raises:
        ShapeMismatch: The width is not a multiple of the heads, or a number is 0.
    """
    if name in NAMED:
        return NAMED[name]
    match = _SHAPE.fullmatch(name)
    if not match:
        return None
    shape = Shape(*map(int, match.groups()))
    if min(shape.layers, shape.hidden, shape.intermediate, shape.heads) < 1:
        raise ShapeMismatch(f"student {name}: every number must be at least 1.")
    if shape.hidden % shape.heads:
        raise ShapeMismatch(
            f"student {name}: width {shape.hidden} is not a multiple of {shape.heads} heads.",
            "Write layers x hidden - intermediate - heads, such as 4x312-1200-12.",
        )
    return shape


def student_layers(name: str) -> int:
    """How many layers a student has, before it is built."""
    shape = parse_shape(name)
    return shape.layers if shape else int(read_config(name).num_hidden_layers)


def build_student(
    name: str,
    task: TaskSpec,
    teacher: Classifier,
    *,
    init: Init,
    mapping: Sequence[int],
    seed: int,
) -> Student:
    """Build and initialise a student.

    Args:
        name: A published name, a shape such as ``4x312-1200-12``, or a checkpoint.
        task: Gives the labels of the head.
        teacher: Gives the vocabulary and, with ``teacher-layers``, the weights.
        init: How a shape starts; a checkpoint starts from itself.
        mapping: Teacher layer for each student layer.
        seed: Of the random weights.

    Raises:
        ModelInvalid: The name is neither, or the checkpoint does not fit the teacher.
    """
    set_seed(seed)
    shape = parse_shape(name)
    if shape is None:
        return _from_checkpoint(name, task, teacher)
    if init == "teacher-layers":
        return _from_teacher(shape, task, teacher, mapping)
    model = fresh(_bert(shape, teacher, label_settings(task)))
    return Student(model, "random weights")


def _bert(shape: Shape, teacher: Classifier, labels: dict[str, Any]) -> BertConfig:
    config = teacher.model.config
    return BertConfig(
        vocab_size=config.vocab_size,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.intermediate,
        max_position_embeddings=512,
        type_vocab_size=max(1, getattr(config, "type_vocab_size", 2)),
        pad_token_id=teacher.tokenizer.pad_token_id,
        **labels,
    )


def _from_teacher(
    shape: Shape, task: TaskSpec, teacher: Classifier, mapping: Sequence[int]
) -> Student:
    """Embeddings, pooler and the mapped layers of the teacher; a fresh head."""
    config = teacher.model.config
    theirs = Shape(
        shape.layers,
        config.hidden_size,
        getattr(config, "intermediate_size", None) or config.hidden_dim,
        config.num_attention_heads,
    )
    if theirs != shape:
        raise ShapeMismatch(
            f"--init teacher-layers needs the teacher's width: expected "
            f"{theirs.hidden}-{theirs.intermediate}-{theirs.heads}, "
            f"found {shape.hidden}-{shape.intermediate}-{shape.heads}.",
            f"Use --student {shape.layers}x{theirs.hidden}-{theirs.intermediate}-{theirs.heads}, "
            "or --init random.",
        )
    changed = type(config).from_dict({**config.to_dict(), "num_hidden_layers": shape.layers})
    changed.update(label_settings(task))
    model = fresh(changed)
    source = teacher.model.base_model.state_dict()
    chosen = {}
    for key in model.base_model.state_dict():
        number = _LAYER.search(key)
        layer = mapping[int(number.group())] - 1 if number else None
        chosen[key] = source[key if layer is None else _LAYER.sub(str(layer), key, count=1)]
    model.base_model.load_state_dict(chosen)
    return Student(model, f"teacher layers {', '.join(map(str, mapping))}")


def _from_checkpoint(name: str, task: TaskSpec, teacher: Classifier) -> Student:
    """A general student: its encoder, its projections where it has them, a head for the task."""
    try:
        folder = model_folder(name)
    except ModelInvalid as error:
        raise type(error)(
            f"student {name!r} is neither a known name ({', '.join(NAMED)}) nor a shape such as "
            f"4x312-1200-12 nor a model: {error.problem}",
            error.hint,
        ) from error
    config = read_config(name, **label_settings(task))
    if any((folder / file).is_file() for file in ("vocab.txt", "tokenizer.json", "vocab.json")):
        same_vocabulary("the teacher", teacher.tokenizer, name, read_tokenizer(name))
    elif config.vocab_size != teacher.model.config.vocab_size:
        raise VocabularyMismatch(
            f"{name} has {config.vocab_size:,} embeddings and no tokenizer, the teacher has "
            f"{teacher.model.config.vocab_size:,}.",
            "Teacher and student need the same vocabulary.",
        )
    pretrained = checkpoint_projections(folder)
    words = f"general student {name}" if pretrained else f"checkpoint {name}"
    return Student(read_weights(name, config), words, pretrained)


def checkpoint_projections(folder: Path) -> Pretrained:
    """The projections in a TinyBERT checkpoint: one (``fit_dense``), or M + 1 (``fit_denses.N``).

    Returns:
        Pairs of weight (d, d') and bias (d,), from the embeddings upwards; empty without any.
    """
    found: dict[int, dict[str, Tensor]] = {}
    for key, tensor in _checkpoint(folder).items():
        match = _PROJECTION.search(key)
        if match:
            found.setdefault(int(match[1] or 0), {})[match[2]] = tensor.float()
    whole = [found[index] for index in sorted(found) if len(found[index]) == 2]
    return tuple((pair["weight"], pair["bias"]) for pair in whole)


def _checkpoint(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    if (folder / SAFETENSORS).is_file():
        return load_file(folder / SAFETENSORS)
    if (folder / PICKLED).is_file():
        loaded: dict[str, Tensor] = torch.load(
            folder / PICKLED, map_location="cpu", weights_only=True
        )
        return loaded
    return {}


def check_length(max_length: int, name: str, config: Any) -> None:
    """Refuse texts longer than a model's position table.

    Raises:
        ModelInvalid: ``max_length`` exceeds it.
    """
    reserved = 2 if config.model_type in ("roberta", "xlm-roberta", "camembert") else 0
    most = getattr(config, "max_position_embeddings", max_length) - reserved
    if max_length > most:
        raise ModelInvalid(
            f"max_length is {max_length} pieces, {name} reads at most {most}.",
            f"Set max_length = {most} in the recipe.",
        )
