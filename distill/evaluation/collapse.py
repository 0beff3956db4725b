"""A model that has collapsed: its answers hardly depend on what it reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from augment.contract import TaskSpec
from augment.contract.foreign import counted
from distill.evaluation.metrics import Array, score
from distill.runs.records import Record

ONE_CLASS = 0.9
"""A share of the answers from which on they are those of one class."""
FOUND, RELATED = 0.2, 0.25
"""Recall of the rows of all other classes, and a correlation, that are still next to nothing."""
FEWEST_ROWS, FEWEST_OF_A_CLASS = 5, 3
"""Fewer rows are missed by chance: those of other classes together, and those of one class."""
FLAT = 0.02
"""Share of the labels' deviation below which scores are all the same."""
MOST_NAMES = 4


class Collapse(Record):
    """What was seen of a model whose answers hardly depend on what it reads.

    Attributes:
        split: Where it was seen.
        rows: How many there are.
        sentence: What to say of it, as the rest of a sentence that begins with its name.
        partial: It tells some classes apart, but has never found most of them.
        recalls: Class name to the share of its rows that were found; classes without rows are left
            out, as are all of a regression.
    """

    split: str
    rows: int
    sentence: str
    partial: bool = False
    recalls: dict[str, float] = Field(default_factory=dict)


def find_collapse(
    predictions: Array, labels: Array, task: TaskSpec, split: str = "validation"
) -> Collapse | None:
    """Look whether answers are those of a model that has collapsed.

    Of classes: more than 90% of the answers are one class, and next to none of the rows of other
    classes are found; or most classes are never found. What the labels themselves hold decides,
    so a split of which 95% is one class, a class without rows, and a handful of rows prove nothing.
    Of scores: they are all the same, or no numbers, so that no correlation with the labels is
    defined.

    Args:
        predictions: Class numbers or scores, shape (rows,).
        labels: Likewise.
        task: Whose label they are.
        split: What they are of, for the sentence.

    Returns:
        None for a model that has not, or where the rows are too few to tell.
    """
    if task.label.kind == "regression":
        return _of_scores(predictions.astype(np.float64), labels.astype(np.float64), split)
    return _of_classes(predictions, labels, task.label.names, split)


def _of_classes(
    predictions: Array, labels: Array, names: Sequence[str], split: str
) -> Collapse | None:
    rows, classes = len(labels), len(names)
    counts, answers, found = (
        np.bincount(some.astype(np.int64), minlength=classes)
        for some in (labels, predictions, labels[labels == predictions])
    )
    top = int(answers.argmax())
    others = rows - int(counts[top])
    related = score(("matthews",), predictions, labels, classes)["matthews"] >= RELATED
    one_class = (
        answers[top] > ONE_CLASS * rows
        and others >= FEWEST_ROWS
        and int(found.sum() - found[top]) < FOUND * others
    )
    judged = counts >= FEWEST_OF_A_CLASS
    lost = judged & (found == 0)
    most_lost = judged.sum() > 2 and 2 * lost.sum() > judged.sum()
    if not most_lost and (related or not one_class):
        return None
    missed = [names[place] for place in np.flatnonzero(lost).tolist()]
    of = f"{len(missed)} of {counted(int(judged.sum()), 'class')}"
    if one_class:
        said = f"{counts[top] / rows:.0%} of the labels say so"
        sentence = f"answers {names[top]!r} for {_share(int(answers[top]), rows)} of {split}"
        sentence += f" ({said}); {of} are never found" if len(missed) > 1 else f" ({said})"
    else:
        sentence = f"never finds {listed(missed)}: {of} on {split}"
    recalls = {names[at]: float(found[at] / counts[at]) for at in np.flatnonzero(counts).tolist()}
    return Collapse(
        split=split,
        rows=rows,
        sentence=sentence,
        partial=related,
        recalls=recalls,
    )


def _of_scores(
    predictions: NDArray[np.float64], labels: NDArray[np.float64], split: str
) -> Collapse | None:
    rows = len(labels)
    if bad := int((~np.isfinite(predictions)).sum()):
        return Collapse(
            split=split,
            rows=rows,
            sentence=f"has no finite score for {counted(bad, 'row')} of {split}",
        )
    if rows < FEWEST_ROWS or predictions.std() >= FLAT * labels.std():
        return None
    if score(("pearson",), predictions, labels, 0)["pearson"] >= RELATED:
        return None  # small numbers in the right order
    low, high = predictions.min(), predictions.max()
    score_of = f"{low:.4g}" if np.isclose(low, high) else f"{low:.4g} to {high:.4g}"
    span = f"the labels range from {labels.min():.4g} to {labels.max():.4g}"
    return Collapse(
        split=split,
        rows=rows,
        sentence=f"gives all {counted(rows, 'row')} of {split} about the same "
        f"score, {score_of} ({span}): "
        "a correlation with the labels means nothing",
    )


def _share(part: int, rows: int) -> str:
    return ("all " if part == rows else f"{part:,} of ") + counted(rows, "row")


def listed(names: Sequence[str]) -> str:
    """Some names, the first few of many: ``'a', 'b' and 7 more``."""
    some = [repr(name) for name in names[:MOST_NAMES]]
    if more := len(names) - len(some):
        some.append(f"{more} more")
    return " and ".join(filter(None, [", ".join(some[:-1]), some[-1]]))
