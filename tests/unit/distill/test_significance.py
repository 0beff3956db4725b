"""The paired bootstrap: what it finds, what it is sure of, and where it says that it is not."""

from __future__ import annotations

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import bootstrap

from distill.errors import DataInvalid
from distill.evaluation.intervals import Interval, Significance, few_rows, paired_bootstrap
from distill.evaluation.metrics import score
from distill.evaluation.results import EvaluationResult, Measurement, Selection
from distill.runs.comparison import Comparison
from distill.tables.intervals import interval_notes
from distill.tables.runs import print_comparison

DRAW = np.random.default_rng(0)
LABELS = DRAW.integers(0, 2, 300)


def answers(right: float, labels: np.ndarray = LABELS) -> np.ndarray:
    """Class numbers, so many of them right."""
    return np.where(DRAW.random(len(labels)) < right, labels, 1 - labels)


def found(metric: str, one: list, other: list, labels: np.ndarray = LABELS) -> Significance:
    return paired_bootstrap(metric, one, other, labels, 2, resamples=300)


@pytest.mark.parametrize("metric", ["accuracy", "f1", "matthews"])
def test_a_better_side_is_ahead_and_the_other_way_round_behind(metric: str) -> None:
    good, bad = answers(0.95), answers(0.7)
    ahead, behind = found(metric, [good], [bad]), found(metric, [bad], [good])
    of_each = [score((metric,), own, LABELS, 2)[metric] for own in (good, bad)]

    assert ahead.difference == pytest.approx(of_each[0] - of_each[1])
    assert behind.difference == pytest.approx(-ahead.difference)
    assert ahead.interval.low > 0 > behind.interval.high
    assert ahead.p_value == behind.p_value <= 0.02
    assert (ahead.rows, ahead.resamples, ahead.note) == (300, 300, "")


def test_sides_that_are_alike_do_not_differ() -> None:
    """Twelve rows change sides, six of them for the better."""
    same = answers(0.8)
    other = same.copy()
    some = [*np.flatnonzero(same == LABELS)[:6], *np.flatnonzero(same != LABELS)[:6]]
    other[some] = 1 - other[some]
    none, alike = found("accuracy", [same], [same]), found("accuracy", [other], [same])

    assert (none.difference, none.p_value) == (0, 1)
    assert none.interval.low == none.interval.high == 0
    assert alike.difference == 0
    assert alike.interval.low < 0 < alike.interval.high
    assert alike.p_value > 0.5


def test_pairs_are_surer_than_each_score_by_itself() -> None:
    """The second is the first with five more rows right."""
    one = answers(0.8)
    wrong = np.flatnonzero(one != LABELS)[:8]
    other = one.copy()
    other[wrong] = LABELS[wrong]
    interval = found("accuracy", [other], [one]).interval

    assert interval.low > 0
    assert interval.high - interval.low < 0.04


def test_a_side_of_several_seeds_is_their_mean_as_scipy_finds_it() -> None:
    one, other = [answers(0.9), answers(0.8)], [answers(0.75)]
    own = found("accuracy", one, other)

    def plain(places: np.ndarray) -> float:
        first = np.mean([(side[places] == LABELS[places]).mean() for side in one])
        return float(first - (other[0][places] == LABELS[places]).mean())

    theirs = bootstrap(
        (np.arange(300),), plain, n_resamples=300, batch=3000, vectorized=False,
        method="percentile", rng=np.random.default_rng((2, 300)),
    )  # fmt: skip
    interval = theirs.confidence_interval
    assert (own.interval.low, own.interval.high) == pytest.approx((interval.low, interval.high))


def test_scores_of_a_regression() -> None:
    labels = DRAW.random(120)
    near, far = labels + DRAW.normal(0, 0.05, 120), labels + DRAW.normal(0, 0.5, 120)
    own = paired_bootstrap("pearson_spearman", [near], [far], labels, 0, resamples=200)

    assert own.interval.low > 0
    assert own.p_value <= 0.02


@pytest.mark.parametrize("rows", [0, 1, 2, 29])
def test_too_few_rows_are_said(rows: int) -> None:
    labels = LABELS[:rows]
    own = paired_bootstrap("accuracy", [labels], [1 - labels], labels, 2, resamples=100)

    assert "too few" in own.note
    assert own.difference == (rows > 0)
    assert (own.interval is None) == (own.p_value is None) == (rows < 2)


@pytest.mark.parametrize(
    ("one", "other"), [([], [LABELS]), ([LABELS], []), ([LABELS[:9]], [LABELS])]
)
def test_answers_to_other_rows_are_refused(one: list, other: list) -> None:
    with pytest.raises(DataInvalid, match="answers of both sides to the same 300 rows"):
        found("accuracy", one, other)


def test_tables_say_that_rows_are_too_few() -> None:
    score = {"validation": {"accuracy": 0.5}}
    model = Measurement.model_construct(
        model="m", scores=score, intervals={"validation": Interval(low=0.1, high=0.9)}
    )
    table = EvaluationResult.model_construct(
        models=(model,), baselines=(), tests=(), rows={"validation": 7},
        selection=Selection(metric="accuracy", split="validation"),
    )  # fmt: skip
    of_runs = Comparison(
        task="t", version="v", metric="accuracy", split="validation", rows=7, runs=(), recipe=(),
        leads=(),
    )  # fmt: skip
    console = Console(record=True, width=120)
    print_comparison(of_runs, console)

    assert any("validation: 7 rows: too few" in note for note in interval_notes(table))
    assert "7 rows: too few" in console.export_text()
    assert few_rows(30) == ""
