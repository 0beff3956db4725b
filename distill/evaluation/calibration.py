"""How far probabilities can be believed, and what makes them believable: pure.

A calibration is one temperature and, for uneven classes, a bias per class:
``softmax(logits / temperature + bias)`` (Guo et al., On Calibration of Modern Neural Networks,
ICML 2017, section 4.2: temperature scaling, and vector scaling with one scale for all classes).

- Both are fitted by the log loss of labeled rows, which is convex in 1 / temperature and the bias.
  Each row counts a little for the other labels too, as if one row more in n + 2 had one of them
  (Platt, Probabilistic Outputs for Support Vector Machines, 1999, section 2.2): a model that makes
  no mistake on the few rows at hand would else be told to be sure of everything.
- What a calibration brings is measured on rows that it was not fitted on: five folds, each answered
  by the fit of the other four.
- A temperature is kept if it lowers that log loss; no label changes by it. A bias changes which
  label is the most probable, and that label is the answer. It is kept only where classes are
  uneven, where it lowers the log loss by more than two standard errors of the difference, row by
  row, and where the score of the answers does not fall.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augment.contract.foreign import counted
from distill.evaluation.metrics import score
from distill.inference.probabilities import UNCALIBRATED, Numbers, log_probabilities
from distill.inference.settings import HOTTEST, Calibration

Labels = NDArray[np.int64]

BINS = 15
FOLDS = 5
FEWEST_ROWS = 50
FEWEST_OF_A_CLASS = 2 * FOLDS
"""Rows of each class that a bias takes."""
UNEVEN = 2.0
"""So many times the rows of the smallest class in the largest make classes uneven."""
BEYOND_NOISE = 2.0
LARGEST_BIAS = 10.0


@dataclass(frozen=True, slots=True)
class ProbabilityQuality:
    """How well probabilities agree with labels; lower is better.

    Attributes:
        ece: See ``expected_calibration_error``.
        brier: See ``brier_score``.
        log_loss: Mean of -ln of the probability of the label.
    """

    ece: float
    brier: float
    log_loss: float


@dataclass(frozen=True, slots=True)
class CalibrationFit:
    """A calibration and what it brings.

    Attributes:
        calibration: Fitted on all rows; the identity where none is kept.
        before: The probabilities as they are.
        after: The same when each row is answered by a fit of others; None where there is no fit.
        score_before: Of the labels named before.
        score_after: Of those named after, by fits of other rows.
        reason: Why no calibration is kept, as a clause; empty where one is.
    """

    calibration: Calibration
    before: ProbabilityQuality
    after: ProbabilityQuality | None
    score_before: float
    score_after: float | None
    reason: str = ""


def quality(log_shares: Numbers, labels: Labels) -> ProbabilityQuality:
    """Judge probabilities, given as logarithms of shape (rows, classes)."""
    shares = np.exp(log_shares)
    return ProbabilityQuality(
        ece=expected_calibration_error(shares, labels),
        brier=brier_score(shares, labels),
        log_loss=float(-_of_labels(log_shares, labels).mean()),
    )


def expected_calibration_error(shares: Numbers, labels: Labels) -> float:
    """The mean difference of confidence and accuracy, over 15 bins of confidence.

    Confidence is the probability of the label that is named; bin m of M holds rows with confidence
    in ((m - 1) / M, m / M] and counts by its share of the rows (Guo et al., 2017, equation 3).
    """
    confidence, right = shares.max(axis=1), shares.argmax(axis=1) == labels
    bins = np.clip(np.ceil(confidence * BINS), 1, BINS).astype(np.int64) - 1
    gaps = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))


def brier_score(shares: Numbers, labels: Labels) -> float:
    """The mean over rows of the squared differences from certainty, summed over classes: 0 to 2.

    Brier, Verification of Forecasts Expressed in Terms of Probability, 1950. Of two classes it is
    twice what is often given, the squared difference of one of them.
    """
    right = _of_labels(shares, labels)
    return float((np.square(shares).sum(axis=1) - 2 * right + 1).mean())


def fit_calibration(
    logits: NDArray[np.floating], labels: Labels, metric: str, *, seed: int = 0
) -> CalibrationFit:
    """Fit a calibration, and measure it on rows that it was not fitted on.

    Args:
        logits: Shape (rows, classes), finite.
        labels: Class numbers, shape (rows,).
        metric: What a bias may not lower, by its name in ``metrics``.
        seed: Of the folds.

    Raises:
        ValueError: A logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise ValueError("logits that are no finite numbers")
    plain, classes = log_probabilities(logits), logits.shape[1]
    before, scored = quality(plain, labels), _score(metric, plain, labels)
    if reason := _too_little(labels):
        return CalibrationFit(UNCALIBRATED, before, None, scored, None, reason)
    folds = _folds(labels, seed)
    biased, held = False, _held_out(logits, labels, folds, biased=False)
    if _is_uneven(np.bincount(labels, minlength=classes)):
        other = _held_out(logits, labels, folds, biased=True)
        saved = _of_labels(other, labels) - _of_labels(held, labels)
        error = float(saved.std(ddof=1)) / np.sqrt(len(labels))
        falls = _score(metric, other, labels) < _score(metric, held, labels)
        if saved.mean() > BEYOND_NOISE * error and not falls:
            biased, held = True, other
    after = quality(held, labels)
    if not after.log_loss < before.log_loss:
        reason = "it would not lower the log loss of rows that it was not fitted on"
        return CalibrationFit(UNCALIBRATED, before, None, scored, None, reason)
    fitted = _fit(logits, labels, biased=biased)
    return CalibrationFit(fitted, before, after, scored, _score(metric, held, labels))


