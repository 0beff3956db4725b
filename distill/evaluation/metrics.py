"""Metrics by name, on scikit-learn and scipy: GLUE's, and those for uneven classes.

- ``accuracy``; ``matthews`` (Matthews' correlation).
- ``f1``: of class 1 where the task has two classes (as GLUE scores MRPC and QQP). Where it has
  more, it is ``macro_f1``.
- ``macro_f1``: the mean of the F1 of each class that occurs, in the labels or in the predictions;
  ``weighted_f1``: the same weighted by the rows of each class.
- ``balanced_accuracy``: the mean of the recall of each class that occurs in the labels.
- ``pearson``, ``spearman``, ``pearson_spearman`` (their mean): of scores. A constant prediction
  has no correlation, Matthews' included; it counts as 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]


def score(
    names: Sequence[str], predictions: Array, labels: Array, classes: int
) -> dict[str, float]:
    """Compute metrics by the names of the module's list; higher is better for each.

    Predictions and gold labels are class numbers or scores, shape (rows,). ``classes`` is how many
    the task has, whether or not all occur; 0 for a regression.
    """
    return {
        name: _f1(predictions, labels, "binary" if classes == 2 else "macro")
        if name == "f1"
        else _METRICS[name](predictions, labels)
        for name in names
    }


def constant_answer(name: str, labels: Array, classes: int) -> int:
    """The class that scores best as the answer to every row; the first of those that do."""
    return int(np.argmax(_constant_scores(name, labels, classes)))


def majority_score(name: str, labels: Array, classes: int) -> float:
    """The best score of a constant prediction.

    Of a regression (0 or 1 classes) it is 0.
    """
    return 0.0 if classes < 2 else max(_constant_scores(name, labels, classes))


def _constant_scores(name: str, labels: Array, classes: int) -> list[float]:
    constants = [np.full_like(labels, label) for label in range(classes)]
    return [score((name,), constant, labels, classes)[name] for constant in constants]


def guess_score(name: str, labels: Array, classes: int) -> float:
    """What guessing scores: the best constant answer, or answers drawn like the labels.

    The second is the larger one where each class counts alike: 1/classes by ``macro_f1``, of which
    a constant answer of many classes has next to nothing. Of a regression it is 0.
    """
    if classes < 2:
        return 0.0
    drawn = np.random.default_rng(0).permutation(labels)
    turns = range(max(1, min(len(labels), _GUESSES // len(labels))))
    guesses = np.concatenate([np.roll(drawn, turn) for turn in turns])
    known = np.tile(labels, len(turns))
    random = score((name,), guesses, known, classes)[name]
    return max(random, majority_score(name, labels, classes))


_GUESSES = 20_000
MARGIN = 0.06


def most_of_luck(guess: float) -> float:
    """The score that lies 6% of the way from guessing to a perfect one."""
    return guess + MARGIN * (1 - guess)


def is_weak(score: float, guess: float) -> bool:
    """Whether a score may be luck."""
    return score <= most_of_luck(guess)


def _accuracy(predictions: Array, labels: Array) -> float:
    return float((predictions == labels).mean())


def _f1(predictions: Array, labels: Array, average: str) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, average=average, zero_division=0.0))


def _balanced_accuracy(predictions: Array, labels: Array) -> float:
    from sklearn.metrics import recall_score

    return float(recall_score(labels, predictions, labels=np.unique(labels), average="macro"))


def _matthews(predictions: Array, labels: Array) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(labels, predictions)) if _vary(predictions, labels) else 0.0


def _pearson(predictions: Array, labels: Array) -> float:
    from scipy.stats import pearsonr

    return float(pearsonr(predictions, labels)[0]) if _vary(predictions, labels) else 0.0


def _spearman(predictions: Array, labels: Array) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(predictions, labels)[0]) if _vary(predictions, labels) else 0.0


def _vary(*columns: Array) -> bool:
    return all(len(column) > 1 and np.ptp(column.astype(np.float64)) != 0 for column in columns)


def _pearson_spearman(predictions: Array, labels: Array) -> float:
    return (_pearson(predictions, labels) + _spearman(predictions, labels)) / 2


_METRICS: dict[str, Callable[[Array, Array], float]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": partial(_f1, average="macro"),
    "weighted_f1": partial(_f1, average="weighted"),
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
    "pearson_spearman": _pearson_spearman,
}
