from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.errors import MappingInvalid
from distill.stages.layer_mapping import layer_map


@pytest.mark.parametrize(
    ("student", "teacher", "strategy", "expected"),
    [
        (4, 12, "uniform", (3, 6, 9, 12)),
        (6, 12, "uniform", (2, 4, 6, 8, 10, 12)),
        (12, 12, "uniform", tuple(range(1, 13))),
        (1, 12, "uniform", (12,)),
        (4, 6, "uniform", (2, 3, 5, 6)),  # 1.5 3 4.5 6: halves go up
        (5, 12, "uniform", (2, 5, 7, 10, 12)),  # 2.4 4.8 7.2 9.6 12
        (4, 12, "top", (9, 10, 11, 12)),
        (4, 12, "bottom", (1, 2, 3, 4)),
        (3, 12, [1, 5, 12], (1, 5, 12)),
    ],
)
def test_known_maps(student: int, teacher: int, strategy: Any, expected: Any) -> None:
    assert layer_map(student, teacher, strategy) == expected


@settings(deadline=None)
@given(st.integers(1, 48), st.integers(0, 48))
def test_uniform_always_climbs_to_the_last_layer(student: Any, more: Any) -> None:
    teacher = student + more
    layers = layer_map(student, teacher)
    steps = [b - a for a, b in zip((0, *layers), layers, strict=False)]

    assert layers[-1] == teacher
    assert min(steps) >= 1
    assert max(steps[1:], default=0) - min(steps[1:], default=0) <= 1


@pytest.mark.parametrize(
    ("student", "teacher", "strategy", "sentence"),
    [
        (5, 4, "uniform", "a student of 5 layers cannot be mapped"),
        (4, 12, [3, 6, 9], r"\[3, 6, 9\] names 3 layers, the student has 4"),
        (2, 4, [0, 4], r"\[0\] lie outside the teacher's layers 1 to 4"),
        (2, 4, [4, 4], "not strictly increasing"),
        (2, 4, "middle", "unknown mapping 'middle'"),
    ],
)
def test_impossible_maps_are_refused(
    student: int, teacher: int, strategy: Any, sentence: str
) -> None:
    with pytest.raises(MappingInvalid, match=sentence):
        layer_map(student, teacher, strategy)
