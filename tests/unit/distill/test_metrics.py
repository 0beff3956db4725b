"""GLUE's metrics against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from distill.evaluation.metrics import majority_score, score


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
