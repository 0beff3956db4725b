"""MiniLMv2 relations: their layers, heads and weights (docs/method.md, section 8.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from transformers import PreTrainedModel

from augment.contract.foreign import counted
from distill.errors import MappingInvalid, ShapeMismatch
from distill.recipes.schema import Layerwise

PAPER_HEADS = 48  # relation heads of MiniLMv2 for a teacher of 12 attention heads
SMALLEST_HEAD = 8


@dataclass(frozen=True, slots=True)
class RelationPlan:
    """Relations that one student layer learns from one teacher layer.

    Layers are counted from 1, relation heads are the same on both sides, and weights are those of
    the relations of ``query``, ``key`` and ``value``.
    """

    student_layer: int
    teacher_layer: int
    heads: int
    weights: dict[str, float]

    def __str__(self) -> str:
        names = ", ".join(f"{name}-{name}" for name in self.weights)
        return (
            f"{names} relations of teacher layer {self.teacher_layer}, "
            f"{counted(self.heads, 'head')}"
        )


def plan_relations(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    mapping: tuple[int, ...],
    recipe: Layerwise,
) -> RelationPlan | None:
    """Decide whether attention is learnt by relations, and by which.

    None if scores are compared head by head, or attention has no weight.

    Raises:
        ShapeMismatch: Scores are asked for and heads differ; or the relation heads do not divide
            both widths; or weights are given by layer.
        MappingInvalid: The teacher has no such layer.
    """
    student_heads = student.config.num_attention_heads
    teacher_heads = teacher.config.num_attention_heads
    if not recipe.attends or (recipe.attention != "relations" and student_heads == teacher_heads):
        return None
    if recipe.attention == "scores":
        raise ShapeMismatch(
            f"the student has {counted(student_heads, 'attention head')}, the "
            f"teacher {teacher_heads}; "
            "attention scores are matched head by head.",
            f"Choose a student with {counted(teacher_heads, 'head')} (such as "
            f"4x312-1200-{teacher_heads}), or "
            'set attention = "relations", which any numbers of heads have.',
        )
    if isinstance(recipe.weights.attention, tuple):
        raise ShapeMismatch(
            f"the student has {counted(student_heads, 'attention head')}, the "
            f"teacher {teacher_heads}, so "
            "relations of one layer are compared; weights.attention lists one number for each "
            "layer.",
            "Give it a single number.",
        )
    chosen = recipe.relations
    layer = mapping[-1] if chosen.layer == "auto" else chosen.layer
    if layer > teacher.config.num_hidden_layers:
        raise MappingInvalid(
            f"relations.layer is {layer}; the teacher has "
            f"{counted(teacher.config.num_hidden_layers, 'layer')}.",
            "Layers are counted from 1.",
        )
    each = {"query": chosen.query, "key": chosen.key, "value": chosen.value}
    weights = {name: recipe.weights.attention * w for name, w in each.items() if w}
    heads = _relation_heads(student.config.hidden_size, teacher.config.hidden_size, chosen.heads)
    return RelationPlan(len(mapping), layer, heads, weights)


def _relation_heads(student_width: int, teacher_width: int, heads: int | str) -> int:
    """As the recipe says; ``auto``: the most up to 48 that leave each at least 8 dimensions."""
    common = math.gcd(student_width, teacher_width)
    divisors = [count for count in range(1, common + 1) if common % count == 0]
    if isinstance(heads, str):
        most = min(PAPER_HEADS, student_width // SMALLEST_HEAD, teacher_width // SMALLEST_HEAD)
        return max(count for count in divisors if count <= max(1, most))
    if heads not in divisors:
        raise ShapeMismatch(
            f"relations.heads is {heads}, which does not divide both the student's "
            f"width {student_width} and the teacher's {teacher_width}.",
            f"Possible are {', '.join(map(str, divisors))}.",
        )
    return heads
