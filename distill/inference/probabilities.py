"""Logits to probabilities, as a model's calibration says: pure, on numpy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distill.inference.settings import Calibration

Numbers = NDArray[np.float64]
UNCALIBRATED = Calibration()


def log_probabilities(logits: ArrayLike, calibration: Calibration = UNCALIBRATED) -> Numbers:
    """Logarithms of ``probabilities``: finite wherever the logits are."""
    scaled = np.asarray(logits, dtype=np.float64) / calibration.temperature
    if calibration.bias:
        scaled = scaled + np.asarray(calibration.bias)
    shifted: Numbers = scaled - scaled.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted


def probabilities(logits: ArrayLike, calibration: Calibration = UNCALIBRATED) -> Numbers:
    """``softmax(logits / temperature + bias)``.

    The label that a model names is the one that this makes the most probable: with a bias it may
    be another one than that of the largest logit.

    Args:
        logits: Shape (rows, labels), finite; in the order of the bias.
        calibration: Of the model.

    Returns:
        Shape (rows, labels), each row summing to 1.
    """
    found: Numbers = np.exp(log_probabilities(logits, calibration))
    return found
