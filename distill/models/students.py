"""Students: by published name, by shape, or from a checkpoint; and how they start."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from augment.contract import TaskSpec
from augment.contract.foreign import counted
from augment.contract.model_folders import has_tokenizer, read_tensors
from augment.contract.models import COUNT_FROM_PADDING
from distill.errors import ModelInvalid, VocabularyMismatch
from distill.models.folders import folder_digest, model_folder
from distill.models.labels import label_settings
from distill.models.layer_init import can_init_from_layers, init_from_layers
from distill.models.loading import (
    UNTUNED,
    Classifier,
    Encoder,
    Student,
    fresh,
    read_config,
    read_tokenizer,
    read_weights,
    same_vocabulary,
    tried,
)
from distill.models.low_rank import Affine
from distill.models.projections import Pretrained
from distill.models.seeding import seeded
from distill.models.shapes import (
    NAMED,
    InputSpec,
    Shape,
    check_padding,
    config_of,
    fixed_padding,
    parse_shape,
)

Init = Literal["auto", "random", "teacher-layers"]

WEIGHTS = (
    ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".index", ".gguf", ".onnx",
)  # fmt: skip
"""Ends of the names of files that hold weights, also of kinds that are not read."""
PROJECTION = re.compile(r"fit_dense(?:s\.(\d+))?\.(weight|bias)")
"""Names of the projections of a general student, which lie with its weights."""


@dataclass(frozen=True, slots=True)
class ShapeSpec:
    """A student given by its size, with its name as the user wrote it, and how it starts."""

    name: str
    shape: Shape
    init: Literal["random", "teacher-layers"]

    @property
    def n_layers(self) -> int:
        """How many layers it has."""
        return self.shape.layers

    def identity(self) -> dict[str, str]:
        """What decides its weights before training, as ``run.json`` keeps it."""
        return {"student": self.name, "init": self.init}


@dataclass(frozen=True, slots=True)
class CheckpointSpec:
    """A student given by a model folder, with or without weights; it starts from itself."""

    name: str
    folder: Path
    n_layers: int

    @property
    def reads(self) -> bool:
        """Whether it has a tokenizer of its own."""
        return has_tokenizer(self.folder)

    def identity(self) -> dict[str, str]:
        """What decides its weights before training, as ``run.json`` keeps it."""
        return {"student": folder_digest(str(self.folder)), "init": "checkpoint"}


StudentSpec = ShapeSpec | CheckpointSpec


def parse_student(name: str, init: Init, teacher: str | None) -> StudentSpec:
    """What a user's words for a student mean.

    Args:
        name: ``tinybert-4l-312d``, ``tinybert-6l-768d``, a shape such as ``4x312-1200-12``
            (layers x hidden - intermediate - heads; a BERT, another family as in
            ``roberta:4x312-1200-12``), a checkpoint, or a folder with a config alone.
        init: How a shape starts; ``auto`` is from its teacher's layers, where it can be a part of
            that teacher. A shape without a family stays a BERT.
        teacher: Folder or hub name; its config is read for ``auto``. None where there is none.

    Raises:
        ModelInvalid: The name is neither a shape nor a model; or there is no such teacher.
    """
    shape = parse_shape(name)
    if shape is None:
        try:
            folder = model_folder(name)
        except ModelInvalid as error:
            raise type(error)(
                f"student {name!r} is neither a known name ({', '.join(NAMED)}) nor a shape such "
                f"as 4x312-1200-12 nor a model: {error.problem}",
                error.hint,
            ) from error
        return CheckpointSpec(name, folder, int(read_config(str(folder)).num_hidden_layers))
    if init == "auto":
        init = "teacher-layers" if teacher and _may_be_part(shape, teacher) else "random"
    return ShapeSpec(name, shape, init)


def _may_be_part(shape: Shape, teacher: str) -> bool:
    config = read_config(teacher)
    same = (shape.family or "bert") == config.model_type
    return same and can_init_from_layers(shape, config)


def build_student(
    spec: StudentSpec,
    task: TaskSpec | None,
    teacher: Classifier | Encoder | None,
    *,
    mapping: Sequence[int],
    seed: int,
    own_vocabulary: bool = False,
    texts: Iterable[Sequence[int]] = (),
) -> Student:
    """Build and initialize a student; the same arguments give the same weights.

    Args:
        spec: What it is and how it starts.
        task: Gives the labels of the head; without a task there is no head.
        teacher: Gives the vocabulary and, with ``teacher-layers``, the weights; None where a
            checkpoint brings its own.
        mapping: Teacher layer for each student layer.
        seed: Of the random weights.
        own_vocabulary: Whether a checkpoint may split text in another way than the teacher:
            where nothing is compared token by token.
        texts: Token ids of texts, by which a teacher's layers are made narrower; random tokens
            make up for what they lack.

    Raises:
        ModelInvalid: It does not fit the teacher.
    """
    labels = label_settings(task) if task else {}

    def build() -> Student:
        if isinstance(spec, CheckpointSpec):
            return _from_folder(spec, labels, teacher, own_vocabulary)
        assert teacher is not None, "a shape has no vocabulary of its own"
        if spec.init == "teacher-layers":
            return init_from_layers(
                spec.shape, teacher, mapping, seed=seed, labels=labels, texts=texts
            )
        config = config_of(spec.shape, input_spec(teacher), labels)
        return Student(fresh(config, head=bool(labels)), "random weights", teacher.tokenizer)

    return dataclasses.replace(seeded(seed, build), mapping=tuple(mapping))


def input_spec(teacher: Classifier | Encoder) -> InputSpec:
    """What a student without a tokenizer of its own takes over."""
    config = teacher.model.config
    segments = max(1, getattr(config, "type_vocab_size", None) or 1)
    return InputSpec(teacher.tokenizer, config.vocab_size, segments)


def _from_folder(
    spec: CheckpointSpec,
    labels: dict[str, Any],
    teacher: Classifier | Encoder | None,
    own_vocabulary: bool,
) -> Student:
    """A general student, its projections where it has them; or what a config alone describes."""
    folder, head = spec.folder, bool(labels)
    tokenizer = _tokenizer(spec, teacher, own_vocabulary)
    config = read_config(str(folder), **labels)
    files = {file.name for file in folder.iterdir()} - {"training_args.bin"}
    lacking = None if spec.reads else teacher
    if not any(name.endswith(WEIGHTS) for name in files):
        if lacking:
            inputs, family = input_spec(lacking), config.model_type
            check_padding(spec.name, family, fixed_padding(family), inputs)
            config.update({"vocab_size": inputs.vocab_size, "pad_token_id": inputs.padding})
        model = tried(spec.name, fresh(config, head=head), tokenizer)
        return Student(model, f"random weights, shape of {spec.name}", tokenizer)
    if lacking and config.vocab_size != lacking.model.config.vocab_size:
        raise VocabularyMismatch(
            f"{spec.name} has {counted(config.vocab_size, 'embedding')} and no "
            f"tokenizer, {lacking.name} "
            f"has {lacking.model.config.vocab_size:,}.",
            "Teacher and student need the same vocabulary, or the student its tokenizer.json.",
        )
    if lacking and config.model_type in COUNT_FROM_PADDING:
        check_padding(spec.name, config.model_type, config.pad_token_id, input_spec(lacking))
    model = read_weights(str(folder), config, head=head, may_start=UNTUNED)
    model = tried(spec.name, model, tokenizer)
    pretrained = checkpoint_projections(folder)
    words = f"general student {spec.name}" if pretrained else f"checkpoint {spec.name}"
    return Student(model, words, tokenizer, pretrained)


def _tokenizer(
    spec: CheckpointSpec, teacher: Classifier | Encoder | None, own_vocabulary: bool
) -> PreTrainedTokenizerBase:
    """The teacher's tokenizer, unless the student has another one and may."""
    if teacher is None:
        return read_tokenizer(str(spec.folder))
    if not spec.reads:
        return teacher.tokenizer
    own = read_tokenizer(str(spec.folder))
    try:
        same_vocabulary(teacher.name, teacher.tokenizer, spec.name, own)
    except VocabularyMismatch:
        if own_vocabulary:
            return own
        raise
    return teacher.tokenizer


def checkpoint_projections(folder: Path) -> Pretrained:
    """The projections in a TinyBERT checkpoint: one (``fit_dense``), or M + 1 (``fit_denses.N``).

    Weights have the shape (d, d'), from the embeddings upwards.
    """
    pairs: dict[int, dict[str, Tensor]] = {}
    for key, tensor in read_tensors(folder, PROJECTION, ModelInvalid).items():
        match = PROJECTION.search(key)
        if match:
            pairs.setdefault(int(match[1] or 0), {})[match[2]] = tensor.float()
    complete = [pairs[index] for index in sorted(pairs) if len(pairs[index]) == 2]
    return tuple(Affine(**pair) for pair in complete)
