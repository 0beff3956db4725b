"""Gates with a model, on numbers of the test: who is refused, and when float64 decides."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from augment.filters.model_filters import Case, ModelFilters, Verdict, best, moved, on_grid
from augment.filters.rules import ModelFilterRules
from augment.filters.scorer import Scores, Texts

NOISE = 2e-5


class Table:
    """A scorer that looks its float32 values up, and canonical ones where they differ."""

    digest, notice = "0" * 64, ""

    def __init__(self, fast: dict[str, list[float]], exact: dict[str, list[float]] | None = None):
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
    found, table = scores(fast, exact)

    assert best(found, ("row",)) == expected
    assert bool(table.settled) is settled


def test_kept_logits_do_not_follow_rounding_errors() -> None:
    """Two runs whose float32 values differ in the last digits keep the same number."""
    edge = 1.5 / 256
    low, _ = scores([edge - NOISE, 3.0], [edge + 1e-9, 3.0])
    high, _ = scores([edge + NOISE, 3.0], [edge + 1e-9, 3.0])
    clear, table = scores([0.004, -0.004], [9.0, 9.0])

    assert on_grid(low, ("row",)) == on_grid(high, ("row",)) == (2 / 256, 3.0)
    assert on_grid(clear, ("row",)) == (1 / 256, -1 / 256)
    assert not table.settled


def test_a_score_may_move_by_the_tolerance() -> None:
    table = Table({"a": [1.0], "b": [1.5 + NOISE], "c": [4.0]}, {"b": [1.5]})
    found = table.score([("a",), ("b",), ("c",)])

    assert moved(found, ("b",), ("a",), 0.0, 0.5) == 0.5
    assert moved(found, ("c",), ("a",), 0.0, 0.5) == 3.0
    assert moved(found, ("c",), None, 3.5, 0.6) == 0.5
    assert set(table.settled) == {("a",), ("b",)}


GOOD, BAD = [0.0, 1.0], [1.0, 0.0]
CASES = [
    Case(("film",), ("film",), None, 0),
    Case(("movie",), ("film",), 0, 0),
    Case(("dog",), ("film",), 0, 0),
]


def teacher() -> Table:
    return Table({"film": GOOD, "movie": GOOD, "dog": BAD})


def test_unchanged_asks_for_the_teachers_own_label() -> None:
    """The teacher errs on the original; what counts is whether it changes its mind."""
    verdicts = ModelFilters(ModelFilterRules(agreement="unchanged"), teacher()).judge(CASES)

    assert [verdict.reason for verdict in verdicts] == ["", "", "teacher_disagrees"]


def test_gold_asks_for_the_label_of_the_data() -> None:
    judge = teacher()
    verdicts = ModelFilters(ModelFilterRules(agreement="gold"), judge).judge(CASES)

    assert [verdict.reason for verdict in verdicts] == ["", "teacher_disagrees", ""]
    assert ("film",) not in judge.scored


def test_a_score_is_compared_within_the_tolerance() -> None:
    table = Table({"film": [2.0], "movie": [2.4], "dog": [2.6]})
    rules = ModelFilterRules(agreement="unchanged", tolerance=0.5, regression=True)

    assert [v.reason for v in ModelFilters(rules, table).judge(CASES)] == [
        "",
        "",
        "teacher_disagrees",
    ]


def test_logits_are_kept_of_every_row_that_passes() -> None:
    rules = ModelFilterRules(agreement="unchanged", teacher_logits=True)

    assert ModelFilters(rules, teacher()).judge(CASES) == [
        Verdict("", (0.0, 1.0)),
        Verdict("", (0.0, 1.0)),
        Verdict("teacher_disagrees"),
    ]


def test_the_encoder_comes_first_and_sees_the_changed_text_alone() -> None:
    encoder = Table({"film": [1.0, 0.0], "movie": [0.8, 0.6], "dog": [0.0, 1.0]})
    judge = teacher()
    cases = [
        Case(("film", "x"), ("film", "x"), None, 0),
        Case(("movie", "x"), ("film", "x"), 0, 0),
        Case(("dog", "x"), ("film", "x"), 0, 0),
        Case(("x", "movie"), ("x", "movie"), 1, 0),
    ]
    rules = ModelFilterRules(min_similarity=0.8)
    reasons = [v.reason for v in ModelFilters(rules, None, encoder).judge(cases)]  # type: ignore[arg-type]
    both = ModelFilterRules(min_similarity=0.8, agreement="gold")
    ModelFilters(both, judge, encoder).judge(CASES)  # type: ignore[arg-type]

    assert reasons == ["", "", "dissimilar", ""]
    assert ("movie",) in encoder.settled
    assert judge.scored == [("movie",)]
