"""Calibrations that models hold: in their config alone, by label, and never of other weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import BertConfig, BertTokenizerFast

from augment.contract import Label, Splits, Version
from augment.contract.terminal import open_console
from distill.data.versions import labeled, sample, token_columns, tokenize_sample
from distill.errors import ModelInvalid
from distill.evaluation.evaluate import answers_of, calibrate, judge, predict
from distill.evaluation.reliability import CalibrationReport, calibration_report
from distill.evaluation.results import EvaluationResult, Latency, Measurement, Selection
from distill.inference.probabilities import UNCALIBRATED
from distill.inference.settings import KEY, Calibration, ServingSettings
from distill.models.labels import settings_of, store_calibration
from distill.models.loading import Classifier, load_classifier
from distill.tables.calibration import print_calibration
from tests.unit.distill.helpers import SENTIMENT, make_bert, mood_rows, save

BIASED = Calibration(2.0, (0.75, -0.75))


@pytest.fixture(scope="module")
def rows(tokenizer: BertTokenizerFast) -> datasets.Dataset:
    """Of mood sentences, some with a wrong label."""
    moods = mood_rows(120, seed=9)
    columns = token_columns([[row["sentence"] for row in moods]], tokenizer, 16)
    labels = [row["label"] if at % 10 else 1 - row["label"] for at, row in enumerate(moods)]
    return datasets.Dataset.from_dict({**columns, "labels": labels})


def test_a_fit_changes_the_config_and_no_weight(
    teacher: Path, tokenizer: BertTokenizerFast, rows: datasets.Dataset, tmp_path: Path
) -> None:
    classifier = load_classifier(str(teacher), SENTIMENT)
    before = {name: own.clone() for name, own in classifier.model.state_dict().items()}
    logits = predict(classifier, rows)
    fit = calibrate(classifier, SENTIMENT, rows)

    assert fit
    assert fit.after
    assert fit.calibration.temperature > 1  # a tenth of the labels are wrong
    assert fit.after.ece < fit.before.ece
    assert classifier.calibration == fit.calibration
    assert all(torch.equal(own, before[n]) for n, own in classifier.model.state_dict().items())
    assert (predict(classifier, rows) == logits).all()
    again = load_classifier(str(save(classifier.model, tokenizer, tmp_path)), SENTIMENT)
    assert again.calibration == fit.calibration


def test_a_bias_goes_by_label_not_by_place(tokenizer: BertTokenizerFast) -> None:
    model = make_bert(tokenizer, labels=("positive", "negative"), layers=1)
    classifier = Classifier("m", model, tokenizer, order=(1, 0))
    classifier.calibrate(BIASED)

    assert classifier.calibration == BIASED
    assert settings_of("m", model.config).calibration.bias == (-0.75, 0.75)


def test_of_three_labels_in_a_circle(tokenizer: BertTokenizerFast) -> None:
    model = make_bert(tokenizer, labels=("b", "c", "a"), layers=1)
    classifier = Classifier("m", model, tokenizer, order=(2, 0, 1))
    classifier.calibrate(Calibration(1.5, (0.1, 0.2, -0.3)))

    assert classifier.calibration.bias == (0.1, 0.2, -0.3)
    assert settings_of("m", model.config).calibration.bias == (0.2, -0.3, 0.1)


def test_what_is_stored_stands_in_the_place_of_what_was() -> None:
    config = BertConfig(num_labels=3)
    config.update({KEY: {"format": 1, "vocabulary": "ab", "calibration": {"bias": [1.0, -1.0]}}})
    store_calibration("m", config, Calibration(1.5))

    assert settings_of("m", config).vocabulary == "ab"
    assert settings_of("m", config).calibration == Calibration(1.5)
    config.update({KEY: {"format": 1, "calibration": {"temperature": 2.0}}})
    store_calibration("m", config, UNCALIBRATED)
    assert KEY not in config.to_dict()


@pytest.mark.parametrize("forged", ["abc", [], {"format": 2}, {"format": 0}, 3])
def test_a_config_of_another_kind_is_refused(forged: Any) -> None:
    config = BertConfig()
    config.update({KEY: forged})
    with pytest.raises(ModelInvalid, match=r"the config of m|m was written by a newer"):
        store_calibration("m", config, UNCALIBRATED)


def test_answers_and_scores_are_those_of_the_calibrated_probabilities(
    teacher: Path, rows: datasets.Dataset
) -> None:
    classifier = load_classifier(str(teacher), SENTIMENT)
    logits, labels = predict(classifier, rows), np.asarray(rows["labels"])
    classifier.calibrate(Calibration(1.0, (20.0, -20.0)))
    judged = judge(classifier, SENTIMENT, {"validation": rows})

    assert judged.scores["validation"]["accuracy"] == (labels == 0).mean()
    assert judged.collapse
    assert judged.calibration
    assert judged.calibration.stored
    warm = answers_of(logits, SENTIMENT, Calibration(3.0))
    assert (warm == logits.argmax(axis=1)).all()


def test_only_the_split_that_selects_was_fitted(teacher: Path, rows: datasets.Dataset) -> None:
    splits = Splits(validation=("validation", "held_out"))
    task = SENTIMENT.model_copy(update={"splits": splits})
    classifier = load_classifier(str(teacher), task)
    classifier.calibrate(Calibration(3.0))
    seen = {name: judge(classifier, task, {name: rows}).calibration for name in splits.validation}

    assert [own.cross_fitted for own in seen.values() if own] == [True, False]


def report_of(fits: bool, stored: Calibration = UNCALIBRATED) -> CalibrationReport:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, 300)
    logits = 4 * np.eye(3)[labels] + 5 * draw.normal(size=(300, 3))
    return calibration_report(logits, labels, "accuracy", "some", stored=stored, fits=fits)


def test_rows_that_were_fitted_are_answered_by_fits_of_others() -> None:
    fitted, elsewhere = report_of(True, Calibration(9.0)), report_of(False, Calibration(9.0))

    assert fitted.cross_fitted
    assert not elsewhere.cross_fitted
    assert fitted.temperature == elsewhere.temperature == 9.0
    assert fitted.after
    assert elsewhere.after
    assert fitted.after != elsewhere.after
    assert fitted.before == elsewhere.before


def test_without_a_calibration_other_rows_have_no_after() -> None:
    assert report_of(False).after is None
    assert report_of(False).reason == "none is stored with the model"
    assert not report_of(True).stored


def printed(reports: dict[str, CalibrationReport | None], capsys: pytest.CaptureFixture) -> str:
    latency = Latency(batch_1=1.0, throughput_32=10.0, device="cpu", threads=1)
    sizes = {"parameters": 1, "encoder_parameters": 1, "flops": 1, "file_bytes": 1}
    models = tuple(
        Measurement(model=name, scores={}, **sizes, max_length=8, latency=latency, calibration=own)
        for name, own in reports.items()
    )
    on = {"version": "v", "version_id": "i", "task": "t", "rows": {"some": 300}}
    result = EvaluationResult(
        **on, selection=Selection(metric="accuracy", split="some"), models=models
    )
    assert EvaluationResult.model_validate(result.to_json()) == result
    console: Console = open_console()
    print_calibration(result, console)
    return capsys.readouterr().out


def test_the_table_says_before_and_after(capsys: pytest.CaptureFixture) -> None:
    own, other = report_of(True, Calibration(2.5, (0.1, 0.0, -0.1))), report_of(False)
    out = printed({"student": own, "[red]": other, "regression": None}, capsys)

    assert own.after
    assert f"{own.before.ece:.3f} → {own.after.ece:.3f}" in out
    assert "2.50" in out
    assert "student: a bias per class too" in out
    assert "[red]: none: none is stored with the model" in out
    assert "regression" not in out
    assert printed({"regression": None}, capsys) == ""


def test_a_student_that_is_not_stored_says_how(capsys: pytest.CaptureFixture) -> None:
    assert "m: not stored with the model; distill export" in printed({"m": report_of(True)}, capsys)


def test_a_version_is_judged_on_its_first_split(version: Version, teacher: Path) -> None:
    """As everywhere: it selects."""
    classifier = load_classifier(str(teacher), version.task)
    tokens = tokenize_sample(
        version.task, sample(version, "validation", 80), classifier.tokenizer, 16
    )
    rows = labeled(tokens, version.task, "validation")
    judged = judge(classifier, version.task, {"validation": rows, "other": rows})

    assert judged.calibration
    assert (judged.calibration.split, judged.calibration.rows) == ("validation", 80)
    assert (
        judge(classifier, version.task, {"validation": rows}, intervals=False).calibration is None
    )


def test_the_columns_of_the_texts_stand_beside_it(
    tokenizer: BertTokenizerFast, rows: datasets.Dataset
) -> None:
    """A regression that began as a classifier keeps nothing of its calibration."""
    model = make_bert(tokenizer, labels=("score",), layers=1)
    model.config.update({KEY: {"format": 1, "calibration": {"bias": [1.0, -1.0]}}})
    classifier = Classifier("m", model, tokenizer)
    label = Label(column="score", kind="regression")
    task = SENTIMENT.model_copy(update={"label": label, "text_columns": ("a", "b")})

    assert calibrate(classifier, task, rows) is None
    assert settings_of("m", model.config) == ServingSettings(text_columns=("a", "b"))
