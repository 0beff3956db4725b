"""Resampled scores are those of the metrics on the drawn rows; pairs of models share the draws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from rich.console import Console

from augment.contract import Splits, Version
from augment.contract.task import METRICS_OF
from distill.cli.output import print_result
from distill.data import versions
from distill.errors import DataInvalid
from distill.evaluation import intervals
from distill.evaluation.compare import evaluate_models
from distill.evaluation.intervals import Interval, draws, gap, interval, resample
from distill.evaluation.metrics import Array, score
from distill.teacher import fine_tune_teacher
from distill.training import context
from tests.unit.distill.helpers import SENTIMENT, mood_rows, write_version

CLASSES = METRICS_OF["classification"]
SCORES = METRICS_OF["regression"]


def classes_of(rows: int, classes: int) -> tuple[Array, Array]:
    draw = np.random.default_rng((rows, classes))
    labels, answers = draw.integers(classes, size=(2, rows))
    return np.where(draw.random(rows) < 0.6, labels, answers), labels


def few_draws(count: int = 40) -> object:
    return mock.patch.multiple(intervals, RESAMPLES=count, FEWEST=count)


def expected(metric: str, answers: Array, labels: Array, classes: int) -> list[float]:
    places = [one for some in draws(len(labels)) for one in some]
    return [score((metric,), answers[at], labels[at], classes)[metric] for at in places]


@pytest.mark.parametrize("metric", CLASSES)
@pytest.mark.parametrize(("rows", "classes"), [(1, 2), (9, 2), (60, 2), (60, 5), (12, 30)])
def test_scores_of_classes_are_those_of_the_drawn_rows(
    metric: str, rows: int, classes: int
) -> None:
    answers, labels = classes_of(rows, classes)
    with few_draws():  # type: ignore[attr-defined]
        wanted = expected(metric, answers, labels, classes)
        assert resample(metric, answers, labels, classes) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("metric", CLASSES)
def test_one_answer_to_all(metric: str) -> None:
    labels = np.arange(20) % 2
    with few_draws():  # type: ignore[attr-defined]
        wanted = expected(metric, np.zeros(20, int), labels, 2)
        assert resample(metric, np.zeros(20, int), labels, 2) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("metric", SCORES)
@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_scores_of_a_regression_are_those_of_the_drawn_rows(metric: str, shift: float) -> None:
    """Many labels are equal, as scores from 0 to 5 are."""
    draw = np.random.default_rng(3)
    labels = np.round(draw.uniform(0, 5, 50), 0).astype(np.float32)
    answers = (labels + draw.normal(size=50) + shift).astype(np.float32)
    with few_draws():  # type: ignore[attr-defined]
        wanted = expected(metric, answers, labels, 0)
        assert resample(metric, answers, labels, 0) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("metric", SCORES)
@pytest.mark.parametrize("rows", [1, 2, 30])
def test_a_constant_has_no_correlation(metric: str, rows: int) -> None:
    labels = np.linspace(0, 1, rows)
    found = resample(metric, np.full(rows, 0.3), labels, 0)

    assert not found.any()


def test_blocks_do_not_change_the_draws() -> None:
    answers, labels = classes_of(100, 3)
    whole = resample("macro_f1", answers, labels, 3)
    with mock.patch.object(intervals, "AT_ONCE", 700):
        assert (resample("macro_f1", answers, labels, 3) == whole).all()
    assert len(whole) == 1_000


def test_many_rows_have_fewer_resamples() -> None:
    with mock.patch.object(intervals, "MOST_DRAWS", 100_000):
        assert sum(map(len, draws(200))) == 500
        assert sum(map(len, draws(5_000))) == 200


def test_an_interval_holds_the_score_and_shrinks_with_the_rows() -> None:
    spans = []
    for rows in (50, 5_000):
        answers, labels = classes_of(rows, 2)
        found = interval(resample("accuracy", answers, labels, 2))
        assert found.low < (answers == labels).mean() < found.high
        spans.append(found.high - found.low)

    assert spans[1] < spans[0] / 5
    assert spans[0] == pytest.approx(2 * 1.96 * np.sqrt(0.8 * 0.2 / 50), rel=0.2)


@pytest.mark.parametrize(("rows", "low"), [(30, 0.9), (1000, 0.997), (2, 0.0)])
def test_no_mistake_on_a_few_rows_proves_little(rows: int, low: float) -> None:
    labels = np.arange(rows) % 2
    perfect = resample("accuracy", labels, labels, 2)

    found = interval(perfect, rows)

    assert (found.low, found.high) == (pytest.approx(low), 1)


def test_paired_models_differ_less_than_each_is_sure() -> None:
    answers, labels = classes_of(400, 2)
    better = answers.copy()
    better[np.flatnonzero(answers != labels)[:12]] = labels[answers != labels][:12]
    own, other = (resample("accuracy", some, labels, 2) for some in (answers, better))
    lead = interval(other - own)

    assert 0 < lead.low < 0.03 < lead.high < 0.06
    assert interval(own).high > interval(other).low


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A version whose test rows have labels, all but one."""
    rows = {"train": mood_rows(40, 1), "validation": mood_rows(30, 2)}
    test = [*mood_rows(24, 3), {"sentence": "a day", "label": -1, "idx": 99}]
    task = SENTIMENT.model_copy(update={"splits": Splits(test=("test", "more"))})
    blind = [{**row, "label": -1} for row in mood_rows(5, 4)]
    folder = tmp_path_factory.mktemp("versions")
    return write_version(folder, task, {**rows, "test": test, "more": blind})


