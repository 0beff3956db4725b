"""The rows that a model gets wrong, as a table: the surest first, whose labels are suspect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import datasets
import numpy as np

from augment.contract import Version
from augment.contract.files import check_output, new_place, sole_writer, write_file
from augment.contract.models import quiet_libraries
from augment.contract.version import open_checked
from distill.data.scratch import scratch
from distill.data.versions import texts_of_rows
from distill.errors import UsageError
from distill.evaluation.compare import labeled_splits
from distill.evaluation.evaluate import predict
from distill.inference.probabilities import most_probable, probabilities
from distill.models.loading import Classifier, open_classifier, own_length
from distill.runs.records import Record
from distill.serving.predict import write_table
from distill.serving.writers import TABLES

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 5
SURE = 0.9
"""Confidence of an answer from which on a label that differs is suspect."""
_ACTS = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


class Mistake(Record):
    """A row whose answer is not its label; of a regression, with its score and the error."""

    split: str
    idx: int
    texts: tuple[str, ...]
    label: str | float
    prediction: str | float
    confidence: float | None = None
    label_probability: float | None = None
    error: float | None = None

    @property
    def rank(self) -> float:
        """What rows are ordered by: how sure, or how far off, the model is."""
        return (self.confidence or 0.0) if self.error is None else self.error


class Mistakes(Record):
    """A table of wrong rows that was written.

    Attributes:
        place: Its file.
        rows: That were answered, by split.
        wrong: Rows in the table.
        sure: Those of a confidence of 0.9 and more; none of a regression.
        first: Of the table.
    """

    place: str
    model: str
    version: str
    rows: dict[str, int]
    wrong: int
    sure: int
    first: tuple[Mistake, ...]


def write_mistakes(
    model: str, version: Version | str | Path, *, out: str | Path, split: str | None = None
) -> Mistakes:
    """Answer the labeled original rows of a split and write those that are wrong, surest first.

    Of a regression all rows are written, the largest absolute error first. In CSV and TSV a cell
    that a spreadsheet would compute begins with an apostrophe.

    Args:
        model: Folder, run directory or hub name.
        version: A version or a reference to one.
        out: The new file; its ending says its kind.
        split: Also ``train``, whose labels may be wrong; the validation splits if left out.

    Raises:
        UsageError: The place is no table.
        DataInvalid: The split has no labels.
        Fault: With a sentence that says what to do.

    Examples:
        >>> from distill import write_mistakes
        >>> write_mistakes("runs/reviews", "data/versions/reviews", out="errors.csv").rows
        {'validation': 20}
    """
    quiet_libraries()
    opened, place = open_checked(version), new_place(out)
    check_output(place)
    if place.suffix.lower() not in TABLES:
        raise UsageError(f"{out} is of an unknown kind.", f"End it in {', '.join(TABLES)}.")
    with sole_writer(place), scratch() as cache:
        classifier = open_classifier(model, opened.task)
        length = own_length(classifier, opened.task)
        splits = labeled_splits(opened, split, classifier, length, cache)
        originals = {name: _original(own) for name, own in splits.items()}
        rows = {name: own for name, own in originals.items() if len(own)}
        found = [m for name, own in rows.items() for m in _mistakes(opened, classifier, name, own)]
        found.sort(key=lambda own: own.rank, reverse=True)
        frame = _frame(opened, found, several=len(rows) > 1)
        kind = place.suffix.lower()
        write_file(place, lambda partial: write_table(_for_people(frame, kind), partial, kind))
    return Mistakes(
        place=str(place),
        model=model,
        version=opened.reference,
        rows={name: len(own) for name, own in rows.items()},
        wrong=len(found),
        sure=sum((own.confidence or 0) >= SURE for own in found),
        first=tuple(found[:SHOWN]),
    )


def _original(rows: datasets.Dataset) -> datasets.Dataset:
    """Without generated rows: their label is that of the row they were made of."""
    return rows.select(np.flatnonzero(np.asarray(rows["variant"]) == 0))


def _mistakes(
    version: Version, classifier: Classifier, split: str, rows: datasets.Dataset
) -> list[Mistake]:
    labels, logits = np.asarray(rows["labels"]), predict(classifier, rows)
    if not version.task.label.names:
        errors = np.abs(logits[:, 0] - labels)
        texts = texts_of_rows(version, split, rows["idx"])
        return [
            Mistake(split=split, idx=i, texts=texts[i], label=own, prediction=answer, error=error)
            for i, own, answer, error in zip(
                rows["idx"], labels.tolist(), logits[:, 0].tolist(), errors.tolist(), strict=True
            )
        ]
    names, shares = version.task.label.names, probabilities(logits, classifier.calibration)
    answers = most_probable(logits, classifier.calibration)
    wrong = np.flatnonzero(answers != labels)
    index = np.asarray(rows["idx"])
    texts = texts_of_rows(version, split, index[wrong].tolist())
    return [
        Mistake(
            split=split,
            idx=int(index[at]),
            texts=texts[int(index[at])],
            label=names[labels[at]],
            prediction=names[answers[at]],
            confidence=float(shares[at, answers[at]]),
            label_probability=float(shares[at, labels[at]]),
        )
        for at in wrong
    ]


def _frame(version: Version, found: Sequence[Mistake], *, several: bool) -> pd.DataFrame:
    """``idx``, the texts, label and answer, and how sure it is; ``split`` where there are some."""
    import pandas as pd

    task = version.task
    of_class = ("confidence", "label_probability") if task.label.names else ("error",)
    own = [*(["split"] if several else []), "idx"]
    answer = ["label", "prediction", *of_class]
    columns = {_free(name, task.text_columns): [getattr(m, name) for m in found] for name in own}
    columns |= {name: [m.texts[at] for m in found] for at, name in enumerate(task.text_columns)}
    columns |= {_free(n, task.text_columns): [getattr(m, n) for m in found] for n in answer}
    return pd.DataFrame(columns)


def _free(name: str, taken: Sequence[str]) -> str:
    """A name that no text column has."""
    while name in taken:
        name += "_"
    return name


def _for_people(frame: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Cells that no spreadsheet computes: texts of others may be ``=HYPERLINK(…)``."""
    if kind not in (".csv", ".tsv"):
        return frame
    return frame.map(lambda v: f"'{v}" if isinstance(v, str) and v.startswith(_ACTS) else v)
