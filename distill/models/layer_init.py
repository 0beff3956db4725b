"""Students that are parts of their teacher: some of its layers, as they are or made narrower."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from transformers import PreTrainedModel

from augment.contract.models import FAMILIES as BERT_SHAPED
from augment.contract.models import max_input_length
from distill.errors import ShapeMismatch
from distill.models.loading import Classifier, Encoder, Student, fresh
from distill.models.shapes import FAMILIES, POSITIONS, Shape, intermediate_size
from distill.models.width_pruning import measured_inputs, prune_width

_LAYER = re.compile(r"(?<=layer\.)\d+(?=\.)|(?<=layers\.)\d+(?=\.)")
_DEPTH = "num_hidden_layers"


def init_from_layers(
    shape: Shape,
    teacher: Classifier | Encoder,
    mapping: Sequence[int],
    *,
    seed: int,
    labels: Mapping[str, Any],
    texts: Iterable[Sequence[int]] = (),
) -> Student:
    """Embeddings, pooler and the mapped layers of the teacher, where needed made narrower.

    Args:
        shape: As deep as ``mapping`` is long, of the teacher's kind; narrower for some kinds.
        teacher: Gives the weights.
        mapping: Teacher layer for each student layer, counted from 1.
        seed: Of random tokens that narrowing is measured on, where texts are few.
        labels: Settings of a head, see ``labels.label_settings``; without any there is no head.
        texts: Token ids of texts that narrowing is measured on.

    Raises:
        ShapeMismatch: No part of this teacher has this shape.
    """
    config = teacher.model.config
    theirs = _like(shape, config)
    if theirs != shape and not can_init_from_layers(shape, config):
        raise ShapeMismatch(
            "--init teacher-layers needs a student of the teacher's kind, at most as wide, with "
            f"as many heads: expected {theirs}, or a BERT, RoBERTa, ELECTRA or MPNet made "
            f"narrower; found {shape}.",
            f"Use --student {theirs}, or --init random.",
        )
    settings: dict[str, Any] = {
        **config.to_dict(),
        config.attribute_map.get(_DEPTH, _DEPTH): shape.layers,
        **({} if theirs == shape else _thinner(shape, config)),
    }
    if config.model_type == "modernbert":  # which layers see everything
        settings["layer_types"] = [config.layer_types[layer - 1] for layer in mapping]
    changed = type(config).from_dict(settings)
    changed.update(dict(labels))
    model = fresh(changed, head=bool(labels))
    origin = f"teacher layers {', '.join(map(str, mapping))}"
    if theirs == shape:
        _copy_layers(model, teacher.model, mapping)
        return Student(model, origin, teacher.tokenizer)
    longest = max_input_length(config) or POSITIONS
    inputs = measured_inputs(teacher.model, teacher.tokenizer, texts, seed, longest)
    projection = prune_width(model, teacher.model, mapping, inputs)
    return Student(model, f"{origin}, made narrower", teacher.tokenizer, (projection,))


def can_init_from_layers(shape: Shape, config: Any) -> bool:
    """Whether a student of this shape can be a part of a teacher with this config."""
    family = BERT_SHAPED.get(config.model_type)
    known = family is not None or config.model_type in FAMILIES
    if not known or shape.layers > config.num_hidden_layers:
        return False
    theirs = _like(shape, config)
    smaller = shape.hidden <= theirs.hidden and shape.heads == theirs.heads
    whole = getattr(config, "embedding_size", None) in (None, config.hidden_size)
    narrows = family is not None and family.narrows and shape.family == theirs.family
    return theirs == shape or (smaller and narrows and whole)


def _like(shape: Shape, config: Any) -> Shape:
    """The teacher's own shape, as deep as the student's."""
    return Shape(
        shape.layers,
        config.hidden_size,
        intermediate_size(config),
        config.num_attention_heads,
        config.model_type if shape.family else "",
    )


def _thinner(shape: Shape, config: Any) -> dict[str, int]:
    size = {"hidden_size": shape.hidden, "intermediate_size": shape.intermediate}
    return {**size, "embedding_size": shape.hidden} if hasattr(config, "embedding_size") else size


def _copy_layers(
    student: PreTrainedModel, teacher: PreTrainedModel, mapping: Sequence[int]
) -> None:
    source = teacher.base_model.state_dict()
    one_for_all = hasattr(teacher.config, "num_hidden_groups")  # ALBERT
    chosen = {}
    for key in student.base_model.state_dict():
        number = None if one_for_all else _LAYER.search(key)
        layer = mapping[int(number.group())] - 1 if number else None
        chosen[key] = source[key if layer is None else _LAYER.sub(str(layer), key, count=1)]
    student.base_model.load_state_dict(chosen)
