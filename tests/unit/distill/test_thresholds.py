"""Thresholds of confidence, and the cascade of a student and a teacher."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertTokenizerFast
from typer.testing import CliRunner

from augment.contract import Label, Splits, TaskSpec, Version
from distill.cli import app
from distill.errors import DataInvalid, UsageError
from distill.evaluation.thresholds import Ranked, rounded
from distill.inference.probabilities import probabilities
from distill.inference.settings import Calibration
from distill.models.loading import load_classifier
from distill.serving.cascade import Answers, cascade, find_thresholds
from tests.unit.distill.helpers import (
    SENTIMENT,
    make_good_teacher,
    mood_rows,
    save,
    write_version,
)

CONFIDENCE = np.array([0.99999, 0.9, 0.9, 0.75, 0.61239, 0.5])
RIGHT = np.array([True, True, False, True, False, True])


def drawn(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    confidence = draw.uniform(0.3, 1, rows).round(3)
    return confidence, draw.random(rows) < confidence


def test_a_threshold_answers_whoever_is_at_least_as_sure() -> None:
    found = Ranked.of(CONFIDENCE, RIGHT).at(0.9)

    assert (found.answered, found.right, found.rows) == (3, 2, 6)
    assert found.coverage == 0.5
    assert found.precision == pytest.approx(2 / 3)
    assert found.low is not None
    assert 0.2 < found.low < 0.3  # Wilson's interval of 2 of 3: 0.208 to 0.939


def test_thresholds_can_be_typed() -> None:
    assert [rounded(own) for own in (0.61239, 0.5, 0.99999, 1.0)] == [0.6123, 0.5, 0.9999, 0.9999]
    ranked = Ranked.of(CONFIDENCE, RIGHT)
    assert [ranked.answered(ranked.threshold_of(n)) for n in range(1, 7)] == [1, 3, 3, 4, 5, 6]


def test_nobody_is_answered_above_all() -> None:
    found = Ranked.of(CONFIDENCE, RIGHT).at(1.1)

    assert (found.answered, found.precision, found.low) == (0, None, None)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.95])
def test_a_wanted_precision_answers_the_most_rows_that_have_it(seed: int, wanted: float) -> None:
    confidence, right = drawn(150, seed)
    found = Ranked.of(confidence, right).for_precision(wanted)
    slow = [
        (int(answered.sum()), float(right[answered].mean()))
        for threshold in sorted({0.0, *confidence.tolist()})
        if (answered := confidence >= threshold).sum() >= 10
    ]
    possible = [count for count, precision in slow if precision >= wanted]

    assert (found.answered if found else None) == max(possible, default=None)
    if found:
        assert (confidence >= found.threshold).sum() == found.answered
        assert found.precision is not None
        assert found.precision >= wanted


def test_a_precision_that_nobody_has() -> None:
    assert Ranked.of(CONFIDENCE.repeat(5), RIGHT.repeat(5)).for_precision(1.0) is None
    assert Ranked.of(np.array([]), np.array([], dtype=bool)).for_precision(0.5) is None


def test_a_wanted_precision_of_very_many_rows_takes_no_time() -> None:
    confidence, right = drawn(400_000)
    began = time.monotonic()
    assert Ranked.of(confidence, right).for_precision(0.9) is not None
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("most", [0.0, 0.1, 0.25, 0.5, 1.0])
def test_a_wanted_share_without_an_answer_is_not_exceeded(most: float) -> None:
    confidence, right = drawn(200)
    found = Ranked.of(confidence, right).for_abstaining(most)
    higher = Ranked.of(confidence, right).at(found.threshold + 0.002)

    assert 1 - found.coverage <= most + 1e-12
    assert most == 1 or 1 - higher.coverage > most or higher.answered == found.answered


def test_a_curve_goes_from_all_to_the_surest() -> None:
    confidence, right = drawn(400)
    curve = Ranked.of(confidence, right).curve()

    assert curve[0].threshold == 0
    assert curve[0].answered == 400
    assert [own.answered for own in curve] == sorted((o.answered for o in curve), reverse=True)
    assert len(Ranked.of(np.full(30, 0.7), np.ones(30, bool)).curve()) == 2  # one confidence


def in_cascade(student_ms: float = 1.0, teacher_ms: float = 10.0):
    """The student errs where it is unsure; the teacher errs on a tenth, everywhere."""
    draw = np.random.default_rng(1)
    labels = draw.integers(0, 2, 1000)
    confidence = draw.uniform(0.5, 1, 1000)
    student = np.where(draw.random(1000) < confidence, labels, 1 - labels)
    teacher = np.where(draw.random(1000) < 0.9, labels, 1 - labels)
    found = cascade(
        Answers(student, confidence),
        Answers(teacher, np.ones(1000)),
        labels,
        SENTIMENT,
        name="t",
        milliseconds=(student_ms, teacher_ms),
    )
    return found, labels, confidence, student, teacher


def test_a_cascade_is_scored_and_costs_as_it_would() -> None:
    found, labels, confidence, student, teacher = in_cascade()

    for point in found.points:
        assert point.threshold is not None
        mixed = np.where(confidence < point.threshold, teacher, student)
        assert point.score == pytest.approx((mixed == labels).mean())
        assert point.handed_over == (confidence < point.threshold).sum()
        assert point.milliseconds == pytest.approx(1 + 10 * point.handed_over / 1000)
    assert found.points[0].handed_over == 0
    assert found.alone.score == (teacher == labels).mean()
    assert found.chosen.score >= found.alone.score - 0.01
    assert found.chosen.milliseconds < found.alone.milliseconds


def test_a_slow_student_is_not_asked() -> None:
    found = in_cascade(student_ms=20.0)[0]

    assert found.chosen == found.alone


@pytest.fixture(scope="module")
def student(tokenizer: BertTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels in its own order, and a bias that makes half of its answers others."""
    model = make_good_teacher(tokenizer, labels=("positive", "negative"), layers=1)
    with torch.no_grad():
        for weight in model.classifier.parameters():
            weight.mul_(0.2)
    place = save(model, tokenizer, tmp_path_factory.mktemp("models") / "student")
    classifier = load_classifier(str(place), SENTIMENT)
    classifier.calibrate(Calibration(0.3, (0.4, -0.4)))
    return save(classifier.model, tokenizer, place)


