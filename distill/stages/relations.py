"""What MiniLMv2's relation losses compare, decided before anything is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from transformers import PreTrainedModel

from distill.errors import MappingInvalid, ShapeMismatch
from distill.recipes.schema import Layerwise

PAPER_HEADS = 48  # relation heads of MiniLMv2 for a teacher of 12 attention heads
SMALLEST_HEAD = 8


@dataclass(frozen=True, slots=True)
class RelationPlan:
    """One student layer learns the relations of one teacher layer.

    Attributes:
        student_layer: Its last, counted from 1.
        teacher_layer: Counted from 1.
        heads: Relation heads on both sides.
        weights: ``query``, ``key`` and ``value`` to the weight of their relations.
    """

    student_layer: int
    teacher_layer: int
    heads: int
    weights: dict[str, float]

    def __str__(self) -> str:
        names = ", ".join(f"{name}-{name}" for name in self.weights)
        return f"{names} relations of teacher layer {self.teacher_layer}, {self.heads} heads"


def plan_relations(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    mapping: tuple[int, ...],
    recipe: Layerwise,
) -> RelationPlan | None:
    """Whether attention is learnt by relations, and by which.

    Returns:
        The plan; nothing where scores are compared head by head, or attention does not count.

    Raises:
        ShapeMismatch: Scores are asked for and heads differ; or the relation heads do not divide
            both widths; or weights are given by layer.
        MappingInvalid: The teacher has no such layer.
    """
    ours, theirs = student.config.num_attention_heads, teacher.config.num_attention_heads
    if not recipe.attends or (recipe.attention != "relations" and ours == theirs):
        return None
    if recipe.attention == "scores":
        raise ShapeMismatch(
            f"the student has {ours} attention heads, the teacher {theirs}; attention scores are "
            "matched head by head.",
            f"Choose a student with {theirs} heads (such as 4x312-1200-{theirs}), or set "
            'attention = "relations", which any numbers of heads have.',
        )
    if isinstance(recipe.weights.attention, tuple):
        raise ShapeMismatch(
            f"the student has {ours} attention heads, the teacher {theirs}, so relations of one "
            "layer are compared; weights.attention lists one number for each layer.",
            "Give it a single number.",
        )
    layer = mapping[-1] if recipe.relations.layer == "auto" else recipe.relations.layer
    if layer > teacher.config.num_hidden_layers:
        raise MappingInvalid(
            f"relations.layer is {layer}; the teacher has "
            f"{teacher.config.num_hidden_layers} layers.",
            "Layers are counted from 1.",
        )
    chosen = recipe.relations
    each = {"query": chosen.query, "key": chosen.key, "value": chosen.value}
    weights = {name: recipe.weights.attention * w for name, w in each.items() if w}
    heads = _heads(student.config.hidden_size, teacher.config.hidden_size, chosen.heads)
    return RelationPlan(len(mapping), layer, heads, weights)


def _heads(ours: int, theirs: int, wanted: int | str) -> int:
    both = math.gcd(ours, theirs)
    most = min(PAPER_HEADS, ours // SMALLEST_HEAD, theirs // SMALLEST_HEAD)
    common = [count for count in range(1, both + 1) if both % count == 0]
    if isinstance(wanted, str):
        return max(count for count in common if count <= max(1, most))
    if wanted not in common:
        raise ShapeMismatch(
            f"relations.heads is {wanted}, which does not divide both the student's "
            f"width {ours} and the teacher's {theirs}.",
            f"Possible are {', '.join(map(str, common))}.",
        )
    return wanted
