"""Metrics against their definitions, and what guessing scores."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, f1_score

from augment.contract.task import METRICS_OF
from distill.evaluation.metrics import Array, guess_score, majority_score, score


def test_classes() -> None:
    labels, answers = np.array([1, 0, 1, 1, 0]), np.array([1, 0, 0, 1, 1])
    found = score(("accuracy", "f1", "matthews"), answers, labels, 2)

    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["f1"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert found["matthews"] == pytest.approx((2 * 1 - 1 * 1) / np.sqrt(3 * 3 * 2 * 2))


def test_f1_is_macro_beyond_two_classes() -> None:
    labels, answers = np.array([0, 1, 2, 2]), np.array([0, 1, 2, 0])

    assert score(("f1",), answers, labels, 3)["f1"] == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)


def test_f1_goes_by_the_tasks_classes_not_by_those_that_occur() -> None:
    """Few rows of many classes: 0 and 1 alone do not make the task a binary one."""
    labels, answers = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])

    assert score(("f1",), answers, labels, 2)["f1"] == pytest.approx(4 / 5)
    assert score(("f1",), answers, labels, 100)["f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert score(("f1",), answers, np.array([0, 1, 1, 99]), 100)["f1"] == pytest.approx(1.8 / 3)
    assert majority_score("f1", np.array([0, 0, 1, 1]), 100) == pytest.approx((2 / 3) / 2)


def test_scores() -> None:
    draw = np.random.default_rng(0)
    labels, answers = draw.normal(size=50), draw.normal(size=50)
    found = score(("pearson", "spearman", "pearson_spearman"), answers, labels, 0)

    assert found["pearson"] == pytest.approx(stats.pearsonr(answers, labels)[0])
    assert found["spearman"] == pytest.approx(stats.spearmanr(answers, labels)[0])
    assert found["pearson_spearman"] == pytest.approx((found["pearson"] + found["spearman"]) / 2)
    assert score(("pearson", "spearman"), np.ones(50), labels, 0) == {
        "pearson": 0.0,
        "spearman": 0.0,
    }


def test_chance_is_the_best_constant_answer() -> None:
    labels = np.array([1, 1, 1, 0])

    assert majority_score("accuracy", labels, 2) == pytest.approx(3 / 4)
    assert majority_score("f1", labels, 2) == pytest.approx(6 / 7)
    assert majority_score("matthews", labels, 2) == 0
    assert majority_score("pearson", labels.astype(float), 0) == 0


UNEVEN = np.array([0] * 9 + [1] * 3 + [2] * 2 + [4])
ANSWERS = np.array([0] * 8 + [1] + [1, 1, 0] + [2, 3] + [0])


def test_metrics_for_uneven_classes_are_those_of_scikit_learn() -> None:
    """Class 3 is only answered, class 4 never is, class 5 does not occur."""
    found = score(("macro_f1", "weighted_f1", "balanced_accuracy", "f1"), ANSWERS, UNEVEN, 6)

    assert found["macro_f1"] == found["f1"] == f1_score(UNEVEN, ANSWERS, average="macro")
    assert found["weighted_f1"] == f1_score(UNEVEN, ANSWERS, average="weighted")
    with warnings.catch_warnings(action="ignore"):
        expected = balanced_accuracy_score(UNEVEN, ANSWERS)
    assert found["balanced_accuracy"] == pytest.approx(expected)
    assert found["balanced_accuracy"] == pytest.approx((8 / 9 + 2 / 3 + 1 / 2 + 0) / 4)


def test_of_two_classes_f1_is_that_of_the_second_and_macro_f1_that_of_both() -> None:
    labels, answers = np.array([1, 0, 1, 1, 0]), np.array([1, 0, 0, 1, 1])
    found = score(("f1", "macro_f1"), answers, labels, 2)

    assert found == {"f1": pytest.approx(2 / 3), "macro_f1": pytest.approx((2 / 3 + 1 / 2) / 2)}


@pytest.mark.parametrize("name", METRICS_OF["classification"])
@pytest.mark.parametrize("labels", [UNEVEN, np.array([1, 1, 1]), np.array([5]), np.arange(6)])
def test_every_metric_takes_what_a_validation_set_may_hold(name: str, labels: Array) -> None:
    """No class is asked to occur; nothing is warned of, no score is NaN."""
    with warnings.catch_warnings(action="error"):
        constant = majority_score(name, labels, 6)
        guess = guess_score(name, labels, 6)
        perfect = score((name,), labels, labels, 6)[name]

    assert 0 <= constant <= guess <= 1
    assert perfect == (0 if name == "matthews" and len(set(labels)) == 1 else 1)


def test_a_constant_answer_scores_what_its_class_is_worth() -> None:
    share = 9 / 15

    assert majority_score("macro_f1", UNEVEN, 6) == pytest.approx(2 * share / (1 + share) / 4)
    assert majority_score("weighted_f1", UNEVEN, 6) == pytest.approx(
        share * 2 * share / (1 + share)
    )
    assert majority_score("balanced_accuracy", UNEVEN, 6) == pytest.approx(1 / 4)


def test_guessing_is_worth_more_than_a_constant_where_each_class_counts_alike() -> None:
    """Answers drawn like the labels: an F1 of each class's own share, 1/classes in the mean."""
    tickets = np.repeat(np.arange(5), [57, 38, 30, 17, 8])

    assert majority_score("macro_f1", tickets, 5) == pytest.approx(0.11, abs=0.005)
    assert guess_score("macro_f1", tickets, 5) == pytest.approx(0.2, abs=0.01)
    assert guess_score("accuracy", tickets, 5) == 57 / 150
    assert guess_score("matthews", tickets, 5) == pytest.approx(0, abs=0.02)
    assert guess_score("pearson", tickets.astype(float), 0) == 0
