"""Soft labels that a version keeps beside its rows: read as a stream, and checked row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from augment.contract import SOFT_LABELS, UNLABELED, TaskSpec, Version
from augment.contract.foreign import counted
from distill.data.row_batches import Places, RowBatch, list_values, row_batches, write_places
from distill.errors import DataInvalid, WeakTeacher
from distill.evaluation.metrics import guess_score, is_weak, score
from distill.evaluation.results import SoftLabelUse
from distill.recipes.mixtures import Data

Distributions = NDArray[np.float32]
"""Shape (rows, classes), or (rows, 1) for the scores of a regression; NaN where a row has none."""
TOLERANCE = 1e-3
"""How far from 1 the sum of float32 probabilities may be."""
FEWEST_COMPARED = 50
"""Rows with a label too that it takes to judge soft labels."""


@dataclass(frozen=True, slots=True)
class KeptLabels:
    """The soft labels of the rows that a stage draws from.

    Attributes:
        version: It keeps them.
        data: The rows, as the recipe names them.
        fill: Whether a row without one is taught by its label.
        taught: The rows that there is something to learn from, shape (rows,).
        use: How many there are, and how well they agree with labels.
    """

    version: Version
    data: Data
    fill: bool
    taught: NDArray[np.bool_]
    use: SoftLabelUse

    @property
    def chosen(self) -> NDArray[np.bool_] | None:
        """Which rows of ``data`` there is something to learn from; None for all."""
        return self.taught if self.fill else None

    def check_worth(self) -> None:
        """See that they tell more of the labels than guessing; of few rows nobody knows.

        Raises:
            WeakTeacher: They do not.
        """
        metric, use = self.version.task.selection_metric, self.use
        if use.compared < FEWEST_COMPARED:
            return
        if is_weak(use.scores[metric], use.guessing):
            raise WeakTeacher(
                f"the soft labels score {use.scores[metric]:.3f} ({metric}) on the "
                f"{counted(use.compared, 'original row')} that have a label too; guessing scores "
                f"{use.guessing:.3f}.",
                "Compare some of them with their texts: are the classes the right ones?\n"
                "To go on all the same: --allow-weak-teacher",
            )

    def sentences(self) -> Iterator[str]:
        """How many rows there are, and how well they agree with labels."""
        use, metric = self.use, self.version.task.selection_metric
        yield f"{use.rows:,} of {counted(len(self.taught), 'row')} have one"
        if use.labels:
            yield f"{counted(use.labels, 'row', 'are')} taught by a label, without one"
        if use.left_out:
            yield (
                f"{counted(use.left_out, 'row', 'are')} left out, with neither "
                "a soft label nor a label"
            )
        if use.compared:
            yield (
                f"{metric} {use.scores[metric]:.3f} on the "
                f"{counted(use.compared, 'original row')} that "
                "have a label too"
            )

    def write(self, places: Places, file: Path) -> None:
        """Write those of some rows in float32; memory does not grow with their number.

        Args:
            places: Of the rows among those of ``data``, increasing; where labels fill in, among
                those that are taught.
            file: Where they go.
        """
        if self.fill:
            places = np.flatnonzero(self.taught)[places]
        write_places(file, places, map(self._targets, _batches(self.version, self.data)))

    def _targets(self, batch: RowBatch) -> Distributions:
        values = _distributions(self.version, batch)
        return filled(values, _labels(self.version.task, batch)) if self.fill else values


def keep_labels(version: Version, data: Data, *, fill: bool) -> KeptLabels:
    """Look at every soft label of the rows that ``data`` names.

    Args:
        version: Opened.
        data: The rows, as the recipe names them.
        fill: Whether a row without one is taught by its label.

    Raises:
        DataInvalid: The version keeps none, one is damaged, or there is nothing else to learn
            from and none of these rows has one.
    """
    check_kept(version, alone=fill)
    task, taught, compared = version.task, [], []
    distributions = 0
    for batch in _batches(version, data):
        values, labels = _distributions(version, batch), _labels(task, batch)
        known, labeled = ~np.isnan(values[:, 0]), ~np.isnan(labels)
        distributions += int(known.sum())
        taught.append(known | labeled if fill else known)
        both = known & labeled & (batch.rows.column("variant").to_numpy() == 0)
        answers = values[both].argmax(axis=1) if task.label.names else values[both, 0]
        compared.append(np.stack([answers, labels[both]]))
    if fill and not distributions:
        raise DataInvalid(
            f"none of the rows of {version.reference} that [prediction] data names has a soft "
            "label.",
            'Name those that have some: data = "all" in the recipe.',
        )
    rows = np.concatenate(taught)
    answers, labels = np.concatenate(compared, axis=1)
    use = SoftLabelUse(
        rows=distributions,
        labels=int(rows.sum()) - distributions if fill else 0,
        left_out=int((~rows).sum()) if fill else 0,
        **_agreement(task, answers, labels),
    )
    return KeptLabels(version, data, fill, rows, use)


def _agreement(
    task: TaskSpec, answers: NDArray[np.float64], labels: NDArray[np.float64]
) -> dict[str, Any]:
    """What soft labels score, as fields of a ``SoftLabelUse``."""
    if not len(labels):
        return {"compared": 0, "scores": {}, "guessing": 0.0}
    classes = len(task.label.names)
    return {
        "compared": len(labels),
        "scores": score(task.metrics, answers, labels, classes),
        "guessing": guess_score(task.selection_metric, labels, classes),
    }


def check_kept(version: Version, *, alone: bool) -> None:
    """See that a version keeps soft labels, which teach alone or beside a teacher.

    Raises:
        DataInvalid: It does not.
    """
    if version.manifest.soft_labels:
        return
    asked = "--teacher labels learns from them" if alone else "teacher_weight is below 1"
    raise DataInvalid(
        f"{version.reference} keeps no soft labels, and {asked}.",
        "Make a version of rows that bring distributions: docs/llm-labels.md shows how. "
        + ("A teacher in a folder called labels is ./labels" if alone else "Or set it to 1."),
    )


def filled(values: Distributions, labels: NDArray[np.float64]) -> Distributions:
    """Distributions in which a labeled row without one has all of it on its label.

    Args:
        values: Shape (rows, classes), or (rows, 1) for scores.
        labels: Class numbers or scores, shape (rows,); NaN where there is none.
    """
    lacking = np.isnan(values[:, 0]) & ~np.isnan(labels)
    made = values.copy()
    if values.shape[1] == 1:
        made[lacking, 0] = labels[lacking]
    else:
        made[lacking] = np.eye(values.shape[1])[labels[lacking].astype(np.int64)]
    return made


def _batches(version: Version, data: Data) -> Iterator[RowBatch]:
    return row_batches(version, data, [version.task.label.column, "idx", "variant", SOFT_LABELS])


def _labels(task: TaskSpec, batch: RowBatch) -> NDArray[np.float64]:
    """Class numbers or scores, shape (rows,); NaN where there is none."""
    column = pc.cast(batch.rows.column(task.label.column), pa.float64())
    labels = np.array(column.to_numpy(zero_copy_only=False))
    if task.label.names:
        labels[labels == UNLABELED] = np.nan
    return labels


def _distributions(version: Version, batch: RowBatch) -> Distributions:
    """The soft labels of some rows.

    Raises:
        DataInvalid: One is of other classes, or is no distribution.
    """
    task, column = version.task, batch.rows.column(SOFT_LABELS)
    classes = len(task.label.names) or 1
    known = column.is_valid().to_numpy(zero_copy_only=False)

    def check(bad: NDArray[np.bool_], fault: Callable[[int], str]) -> None:
        if bad.any():
            row = int(bad.argmax())
            raise _damaged(version, batch, row, fault(row))

    lengths = column.value_lengths().fill_null(classes).to_numpy()
    wanted = counted(classes, "class") if task.label.names else "one score"
    check(
        lengths != classes,
        lambda row: f"{counted(lengths[row], 'number')}, but {task.name} has {wanted}",
    )
    values = list_values(column, classes)
    check(known & ~np.isfinite(values).all(axis=1), lambda _: "NaN or infinity")
    if task.label.names:
        check(known & (values < 0).any(axis=1), lambda _: "a negative probability")
        sums = values.sum(axis=1, dtype=np.float64)
        off = known & (np.abs(sums - 1) > TOLERANCE)
        check(off, lambda row: f"a sum of {sums[row]:.4g}, not 1")
    return values


def _damaged(version: Version, batch: RowBatch, row: int, fault: str) -> DataInvalid:
    idx, variant = (batch.rows.column(name)[row].as_py() for name in ("idx", "variant"))
    return DataInvalid(
        f"{version.reference}: split {batch.split!r}, row idx {idx}, variant {variant}: its soft "
        f"label has {fault}.",
        "The version is not as augment writes it: make it again.",
    )
