"""Figures class by class are scikit-learn's; tables stay readable; a lost class is named."""

from __future__ import annotations

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from distill.evaluation.classes import class_report
from distill.evaluation.results import EvaluationResult, Role
from distill.evaluation.verdicts import with_verdicts
from distill.tables.classes import print_classes
from tests.unit.distill.test_results import stored


@pytest.mark.parametrize("classes", [2, 5, 150])
@pytest.mark.parametrize("rows", [1, 7, 400])
def test_figures_are_those_of_scikit_learn(classes: int, rows: int) -> None:
    """Few rows of many classes: some have no label, some no answer, some neither."""
    draw = np.random.default_rng((classes, rows))
    labels, answers = draw.integers(classes, size=(2, rows))
    answers = np.where(draw.random(rows) < 0.5, labels, answers)
    names = [f"c{number}" for number in range(classes)]
    found = class_report(answers, labels, names)

    wanted = precision_recall_fscore_support(
        labels, answers, labels=range(classes), zero_division=0.0
    )
    for own, *figures in zip(found.scores, *wanted, strict=True):
        assert [own.precision, own.recall, own.f1, own.support] == pytest.approx(figures)
    matrix = [[found.answered(label, answer) for answer in names] for label in names]
    assert matrix == confusion_matrix(labels, answers, labels=range(classes)).tolist()
    assert all(count for row in found.confusion.values() for count in row.values())


def result_of(labels: list[int], answers: list[int], names: list[str]) -> EvaluationResult:
    """A finished run, every model of which gave the same answers."""
    raw = stored(baseline=Role.TEACHER)
    report = class_report(np.asarray(answers), np.asarray(labels), names)
    for model in raw["models"]:
        model["classes"] = {"validation": report.to_json()}
        model["resampled"] = [model["scores"]["validation"]["accuracy"]]
    return EvaluationResult.model_validate(raw)


def printed(result: EvaluationResult, capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_classes(result, Console(soft_wrap=True, width=200))
    return capsys.readouterr().out.splitlines()


def test_the_table_has_the_classes_of_every_model_and_what_is_confused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ["billing", "shipping", "never"]
    result = result_of([0, 0, 0, 1, 1], [0, 0, 1, 1, 0], names)
    lines = [line.split() for line in printed(result, capsys)]

    assert ["billing", "3", *["0.67", "0.67", "0.67"] * 3] in lines
    assert ["shipping", "2", *["0.50", "0.50", "0.50"] * 3] in lines
    assert ["billing", "2", "1", "0"] in lines  # of the distilled student
    assert ["never", "0", "0", "0"] in lines


def test_of_many_classes_the_worst_are_shown_and_the_rest_is_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [f"intent {number} \x1b[31m" for number in range(150)]
    labels = [*range(150)] * 2
    answers = [0 if label in (3, 77) else label for label in labels]
    lines = printed(result_of(labels, answers, names), capsys)
    text = "\n".join(lines)

    assert len(lines) < 25
    assert max(map(len, lines)) < 160
    assert "intent 3 " in text
    assert "140 more classes, recall 1.00 to 1.00" in text
    assert "'intent 3 \\x1b[31m' taken for 'intent 0 \\x1b[31m' 2" in text
    assert "\x1b" not in text


def test_results_without_classes_have_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(EvaluationResult.model_validate(stored()), capsys) == []


def test_a_class_that_is_hardly_found_is_said() -> None:
    labels = [0] * 60 + [1] * 20 + [2] * 4
    answers = [0] * 60 + [1] + [0] * 19 + [0] * 4  # four rows may be missed by chance
    found = with_verdicts(result_of(labels, answers, ["a", "b", "c"])).verdicts

    assert [own.sentence for own in found] == [
        "The teacher hardly ever finds 'b': recall 0.05 of 20 rows of validation.",
        "The distilled student hardly ever finds 'b': recall 0.05 of 20 rows of validation.",
    ]


def test_of_many_lost_classes_some_are_named() -> None:
    names = [f"c{number}" for number in range(20)]
    labels = np.repeat(np.arange(20), 6)
    answers = np.where(labels < 12, labels, 0)
    found = with_verdicts(result_of(labels.tolist(), answers.tolist(), names)).verdicts

    assert found[0].sentence == (
        "The teacher hardly ever finds 8 of 20 classes of validation: "
        "'c12', 'c13', 'c14', 'c15' and 4 more."
    )
