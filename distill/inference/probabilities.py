"""Logits to probabilities, as a model's calibration says: pure, on numpy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distill.inference.settings import Calibration

Numbers = NDArray[np.float64]
UNCALIBRATED = Calibration()


def log_probabilities(logits: ArrayLike, calibration: Calibration = UNCALIBRATED) -> Numbers:
    """Logarithms of ``probabilities``: finite wherever the logits are."""
    scaled = _scaled(logits, calibration)
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


def most_probable(logits: ArrayLike, calibration: Calibration = UNCALIBRATED) -> NDArray[np.int64]:
    """The place of the label that a model names, shape (rows,).

    Found before probabilities are: those of two labels may be one number, as at a high temperature
    or in float32. Whoever names a label asks here, so that all name the same.
    """
    found: NDArray[np.int64] = _scaled(logits, calibration).argmax(axis=-1)
    return found


def _scaled(logits: ArrayLike, calibration: Calibration) -> Numbers:
    scaled = np.asarray(logits, dtype=np.float64) / calibration.temperature
    return scaled + np.asarray(calibration.bias) if calibration.bias else scaled