def test_labeled_test_rows_are_scored_beside_validation(
    tested: Version, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluate_models([str(teacher)], tested)
    (model,) = found.models
    print_result(found, Console(soft_wrap=True, width=200))
    head, line = capsys.readouterr().out.splitlines()[1:3]

    assert found.tests == ("test",)
    assert found.rows == {"validation": 30, "test": 24}
    assert found.selection.split == "validation"
    assert list(model.scores) == list(model.intervals) == list(model.classes) == [*found.rows]
    assert head.split()[:7] == [
        "model", "accuracy", "validation", "95%", "accuracy", "test", "95%"
    ]  # fmt: skip
    assert line.count("–") == 2
    assert not evaluate_models([str(teacher)], tested, split="validation").tests


def test_a_run_reads_test_rows_when_all_is_chosen(
    tested: Version, encoder: Path, recipe: Path, tmp_path: Path
) -> None:
    """They come last, and where the version has gone by then the rest of the table stands."""
    read: list[str] = []
    tokenize = versions.tokenize_split

    def reading(version: Version, split: str, *more: Any) -> Any:
        read.append(split)
        return tokenize(version, split, *more)

    with mock.patch.object(versions, "tokenize_split", reading):
        found = fine_tune_teacher(
            tested, init=str(encoder), out=tmp_path / "teacher", recipe=recipe, quiet=True
        )
    stored = json.loads((tmp_path / "teacher" / "teacher.json").read_text())["result"]

    assert read == ["train", "validation", "test"]
    assert found.tests == ("test",)
    assert all(list(own.intervals) == ["validation", "test"] for own in found.models)
    assert all(list(own.intervals) == ["validation", "test"] for own in found.baselines)
    assert "resampled" not in json.dumps(stored)

    with mock.patch.object(context, "tokenize_tests", side_effect=DataInvalid("gone.")):
        found = fine_tune_teacher(
            tested, init=str(encoder), out=tmp_path / "again", recipe=recipe, quiet=True
        )
    assert not found.tests
    assert list(found.rows) == list(found.models[0].scores) == ["validation"]
    assert all(list(own.scores) == ["validation"] for own in found.baselines)


@pytest.mark.parametrize(
    ("difference", "low", "high", "said"),
    [
        (0.012, 0.004, 0.02, "ahead of it by 0.012, and by 0.004 to 0.020 in"),
        (-0.012, -0.02, -0.004, "behind it by 0.012, and by 0.004 to 0.020 in"),
        (0.025, -0.035, 0.085, "no clear difference from it: between 0.035 behind and 0.085 ahead"),
        (0.025, 0, 0.085, "no clear difference from it: between level and 0.085 ahead"),
        (-0.01, -0.035, -1e-5, "behind it by 0.010, and by 0.000 to 0.035 in"),
        (0.01, -0.03, -1e-5, "behind it by 0.000 to 0.030 in"),
        (0.1, 0.1, 0.1, "ahead of it by 0.100, and by 0.100 to 0.100 in"),
        (0, 0, 0, "no clear difference from it: between level and level"),
    ],
)
def test_a_difference_is_said_as_a_person_says_it(
    difference: float, low: float, high: float, said: str
) -> None:
    found = Interval(low=low, high=high)

    assert gap(difference, found, "it").startswith(said)
    assert gap(difference, found).startswith(
        said.replace(" of it", "").replace(" from it", "").replace(" it", "")
    )
    assert gap(difference, found).endswith("in 95 of 100 resamples")
    assert "-" not in gap(difference, found)