def test_a_table_of_thresholds_and_a_cascade(
    student: Path, teacher: Path, version: Version, tmp_path: Path
) -> None:
    asked = ["thresholds", str(student), str(version.path), "--teacher", str(teacher)]
    asked += ["--precision", "0.9", "--label", "positive", "--abstain", "0.2", "--threads", "1"]
    shown = CliRunner().invoke(app, asked)
    found = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)

    assert shown.exit_code == 0, shown.output
    assert "threshold  answered  rows" in shown.stdout
    assert "--abstain-below" in shown.stdout
    assert "handed over" in shown.stdout
    assert "also chose" in shown.stdout
    assert found["calibrated"] is True
    assert found["points"][0]["answered"] == 80
    assert found["cascade"]["points"][0]["score"] == found["points"][0]["right"] / 80
    precise, abstaining = found["wanted"]
    assert (precise["label"], precise["precision"]) == ("positive", 0.9)
    assert abstaining["point"]["answered"] >= 64


def test_confidence_is_that_of_the_calibrated_probabilities(
    student: Path, version: Version
) -> None:
    classifier = load_classifier(str(student), version.task)
    result = find_thresholds(str(student), version)

    assert classifier.calibration == Calibration(0.3, (0.4, -0.4))
    shares = probabilities(np.zeros((1, 2)), classifier.calibration)
    assert result.points[-1].threshold > 0.5
    assert shares.argmax() == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--label", "negativ", "--precision", "0.9"], "mood has no label 'negativ'"),
        (["--label", "negative"], "--precision is not given"),
        (["--label", "long" * 100, "--precision", "1"], "mood has no label 'longlong"),
        (["--precision", "nan"], "less than or equal to 1"),
        (["--abstain", "1.5"], "less than or equal to 1"),
    ],
)
def test_what_cannot_be_asked(
    options: list[str], sentence: str, student: Path, version: Version
) -> None:
    found = CliRunner().invoke(app, ["thresholds", str(student), str(version.path), *options])

    assert found.exit_code == 2
    assert sentence in found.output


def test_a_share_is_from_0_to_1(student: Path, version: Version) -> None:
    for options in ({"precision": float("nan")}, {"abstain": -0.1}):
        with pytest.raises(UsageError, match="is no share"):
            find_thresholds(str(student), version, **options)


def test_the_first_split_with_labels_is_taken(student: Path, tmp_path: Path) -> None:
    task = SENTIMENT.model_copy(
        update={"splits": Splits(train="train", validation=("validation_a", "validation_b"))}
    )
    known, unknown = mood_rows(20, 1), [{**row, "label": -1} for row in mood_rows(20, 2)]
    splits = {"train": known, "validation_a": unknown, "validation_b": known}
    version = write_version(tmp_path / "second", task, splits)
    assert find_thresholds(str(student), version).rows == {"validation_b": 20}
    for number, none in enumerate(({}, {"validation_a": unknown})):
        version = write_version(tmp_path / f"none{number}", task, {"train": known, **none})
        with pytest.raises(DataInvalid, match="no labeled validation rows"):
            find_thresholds(str(student), version)


@pytest.mark.parametrize(
    ("split", "note"),
    [
        ("train", "was trained on these rows"),
        ("validation", "these rows also chose"),
        ("test", ""),
    ],
)
def test_it_says_what_the_rows_were_used_for(
    split: str, note: str, student: Path, tmp_path: Path
) -> None:
    rows = mood_rows(12, 1)
    names = ("train", "validation", "test")
    version = write_version(tmp_path, SENTIMENT, dict.fromkeys(names, rows))
    found = CliRunner().invoke(
        app, ["thresholds", str(student), str(version.path), "--split", split]
    )

    assert found.exit_code == 0
    assert note in found.output
    assert ("--split test tells" in found.output) == bool(note)


def test_of_scores_there_is_no_confidence(student: Path, tmp_path: Path) -> None:
    task = TaskSpec(
        name="stars",
        text_columns=("sentence",),
        label=Label(kind="regression"),
        metrics=("pearson",),
        selection_metric="pearson",
    )
    rows = [{"sentence": "good", "label": 1.0}, {"sentence": "bad", "label": 0.0}]
    version = write_version(tmp_path, task, {"train": rows, "validation": rows})
    found = CliRunner().invoke(app, ["thresholds", str(student), str(version.path)])

    assert found.exit_code == 2
    assert "stars asks for a score" in found.output
