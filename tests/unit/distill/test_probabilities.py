"""Logits to probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from distill.inference.probabilities import log_probabilities, most_probable, probabilities
from distill.inference.settings import Calibration

LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0], [-3.0, 4.0, 4.5]], dtype=np.float32)


@pytest.mark.parametrize(
    "calibration", [Calibration(), Calibration(2.5), Calibration(0.4, (0.5, -0.5, 0.0))]
)
def test_softmax_of_scaled_and_shifted_logits(calibration: Calibration) -> None:
    wanted = softmax(LOGITS / calibration.temperature + (calibration.bias or (0.0,)), axis=1)

    assert np.allclose(probabilities(LOGITS, calibration), wanted, atol=1e-12)
    assert np.allclose(np.exp(log_probabilities(LOGITS, calibration)), wanted, atol=1e-12)


def test_labels_are_told_apart_where_their_probabilities_are_one_number() -> None:
    logits = np.array([[1.0, np.nextafter(np.float32(1), np.float32(2))]], dtype=np.float32)
    for calibration in (Calibration(100.0), Calibration(100.0, (0.0, 0.0))):
        shares = probabilities(logits, calibration).astype(np.float32)
        assert shares[0, 0] == shares[0, 1]
        assert most_probable(logits, calibration).tolist() == [1]
    assert most_probable([[1.0, 0.9]], Calibration(1.0, (0.0, 0.3))).tolist() == [1]


def test_a_bias_may_name_another_label() -> None:
    assert probabilities([[1.0, 0.9]], Calibration(1.0, (0.0, 0.3))).argmax() == 1


@pytest.mark.parametrize("size", [1e30, -1e30])
def test_finite_logits_of_any_size_have_finite_answers(size: float) -> None:
    found = log_probabilities(np.array([[size, 0.0], [0.0, size]], dtype=np.float32))

    assert np.isfinite(found).all()
    assert np.allclose(np.exp(found).sum(axis=1), 1)