def _too_little(labels: Labels) -> str:
    if len(labels) < FEWEST_ROWS:
        return (
            f"{counted(len(labels), 'labeled row', 'are')} too few for one; {FEWEST_ROWS} will do"
        )
    return "all rows have the same label" if np.ptp(labels) == 0 else ""


def _is_uneven(counts: NDArray[np.int64]) -> bool:
    fewest = int(counts.min())
    return fewest >= FEWEST_OF_A_CLASS and int(counts.max()) >= UNEVEN * fewest


def _folds(labels: Labels, seed: int) -> NDArray[np.int64]:
    """A fold for each row; every class is spread evenly over them."""
    drawn = np.random.default_rng(seed).permutation(len(labels))
    order = drawn[np.argsort(labels[drawn], kind="stable")]
    folds = np.empty(len(labels), dtype=np.int64)
    folds[order] = np.arange(len(labels)) % FOLDS
    return folds


def _held_out(
    logits: NDArray[np.floating], labels: Labels, folds: NDArray[np.int64], *, biased: bool
) -> Numbers:
    """Log probabilities of every row by a fit of the other folds."""
    found = np.empty(logits.shape, dtype=np.float64)
    for fold in range(FOLDS):
        own = folds == fold
        fitted = _fit(logits[~own], labels[~own], biased=biased)
        found[own] = log_probabilities(logits[own], fitted)
    return found


def _fit(logits: NDArray[np.floating], labels: Labels, *, biased: bool) -> Calibration:
    values = np.asarray(logits, dtype=np.float64)
    values = values - values.max(axis=1, keepdims=True)
    wanted = _smoothed(labels, values.shape[1])
    cold = _temperature(values, wanted)
    if not biased:
        return Calibration(cold)
    return _with_bias(values, wanted, cold)


def _smoothed(labels: Labels, classes: int) -> Numbers:
    """What each row should answer: nearly all for its label, shape (rows, classes)."""
    doubt = 1 / (len(labels) + 2)
    wanted = np.full((len(labels), classes), doubt / (classes - 1))
    wanted[np.arange(len(labels)), labels] = 1 - doubt
    return wanted


def _temperature(values: Numbers, wanted: Numbers) -> float:
    """The temperature of the least log loss; it has one minimum, also by the logarithm."""
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        found = log_probabilities(values, Calibration(float(np.exp(log_temperature))))
        return float(-(wanted * found).sum(axis=1).mean())

    most = np.log(HOTTEST)
    found = minimize_scalar(loss, bounds=(-most, most), method="bounded", options={"xatol": 1e-5})
    return float(np.clip(np.exp(found.x), 1 / HOTTEST, HOTTEST))


def _with_bias(values: Numbers, wanted: Numbers, start: float) -> Calibration:
    """Temperature and bias of the least log loss, from a temperature on; the biases sum to 0."""
    from scipy.optimize import minimize

    scaled = values / start  # so that all parameters are of one size

    def loss(parameters: Numbers) -> tuple[float, Numbers]:
        found = log_probabilities(scaled * parameters[0] + parameters[1:])
        slope = (np.exp(found) - wanted) / len(wanted)
        gradient = np.concatenate([[(slope * scaled).sum()], slope.sum(axis=0)])
        return float(-(wanted * found).sum(axis=1).mean()), gradient

    first = np.concatenate([[1.0], np.zeros(values.shape[1])])
    bounds = [(start / HOTTEST, start * HOTTEST)] + [(-LARGEST_BIAS, LARGEST_BIAS)] * (
        len(first) - 1
    )
    best = minimize(loss, first, jac=True, method="L-BFGS-B", bounds=bounds).x
    bias = best[1:] - best[1:].mean()
    temperature = float(np.clip(start / best[0], 1 / HOTTEST, HOTTEST))
    return Calibration(temperature, tuple(map(float, bias)))


def _of_labels(columns: Numbers, labels: Labels) -> Numbers:
    """The value of each row's label."""
    found: Numbers = columns[np.arange(len(labels)), labels]
    return found


def _score(metric: str, log_shares: Numbers, labels: Labels) -> float:
    answers = log_shares.argmax(axis=1)
    return score((metric,), answers, labels, log_shares.shape[1])[metric]
