"""Filters that ask a model, on numbers of the test: who is refused, and when float64 decides."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from augment.filters.model_filters import (
    SimilarityFilter,
    TeacherFilter,
    best_class,
    rounded_logits,
    score_distance,
)
from augment.filters.rules import Filter
from augment.filters.scorer import Scorer, Scores
from augment.versions.rows import OutputRow, Texts

NOISE = 2e-5


class Table(Scorer):
    """A scorer that looks its float32 values up, and canonical ones where they differ."""

    def __init__(
        self, fast: dict[str, list[float]], exact: dict[str, list[float]] | None = None
    ) -> None:
        self.fast, self.exact = fast, {**fast, **(exact or {})}
        self.scored: list[Texts] = []
        self.settled: list[Texts] = []

    def score(self, rows: Iterable[Texts]) -> Scores:
        self.scored = list(dict.fromkeys(rows))
        return Scores({row: np.array(self.fast[row[0]]) for row in self.scored}, self._canonical)

    def _canonical(self, texts: Texts) -> np.ndarray:
        self.settled.append(texts)
        return np.array(self.exact[texts[0]])


def scores(fast: list[float], exact: list[float]) -> tuple[Scores, Table]:
    table = Table({"row": fast}, {"row": exact})
    return table.score([("row",)]), table


@pytest.mark.parametrize(
    ("fast", "exact", "expected", "settled"),
    [
        ([1.0, 2.0], [9.0, 9.0], 1, False),
        ([1.0, 1.0 + NOISE], [1.0 + NOISE, 1.0], 0, True),
        ([2.0, 1.0, 2.0], [2.0, 1.0, 2.0], 0, True),
    ],
)
def test_a_close_call_is_decided_canonically(
    fast: list[float], exact: list[float], expected: int, settled: bool
) -> None:
    values, table = scores(fast, exact)

    assert best_class(values, ("row",)) == expected
    assert bool(table.settled) is settled


def test_kept_logits_do_not_follow_rounding_errors() -> None:
    """Two runs whose float32 values differ in the last digits keep the same number."""
    edge = 1.5 / 256
    low, _ = scores([edge - NOISE, 3.0], [edge + 1e-9, 3.0])
    high, _ = scores([edge + NOISE, 3.0], [edge + 1e-9, 3.0])
    clear, table = scores([0.004, -0.004], [9.0, 9.0])

    assert rounded_logits(low, ("row",)) == rounded_logits(high, ("row",)) == (2 / 256, 3.0)
    assert rounded_logits(clear, ("row",)) == (1 / 256, -1 / 256)
    assert not table.settled


def test_a_score_may_move_by_the_tolerance() -> None:
    table = Table({"a": [1.0], "b": [1.5 + NOISE], "c": [4.0]}, {"b": [1.5]})
    values = table.score([("a",), ("b",), ("c",)])

    assert score_distance(values, ("b",), ("a",), 0.0, 0.5) == 0.5
    assert score_distance(values, ("c",), ("a",), 0.0, 0.5) == 3.0
    assert score_distance(values, ("c",), None, 3.5, 0.6) == 0.5
    assert set(table.settled) == {("a",), ("b",)}


GOOD, BAD = [0.0, 1.0], [1.0, 0.0]
ROWS = [
    OutputRow(0, ("film",), 0, ("film",)),
    OutputRow(0, ("movie",), 0, ("film",), variant=1),
    OutputRow(0, ("dog",), 0, ("film",), variant=2),
]


def teacher() -> Table:
    return Table({"film": GOOD, "movie": GOOD, "dog": BAD})


def reasons(tested: Filter, rows: list[OutputRow] = ROWS) -> list[str]:
    return [row.reason for row in tested.apply(rows)]


def test_unchanged_asks_for_the_teachers_own_label() -> None:
    """The teacher errs on the original; what counts is whether it changes its mind."""
    tested = TeacherFilter(teacher(), "unchanged")

    assert reasons(tested) == ["", "", "teacher_disagrees"]


def test_gold_asks_for_the_label_of_the_data() -> None:
    scorer = teacher()

    assert reasons(TeacherFilter(scorer, "gold")) == ["", "teacher_disagrees", ""]
    assert ("film",) not in scorer.scored


def test_a_score_is_compared_within_the_tolerance() -> None:
    table = Table({"film": [2.0], "movie": [2.4], "dog": [2.6]})
    tested = TeacherFilter(table, "unchanged", tolerance=0.5, regression=True)

    assert reasons(tested) == ["", "", "teacher_disagrees"]


def test_logits_are_kept_of_every_row_that_passes() -> None:
    filtered = TeacherFilter(teacher(), "unchanged", keep_logits=True).apply(ROWS)

    assert [row.logits for row in filtered] == [(0.0, 1.0), (0.0, 1.0), None]
    assert [row.reason for row in filtered] == ["", "", "teacher_disagrees"]


def test_the_encoder_sees_the_changed_text_alone() -> None:
    encoder = Table({"film": [1.0, 0.0], "movie": [0.8, 0.6], "dog": [0.0, 1.0]})
    rows = [
        OutputRow(0, ("film", "x"), 0, ("film", "x")),
        OutputRow(0, ("movie", "x"), 0, ("film", "x"), variant=1),
        OutputRow(0, ("dog", "x"), 0, ("film", "x"), variant=2),
        OutputRow(0, ("x", "movie"), 0, ("x", "movie"), variant=3, column=1),
    ]

    assert reasons(SimilarityFilter(encoder, 0.8), rows) == ["", "", "dissimilar", ""]
    assert ("movie",) in encoder.settled


def test_the_teacher_does_not_read_what_was_refused_before() -> None:
    encoder = Table({"film": [1.0, 0.0], "movie": [0.8, 0.6], "dog": [0.0, 1.0]})
    scorer = teacher()
    near = SimilarityFilter(encoder, 0.8).apply(ROWS)

    assert reasons(TeacherFilter(scorer, "gold"), near) == ["", "teacher_disagrees", "dissimilar"]
    assert scorer.scored == [("movie",)]
