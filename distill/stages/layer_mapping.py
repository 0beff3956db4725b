"""Layer mapping n = g(m), from student layers to teacher layers: docs/method.md, section 2. PURE.

Layers are counted from 1; index 0 is the embedding output and always maps to 0, so it is left out
of the tuples here.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from augment.contract.foreign import counted
from distill.errors import MappingInvalid


def layer_map(
    student_layers: int, teacher_layers: int, strategy: str | Sequence[int] = "uniform"
) -> tuple[int, ...]:
    """Assign a teacher layer, counted from 1, to every student layer; strictly increasing.

    With M student and N teacher layers (paper §4.6):

    - ``uniform``: g(m) = m·N/M, rounded to the nearest layer, halves upwards. Where M divides N
      this is the paper's rule; elsewhere steps differ by at most one. The last layer always maps
      to the last one and, as M ≤ N, no teacher layer is used twice.
    - ``top``: g(m) = m + N − M.
    - ``bottom``: g(m) = m.
    - a sequence: one teacher layer per student layer, strictly increasing.

    Raises:
        MappingInvalid: The student is deeper than the teacher, or the explicit layers do not fit.
    """
    if not isinstance(strategy, str):
        return _explicit(tuple(strategy), student_layers, teacher_layers)
    if not 1 <= student_layers <= teacher_layers:
        raise MappingInvalid(
            f"a student of {counted(student_layers, 'layer')} cannot be mapped onto a teacher of "
            f"{teacher_layers}: each student layer needs a teacher layer of its own.",
            "Choose a student with at most as many layers as the teacher.",
        )
    steps = range(1, student_layers + 1)
    if strategy == "uniform":
        doubled = 2 * student_layers
        return tuple((2 * m * teacher_layers + student_layers) // doubled for m in steps)
    if strategy == "top":
        return tuple(m + teacher_layers - student_layers for m in steps)
    if strategy == "bottom":
        return tuple(steps)
    raise MappingInvalid(
        f"layers: unknown mapping {strategy!r}.",
        "Write uniform, top, bottom or a list such as [3, 6, 9, 12].",
    )


def arrows(mapping: Sequence[int]) -> str:
    """A mapping as text, such as ``1→3 2→6``."""
    return " ".join(f"{m}→{n}" for m, n in enumerate(mapping, start=1))


def _explicit(layers: tuple[int, ...], student_layers: int, teacher_layers: int) -> tuple[int, ...]:
    if len(layers) != student_layers:
        raise MappingInvalid(
            f"layers: {list(layers)} names {counted(len(layers), 'layer')}, the "
            f"student has {student_layers}.",
            "Name one teacher layer for each student layer.",
        )
    outside = [layer for layer in layers if not 1 <= layer <= teacher_layers]
    if outside:
        raise MappingInvalid(
            f"layers: {outside} lie outside the teacher's layers 1 to {teacher_layers}.",
            "Layers are counted from 1; the embedding output is mapped by itself.",
        )
    if any(later <= earlier for earlier, later in pairwise(layers)):
        raise MappingInvalid(
            f"layers: {list(layers)} is not strictly increasing.",
            "Deeper student layers must learn from deeper teacher layers.",
        )
    return layers
