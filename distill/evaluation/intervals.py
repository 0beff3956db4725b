"""How sure a score is: rows drawn anew, with a key of their own, so that models can be paired.

The bootstrap of Efron: a split's rows are drawn with replacement, as many as there are, and scored
again; the middle 95% of a thousand such scores is the interval. Every model of a split is scored
on the same draws, so the difference of two of them has an interval of its own, a narrower one.
Two sides of several seeds each are compared by ``paired_bootstrap`` (Efron and Tibshirani, 1993,
chapters 13 and 16): of a side counts the mean of its seeds; how far they spread is not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.contract.foreign import counted
from distill.errors import DataInvalid
from distill.evaluation.metrics import Array
from distill.runs.records import Record

RESAMPLES, FEWEST = 1_000, 200
COMPARED = 2_000
"""Resamples by which two sides are compared."""
MOST_DRAWS = 20_000_000
"""In all: of more than 20,000 rows fewer resamples are taken, but 200 at least."""
AT_ONCE = 1 << 20
LEVEL = 0.95
FEWEST_ROWS = 30
"""Of fewer rows the resamples are too much alike: their interval is too narrow."""
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Scorer = Callable[[Counts], Floats]
"""Places of rows, shape (resamples, rows), to the score of each resample, shape (resamples,)."""


class Interval(Record):
    """Where 95% of the scores of resampled rows lie."""

    low: float
    high: float


def gap(difference: float, found: Interval, than: str = "") -> str:
    """How far one score is from another, as a person says it. PURE.

    Args:
        difference: Of the two scores; above 0 where this one is better.
        found: Where 95% of the differences lie, on the same resampled rows.
        than: What the other one is called; nothing where that is known.
    """
    side = (found.low > 0) - (found.high < 0)
    if not side:
        other = f" from {than}" if than else ""
        span = f"between {_place(found.low)} and {_place(found.high)}"
        return f"no clear difference{other}: {span} {_OF_RESAMPLES}"
    where = "ahead of" if side > 0 else "behind"
    words = f"{where} {than}" if than else where.removesuffix(" of")
    near, far = sorted((_size(found.low), _size(found.high)))
    own = f"by {_size(difference)}, and " * (side * difference > 0)
    return f"{words} {own}by {near} to {far} {_OF_RESAMPLES}"


_OF_RESAMPLES = f"in {LEVEL * 100:.0f} of 100 resamples"


def _size(difference: float) -> str:
    return f"{abs(difference):.3f}"


def _place(difference: float) -> str:
    """``0.035 behind``, ``0.085 ahead`` or ``level``."""
    size = _size(difference)
    if not float(size):
        return "level"
    return f"{size} {'ahead' if difference > 0 else 'behind'}"


def interval(scores: Floats, rows: int | None = None) -> Interval:
    """The middle 95% of some scores, shape (resamples,).

    Without a mistake on so many ``rows`` every resample is perfect; what may be wrong of others is
    3 in ``rows`` then (the rule of three).
    """
    low, high = np.quantile(scores, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if rows and low == 1:
        low = max(0.0, 1 - 3 / rows)
    return Interval(low=float(low), high=float(high))


def resample(metric: str, answers: Array, labels: Array, classes: int) -> Floats:
    """The scores of rows that are drawn anew, the same ones for all models of as many rows.

    Args:
        metric: One of those in ``metrics``.
        answers: Class numbers or scores, shape (rows,).
        labels: Likewise.
        classes: Of the task; 0 for a regression.

    Returns:
        Shape (resamples,): 1,000, fewer of more than 20,000 rows.
    """
    own = scorer(metric, answers, labels, classes)
    return np.concatenate([own(places) for places in draws(len(labels))])


def scorer(metric: str, answers: Array, labels: Array, classes: int) -> Scorer:
    """What scores rows that were drawn by their places; parameters as of ``resample``."""
    if classes:
        return _of_classes(metric, answers.astype(np.int64), labels.astype(np.int64), classes)
    return _of_scores(metric, answers.astype(np.float64), labels.astype(np.float64))


def few_rows(rows: int) -> str:
    """Why intervals of so many rows say little, as a sentence; empty where they are enough."""
    if rows >= FEWEST_ROWS:
        return ""
    return (
        f"{counted(rows, 'row')}: too few for intervals to be believed; {FEWEST_ROWS} or more are"
    )


class Significance(Record):
    """The difference of two sides, and how sure it is.

    Attributes:
        difference: Of the mean scores; above 0 where the first side is better.
        interval: The middle 95% of the differences of resampled rows; None of fewer than two.
        p_value: Two-sided: how often resamples lie on the other side of 0; None likewise.
        rows: That were drawn from.
        resamples: How many there were.
        note: Why it says little, where it does.
    """

    difference: float
    interval: Interval | None
    p_value: float | None
    rows: int
    resamples: int
    note: str = ""


def paired_bootstrap(
    metric: str,
    one: Sequence[Array],
    other: Sequence[Array],
    labels: Array,
    classes: int,
    *,
    resamples: int = COMPARED,
) -> Significance:
    """Compare two sides on the same rows.

    Args:
        metric: One of those in ``metrics``.
        one: Class numbers or scores, shape (rows,), of each model of the first side.
        other: Of the second side; there may be another number of them.
        labels: Of the rows, shape (rows,).
        classes: Of the task; 0 for a regression.
        resamples: How often rows are drawn.

    Raises:
        DataInvalid: A side has no model, or answers are not of these rows.
    """
    rows = len(labels)
    if not one or not other or any(len(own) != rows for own in (*one, *other)):
        raise DataInvalid(
            f"a comparison needs answers of both sides to the same {counted(rows, 'row')}.",
            "Answer the rows with every model, in the same order.",
        )
    sides = [[scorer(metric, own, labels, classes) for own in side] for side in (one, other)]

    def difference(places: Counts, axis: int = -1) -> Floats:
        """Of each resample; scipy asks for all at once, the rows on the last axis."""
        assert axis == -1
        flat = places.reshape(-1, places.shape[-1]).astype(np.int64)
        first, second = (np.mean([own(flat) for own in side], axis=0) for side in sides)
        return np.asarray(first - second).reshape(places.shape[:-1])

    if rows < 2:
        found = float(difference(np.zeros(1, np.int64))) if rows else 0.0
        return Significance(
            difference=found, interval=None, p_value=None, rows=rows, resamples=0,
            note=few_rows(rows),
        )  # fmt: skip
    whole = float(difference(np.arange(rows)))
    interval, drawn = _differences(difference, rows, resamples)
    far = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return Significance(
        difference=whole,
        interval=interval,
        p_value=min(1.0, 2 * (far + 1) / (len(drawn) + 1)),
        rows=rows,
        resamples=len(drawn),
        note=few_rows(rows),
    )


def _differences(difference: Any, rows: int, resamples: int) -> tuple[Interval, Floats]:
    """Where the middle of the differences lies, and all that were drawn."""
    from scipy.stats import bootstrap

    found = bootstrap(
        (np.arange(rows),), difference, n_resamples=resamples, batch=max(1, AT_ONCE // rows),
        vectorized=True, confidence_level=LEVEL, method="percentile",
        rng=np.random.default_rng((2, rows)),
    )  # fmt: skip
    low, high = map(float, found.confidence_interval)
    return Interval(low=low, high=high), np.asarray(found.bootstrap_distribution)


def draws(rows: int) -> Iterator[Counts]:
    """Places of the rows of some resamples at a time, shape (resamples, rows); a few MB."""
    draw = np.random.default_rng((1, rows))
    left = min(RESAMPLES, max(FEWEST, MOST_DRAWS // rows))
    while left:
        some = min(left, max(1, AT_ONCE // rows))
        yield draw.integers(rows, size=(some, rows))
        left -= some


def _tally(places: Counts, group: Counts, groups: int) -> Counts:
    """How often each group of rows was drawn, shape (resamples, groups)."""
    some = len(places)
    codes = group[places] + groups * np.arange(some)[:, None]
    return np.bincount(codes.ravel(), minlength=some * groups).reshape(some, groups)


def _of_classes(metric: str, answers: Counts, labels: Counts, classes: int) -> Scorer:
    """All that counts are rows by label and answer: as many sums as there are such pairs."""
    pairs, cell = np.unique(np.stack([labels, answers]), axis=1, return_inverse=True)
    known, place = np.unique(pairs, return_inverse=True)
    of_label, of_answer = place.reshape(pairs.shape)
    if metric == "f1":
        metric = "f1 of the second" if classes == 2 else "macro_f1"

    def scores(places: Counts) -> Floats:
        cells = _tally(places, cell.ravel(), pairs.shape[1])
        given, stated = (_sums(cells, own, len(known)) for own in (of_answer, of_label))
        hits = _sums(cells * (of_label == of_answer), of_label, len(known))
        return _class_metric(metric, hits, stated, given, known)

    return scores


def _sums(cells: Counts, group: Counts, groups: int) -> Floats:
    """Sums over the cells of each group, shape (resamples, groups)."""
    order = np.argsort(group, kind="stable")
    present, starts = np.unique(group[order], return_index=True)
    sums = np.zeros((len(cells), groups))
    sums[:, present] = np.add.reduceat(cells[:, order], starts, axis=1)
    return sums


def _class_metric(
    metric: str, hits: Floats, stated: Floats, given: Floats, known: Counts
) -> Floats:
    """A metric of each resample from rows found, labeled and answered, (resamples, classes)."""
    rows = stated.sum(axis=1)
    f1 = 2 * hits / np.maximum(stated + given, 1)
    match metric:
        case "accuracy":
            return np.asarray(hits.sum(axis=1) / rows)
        case "f1 of the second":
            return np.asarray(f1[:, known == 1].sum(axis=1))
        case "macro_f1":
            return np.asarray(f1.sum(axis=1) / (stated + given > 0).sum(axis=1))
        case "weighted_f1":
            return np.asarray((f1 * stated).sum(axis=1) / rows)
        case "balanced_accuracy":
            return np.asarray((hits / np.maximum(stated, 1)).sum(axis=1) / (stated > 0).sum(axis=1))
        case "matthews":
            above = hits.sum(axis=1) * rows - (stated * given).sum(axis=1)
            spread = [rows**2 - (own**2).sum(axis=1) for own in (stated, given)]
            return _ratio(above, np.sqrt(spread[0]) * np.sqrt(spread[1]))
    raise AssertionError(f"no resampled {metric}")


def _of_scores(metric: str, answers: Floats, labels: Floats) -> Scorer:
    columns = (answers, labels)
    parts = ("pearson", "spearman") if metric == "pearson_spearman" else (metric,)
    orders = [np.unique(own, return_inverse=True)[1] for own in columns]
    rows = np.arange(len(labels))

    def scores(places: Counts) -> Floats:
        counts = _tally(places, rows, len(rows)).astype(np.float64)
        found = []
        for part in parts:
            if part == "pearson":
                values = [np.broadcast_to(own - own.mean(), counts.shape) for own in columns]
            else:
                values = [_ranks(counts, own) for own in orders]
            found.append(_correlation(counts, *values))
        return np.asarray(np.mean(found, axis=0))

    return scores


def _ranks(counts: Floats, group: Counts) -> Floats:
    """The rank of each row within each resample, equal values sharing theirs, less the middle."""
    equal = _sums(counts, group, int(group.max()) + 1)  # type: ignore[arg-type]
    ranks = np.cumsum(equal, axis=1) - equal / 2 - len(group) / 2
    return np.asarray(ranks[:, group])


def _correlation(counts: Floats, first: Floats, second: Floats) -> Floats:
    """Pearson's of rows that count several times, shape (resamples,); 0 where one is constant."""
    rows = counts.sum(axis=1)
    means = [(counts * own).sum(axis=1) / rows for own in (first, second)]
    spread = [
        np.maximum((counts * own**2).sum(axis=1) - rows * mean**2, 0)
        for own, mean in zip((first, second), means, strict=True)
    ]
    together = (counts * first * second).sum(axis=1) - rows * means[0] * means[1]
    tiny = [1e-12 * (own**2).max(initial=0) for own in (first, second)]
    constant = (spread[0] <= tiny[0]) | (spread[1] <= tiny[1])
    return np.where(constant, 0.0, _ratio(together, np.sqrt(spread[0] * spread[1])))


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
