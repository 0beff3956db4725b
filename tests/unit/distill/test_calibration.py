"""Temperature, bias, and the figures that say what they bring."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from distill.evaluation.calibration import (
    FEWEST_ROWS,
    brier_score,
    expected_calibration_error,
    fit_calibration,
    quality,
)
from distill.inference.probabilities import log_probabilities, probabilities
from distill.inference.settings import HOTTEST, Calibration
from tests.reference import calibration as reference


def drawn(rows: int, classes: int, seed: int = 0, spread: float = 2.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, spread, (rows, classes))


def labels_of(shares: np.ndarray, seed: int = 1) -> np.ndarray:
    """Labels that come as often as the probabilities say."""
    draw = np.random.default_rng(seed).random((len(shares), 1))
    return np.minimum((shares.cumsum(axis=1) < draw).sum(axis=1), shares.shape[1] - 1)


@pytest.mark.parametrize("classes", [2, 5])
def test_figures_are_those_of_scikit_learn(classes: int) -> None:
    logits = drawn(400, classes)
    labels = np.random.default_rng(2).integers(0, classes, 400)
    found = quality(log_probabilities(logits), labels)
    shares = probabilities(logits)

    assert found.log_loss == pytest.approx(log_loss(labels, shares))
    wanted = brier_score_loss(labels, shares, scale_by_half=False, labels=range(classes))
    assert found.brier == pytest.approx(wanted)


@pytest.mark.parametrize("classes", [2, 3, 24])
def test_calibration_error_is_that_of_its_definition(classes: int) -> None:
    shares = probabilities(drawn(300, classes, seed=classes))
    labels = np.random.default_rng(3).integers(0, classes, 300)

    wanted = reference.expected_calibration_error(shares.tolist(), labels.tolist())
    assert expected_calibration_error(shares, labels) == pytest.approx(wanted)


def test_a_bin_holds_its_upper_edge_and_not_its_lower() -> None:
    shares = np.array([[0.5, 0.5], [1.0, 0.0], [0.75, 0.25], [1.0, 0.0]])
    labels = np.array([1, 0, 0, 1])

    wanted = reference.expected_calibration_error(shares.tolist(), labels.tolist())
    assert expected_calibration_error(shares, labels) == pytest.approx(wanted)
    assert wanted == pytest.approx((0.5 + 0.25 + 2 * 0.5) / 4)


def test_the_worst_and_the_best_brier_score() -> None:
    certain = np.array([[1.0, 0.0, 0.0]] * 2)

    assert brier_score(certain, np.array([0, 0])) == 0
    assert brier_score(certain, np.array([1, 2])) == 2


@pytest.mark.parametrize("temperature", [0.4, 1.7, 5.0])
@pytest.mark.parametrize("classes", [2, 6])
def test_a_temperature_is_found_again(temperature: float, classes: int) -> None:
    logits = drawn(6000, classes, spread=2.0)
    labels = labels_of(probabilities(logits))
    found = fit_calibration(temperature * logits, labels, "accuracy")

    assert found.calibration.temperature == pytest.approx(temperature, rel=0.06)
    assert found.calibration.bias == ()
    assert found.after is not None
    assert found.after.ece < 0.02 < found.before.ece
    assert found.after.brier < found.before.brier
    assert found.score_after == found.score_before


def test_a_bias_is_found_again() -> None:
    logits, bias = drawn(5000, 3, spread=1.0), (1.5, 0.0, -1.5)
    labels = labels_of(probabilities(logits, Calibration(0.5, bias)))
    found = fit_calibration(logits, labels, "accuracy")

    assert found.calibration.temperature == pytest.approx(0.5, rel=0.1)
    assert found.calibration.bias == pytest.approx(bias, abs=0.15)
    assert sum(found.calibration.bias) == pytest.approx(0)
    assert found.score_after is not None
    assert found.score_after > found.score_before


def test_a_bias_that_lowers_the_score_is_left_out() -> None:
    """Log loss wants what lies in wait for the many; the mean over classes does not."""
    logits, bias = drawn(4000, 3, spread=0.7), (2.5, 0.0, -2.5)
    labels = labels_of(probabilities(logits, Calibration(1.0, bias)))

    assert fit_calibration(logits, labels, "accuracy").calibration.bias
    assert not fit_calibration(logits, labels, "balanced_accuracy").calibration.bias


def test_without_need_there_is_no_bias() -> None:
    logits = drawn(600, 2, seed=5) + np.array([0.0, 1.5])
    uneven = labels_of(probabilities(logits))
    shifted = np.arange(600) % 2  # even classes, whose logits are shifted
    assert not fit_calibration(2 * logits, uneven, "accuracy").calibration.bias
    assert not fit_calibration(logits, shifted, "accuracy").calibration.bias


def test_without_a_mistake_nobody_is_told_to_be_sure_of_everything() -> None:
    labels = np.arange(80) % 2
    logits = 4.0 * np.eye(2)[labels]
    found = fit_calibration(logits, labels, "accuracy")

    assert found.calibration.temperature > 1 / HOTTEST
    assert probabilities(logits, found.calibration).max() < 1 - 1 / 200


def test_after_is_measured_on_rows_that_were_not_fitted() -> None:
    """Of labels that have nothing to do with the logits, a fit of the same rows would lower it."""
    logits = drawn(60, 20, seed=7, spread=0.01)
    found = fit_calibration(logits, np.random.default_rng(8).integers(0, 20, 60), "accuracy")

    assert found.calibration == Calibration()
    assert found.after is None
    assert "not lower the log loss" in found.reason


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (np.arange(FEWEST_ROWS - 1) % 2, "49 labeled rows are too few for one; 50 will do"),
        (np.ones(200, dtype=np.int64), "all rows have the same label"),
    ],
)
def test_too_little_to_fit(labels: np.ndarray, reason: str) -> None:
    found = fit_calibration(drawn(len(labels), 2), labels, "accuracy")

    assert (found.calibration, found.after, found.reason) == (Calibration(), None, reason)
    assert found.before.log_loss > 0


def test_equal_logits_say_nothing() -> None:
    found = fit_calibration(np.zeros((100, 3)), np.arange(100) % 3, "macro_f1")

    assert found.calibration == Calibration()
    assert "not lower" in found.reason


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_logits_of_any_size(size: float) -> None:
    labels = np.arange(100) % 2
    logits = (size * drawn(100, 2)).astype(np.float32)
    found = fit_calibration(logits, labels, "accuracy")

    assert 1 / HOTTEST <= found.calibration.temperature <= HOTTEST
    assert np.isfinite([found.before.ece, found.before.brier, found.before.log_loss]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        fit_calibration(np.full((60, 2), bad), np.arange(60) % 2, "accuracy")


def test_the_same_twice_and_in_float32() -> None:
    logits = (3 * drawn(500, 4)).astype(np.float32)
    labels = labels_of(probabilities(logits / 3))

    assert fit_calibration(logits, labels, "macro_f1") == fit_calibration(
        logits.astype(np.float64), labels, "macro_f1"
    )


def test_a_class_without_rows() -> None:
    logits = drawn(200, 4)
    labels = labels_of(probabilities(logits / 2)[:, :2] * 1.0)
    found = fit_calibration(logits, labels, "accuracy")

    assert found.calibration.bias == ()
    assert found.after is not None
