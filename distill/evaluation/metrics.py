"""GLUE's metrics by name, on scikit-learn and scipy.

- ``accuracy``; ``matthews`` (Matthews' correlation).
- ``f1``: of class 1 where the task has two classes (as GLUE scores MRPC and QQP). Where it has
  more: the mean of the F1 of each class that occurs, in the labels or in the predictions.
- ``pearson``, ``spearman``, ``pearson_spearman`` (their mean): of scores. A constant prediction
  has no correlation; it counts as 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
        name: _f1(predictions, labels, classes)
        if name == "f1"
        else _METRICS[name](predictions, labels)
        for name in names
    }


def majority_score(name: str, labels: Array, classes: int) -> float:
    """The best score of a constant prediction: what a model must beat to have learnt anything.

    Of a regression (0 or 1 classes) it is 0.
    """
    if classes < 2:
        return 0.0
    constants = [np.full_like(labels, label) for label in range(classes)]
    return max(score((name,), constant, labels, classes)[name] for constant in constants)


def _accuracy(predictions: Array, labels: Array) -> float:
    return float((predictions == labels).mean())


def _f1(predictions: Array, labels: Array, classes: int) -> float:
    from sklearn.metrics import f1_score

    average = "binary" if classes == 2 else "macro"
    return float(f1_score(labels, predictions, average=average, zero_division=0.0))


def _matthews(predictions: Array, labels: Array) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(labels, predictions))


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
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
    "pearson_spearman": _pearson_spearman,
}
