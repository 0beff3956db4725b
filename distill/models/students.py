"""Students: by published name, by shape, or from a checkpoint; and how they start."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from augment.contract import TaskSpec
from distill.errors import ModelInvalid, VocabularyMismatch
from distill.models.folders import PICKLED, SAFETENSORS, folder_digest, model_folder
from distill.models.labels import label_settings
from distill.models.layer_init import can_init_from_layers, init_from_layers
from distill.models.loading import (
    Classifier,
    Encoder,
    fresh,
    read_config,
    read_tokenizer,
    read_weights,
    same_vocabulary,
)
from distill.models.low_rank import Affine
from distill.models.projections import Pretrained
from distill.models.shapes import NAMED, InputSpec, config_of, parse_shape

Init = Literal["auto", "random", "teacher-layers"]

TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "spm.model", "sentencepiece.bpe.model")
WEIGHTS = ("model.safetensors", "model-", "pytorch_model")
_PROJECTION = re.compile(r"fit_dense(?:s\.(\d+))?\.(weight|bias)")


@dataclass(frozen=True, slots=True)
class Student:
    """A student before training.

    Attributes:
        model: With a classification head for the task, or without one; float32.
        origin: Where its weights come from, in words.
        tokenizer: What it reads with: the teacher's, or its own where that differs.
        pretrained: Projections of a general student's checkpoint, or nothing.
        mapping: Teacher layer for each of its layers; empty where nobody asks for it.
    """

    model: PreTrainedModel
    origin: str
    tokenizer: PreTrainedTokenizerBase
    pretrained: Pretrained = ()
    mapping: tuple[int, ...] = ()


def resolve_init(init: Init, name: str, teacher: str) -> Init:
    """How a student starts: ``auto`` is from its teacher's layers, where its shape allows it.

    A shape without a family stays a BERT.

    Raises:
        ModelNotFound: There is no such teacher.
    """
    shape = parse_shape(name) if init == "auto" else None
    if shape is None:
        return "random" if init == "auto" else init
    config = read_config(teacher)
    same = (shape.family or "bert") == config.model_type
    return "teacher-layers" if same and can_init_from_layers(shape, config) else "random"


def student_identity(name: str, init: Init) -> dict[str, str]:
    """What a student is and how it starts; a checkpoint by its digest, starting from itself.

    Raises:
        ModelInvalid: The name is neither a shape nor a model.
    """
    if parse_shape(name):
        return {"student": name, "init": init}
    try:
        return {"student": folder_digest(name), "init": "checkpoint"}
    except ModelInvalid as error:
        raise type(error)(
            f"student {name!r} is neither a known name ({', '.join(NAMED)}) nor a shape such as "
            f"4x312-1200-12 nor a model: {error.problem}",
            error.hint,
        ) from error


def student_layers(name: str) -> int:
    """How many layers a student has, before it is built."""
    shape = parse_shape(name)
    return shape.layers if shape else int(read_config(name).num_hidden_layers)


def build_student(
    name: str,
    task: TaskSpec | None,
    teacher: Classifier | Encoder,
    *,
    init: Init,
    mapping: Sequence[int],
    seed: int,
    own_vocabulary: bool = False,
) -> Student:
    """Build and initialize a student.

    Args:
        name: ``tinybert-4l-312d``, ``tinybert-6l-768d``, a shape such as ``4x312-1200-12``
            (layers x hidden - intermediate - heads; a BERT, another family as in
            ``roberta:4x312-1200-12``), a checkpoint, or a folder with a config alone.
        task: Gives the labels of the head; without a task there is no head.
        teacher: Gives the vocabulary and, with ``teacher-layers``, the weights.
        init: How a shape starts, settled; a checkpoint starts from itself.
        mapping: Teacher layer for each student layer.
        seed: Of the random weights.
        own_vocabulary: Whether a checkpoint may split text in another way than the teacher:
            where nothing is compared token by token.

    Raises:
        ModelInvalid: The name is neither, or the checkpoint does not fit the teacher.
    """
    set_seed(seed)
    shape = parse_shape(name)
    if shape is None:
        student = _from_folder(name, task, teacher, own_vocabulary)
    elif init == "teacher-layers":
        part = init_from_layers(shape, teacher, mapping, seed=seed, labels=_labels(task))
        student = Student(part.model, part.origin, teacher.tokenizer, part.pretrained)
    else:
        config = config_of(shape, reading_of(teacher), _labels(task))
        student = Student(fresh(config, head=task is not None), "random weights", teacher.tokenizer)
    return dataclasses.replace(student, mapping=tuple(mapping))


def _labels(task: TaskSpec | None) -> dict[str, Any]:
    return label_settings(task) if task else {}


def reading_of(teacher: Classifier | Encoder) -> InputSpec:
    """What a student without a tokenizer of its own takes over."""
    config = teacher.model.config
    segments = max(1, getattr(config, "type_vocab_size", None) or 1)
    return InputSpec(teacher.tokenizer, config.vocab_size, segments)


def _from_folder(
    name: str, task: TaskSpec | None, teacher: Classifier | Encoder, own_vocabulary: bool
) -> Student:
    """A general student, its projections where it has them; or what a config alone describes."""
    folder, head = model_folder(name), task is not None
    reads = any((folder / file).is_file() for file in TOKENIZERS)
    tokenizer = _tokenizer(name, teacher, own_vocabulary) if reads else teacher.tokenizer
    config = read_config(name, **_labels(task))
    if not any(file.name.startswith(WEIGHTS) for file in folder.iterdir()):
        if not reads:
            reading = reading_of(teacher)
            config.update({"vocab_size": reading.pieces, "pad_token_id": reading.padding})
        return Student(fresh(config, head=head), f"random weights, shape of {name}", tokenizer)
    if not reads and config.vocab_size != teacher.model.config.vocab_size:
        raise VocabularyMismatch(
            f"{name} has {config.vocab_size:,} embeddings and no tokenizer, the teacher has "
            f"{teacher.model.config.vocab_size:,}.",
            "Teacher and student need the same vocabulary, or the student its tokenizer.json.",
        )
    pretrained = checkpoint_projections(folder)
    words = f"general student {name}" if pretrained else f"checkpoint {name}"
    return Student(read_weights(name, config, head=head), words, tokenizer, pretrained)


def _tokenizer(
    name: str, teacher: Classifier | Encoder, own_vocabulary: bool
) -> PreTrainedTokenizerBase:
    """The teacher's tokenizer, unless the student has another one and may."""
    own = read_tokenizer(name)
    if own.get_vocab() == teacher.tokenizer.get_vocab():
        return teacher.tokenizer
    if not own_vocabulary:
        same_vocabulary("the teacher", teacher.tokenizer, name, own)
    return own


def checkpoint_projections(folder: Path) -> Pretrained:
    """The projections in a TinyBERT checkpoint: one (``fit_dense``), or M + 1 (``fit_denses.N``).

    Returns:
        Maps with weights of shape (d, d'), from the embeddings upwards; empty without any.
    """
    found: dict[int, dict[str, Tensor]] = {}
    for key, tensor in _checkpoint(folder).items():
        match = _PROJECTION.search(key)
        if match:
            found.setdefault(int(match[1] or 0), {})[match[2]] = tensor.float()
    whole = [found[index] for index in sorted(found) if len(found[index]) == 2]
    return tuple(Affine(**pair) for pair in whole)


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
