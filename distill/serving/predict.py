"""Predictions for rows that have no labels: as a table, or as GLUE's submission.

The place says the form: ``.csv``, ``.tsv``, ``.jsonl`` and ``.parquet`` are tables of any task;
a ``.zip`` or a folder is a submission, to which each task adds its own files.
"""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
from numpy.typing import NDArray

from augment.contract import TaskSpec, Version
from augment.contract.files import check_output, new_place, sole_writer, write_file
from augment.contract.foreign import counted
from augment.contract.models import quiet_libraries
from augment.contract.version import open_checked
from distill.data.scratch import scratch
from distill.data.versions import token_columns, tokenize_split
from distill.errors import DataInvalid, UsageError
from distill.evaluation.evaluate import predict
from distill.inference.probabilities import Numbers, most_probable, probabilities
from distill.inference.settings import Calibration
from distill.models.loading import Classifier, open_classifier, own_length
from distill.runs.progress import Gauge, Narrator
from distill.runs.records import Record
from distill.serving.glue_diagnostic import read_diagnostic
from distill.serving.glue_submission import (
    DIAGNOSTIC,
    SUBMISSION_FILES,
    Submission,
    SubmissionFile,
    check_submission,
    faults,
    read_submission,
    render,
    submission_file,
    write_submission,
)
from distill.serving.writers import RETURNS, TABLES, LineFeeds

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Predictions:
    """A model's predictions for rows, in the order of their numbers.

    Attributes:
        index: ``idx`` of each row, shape (rows,).
        variant: ``variant`` of each row, shape (rows,).
        logits: In the order of the data's labels, shape (rows, classes); scores of shape (rows, 1)
            for a regression.
        calibration: Of the model, for labels in that order.
    """

    index: NDArray[np.int64]
    variant: NDArray[np.int64]
    logits: Numbers
    calibration: Calibration

    def values(self, task: TaskSpec) -> list[str] | list[float]:
        """Label names, or scores."""
        if task.label.kind == "regression":
            return [float(score) for score in self.logits[:, 0]]
        best = most_probable(self.logits, self.calibration)
        return [task.label.names[at] for at in best]


class PredictionTable(Record):
    """A table of predictions that was written: its file, and how many rows of which splits."""

    place: str
    splits: tuple[str, ...]
    rows: int


def write_predictions(
    model: str | os.PathLike[str],
    version: Version | str | Path,
    *,
    out: str | Path,
    split: str = "test",
    diagnostic: str | Path | None = None,
    quiet: bool = False,
) -> PredictionTable | Submission:
    """Predict a split and write the predictions; a submission is checked, with earlier files.

    Args:
        model: Folder, run directory or hub name.
        version: A version or a reference to one.
        out: See the module; files of other tasks in a submission are kept.
        split: A split, or what the names of several begin with: ``test`` also means
            ``test_matched`` and ``test_mismatched``.
        diagnostic: GLUE's diagnostic set as a file, for a model of MNLI.
        quiet: Say nothing on stderr.

    Raises:
        UsageError: The place, the task and the split do not go together.
        DataInvalid: A split is missing, or is not the one that GLUE asks for.
        Fault: With a sentence that says what to do.
    """
    quiet_libraries()
    opened, place, narrator = open_checked(version), new_place(out), Narrator(quiet=quiet)
    with sole_writer(place):
        return _write_predictions(os.fspath(model), opened, place, split, diagnostic, narrator)


def _write_predictions(
    model: str,
    opened: Version,
    out: Path,
    split: str,
    diagnostic: str | Path | None,
    narrator: Narrator,
) -> PredictionTable | Submission:
    table = _is_table(out, diagnostic)
    splits = _splits(opened, split, needed=diagnostic is None)
    files = {} if table else {name: _fitting(opened, name) for name in splits}
    earlier = {} if table else read_submission(out)
    check_output(out)
    classifier = open_classifier(model, opened.task)
    predictions = {name: _predict_split(opened, name, classifier, narrator) for name in splits}
    if table:
        frame = _frame(opened.task, predictions)
        write_file(out, lambda partial: write_table(frame, partial, out.suffix))
        return PredictionTable(place=str(out), splits=splits, rows=len(frame))
    texts = {file.name: _text(file, opened.task, predictions[name]) for name, file in files.items()}
    if diagnostic:
        file = submission_file(opened.task, "diagnostic")
        answered = _predict_diagnostic(Path(diagnostic), opened.task, classifier, narrator)
        texts[DIAGNOSTIC] = _text(file, opened.task, answered)
    write_submission(out, {**earlier, **texts})
    written = tuple(name for name in SUBMISSION_FILES if name in texts)
    return check_submission(out).model_copy(update={"written": written})


def _is_table(out: Path, diagnostic: str | Path | None) -> bool:
    """Whether a place asks for a table; otherwise it asks for a submission."""
    table = out.suffix in TABLES
    if not table and out.suffix not in ("", ".zip"):
        raise UsageError(
            f"{out} is no place for predictions.",
            f"End it in .zip or nothing (a GLUE submission), or in {', '.join(TABLES)} (a table).",
        )
    if table and diagnostic:
        raise UsageError(
            "the diagnostic set is a part of a GLUE submission.", "Let --out end in .zip."
        )
    return table


def _splits(version: Version, split: str, *, needed: bool) -> tuple[str, ...]:
    """The splits that a name means."""
    splits = tuple(s for s in version.splits if s == split or s.startswith(f"{split}_"))
    if not splits and needed:
        raise DataInvalid(
            f"{version.reference} has no split {split!r}; it has {', '.join(version.splits)}.",
            "Name one of them, or make a version whose source has that split.",
        )
    return splits


def _fitting(version: Version, split: str) -> SubmissionFile:
    """The file for a split, if the split has as many rows."""
    file = submission_file(version.task, split)
    if version.rows(split) != file.rows:
        raise DataInvalid(
            f"{version.reference}: split {split!r} has "
            f"{counted(version.rows(split), 'row')}, GLUE's "
            f"{file.name} has {file.rows:,}.",
            "Make the version from GLUE's own test file, or write a table: --out predictions.csv",
        )
    return file


def _predict_split(
    version: Version, split: str, classifier: Classifier, narrator: Narrator
) -> Predictions:
    length = own_length(classifier, version.task)
    with scratch() as cache:
        rows = tokenize_split(version, split, classifier.tokenizer, length, cache)
        logits = _logits(classifier, rows, split, narrator)
        index, variant = (np.asarray(rows[name], dtype=np.int64) for name in ("idx", "variant"))
    order = np.lexsort((variant, index))
    return Predictions(index[order], variant[order], logits[order], classifier.calibration)


def _predict_diagnostic(
    file: Path, task: TaskSpec, classifier: Classifier, narrator: Narrator
) -> Predictions:
    pairs = read_diagnostic(file)
    texts = [list(pairs.premises), list(pairs.hypotheses)]
    columns = token_columns(texts, classifier.tokenizer, own_length(classifier, task))
    rows = datasets.Dataset.from_dict(columns)
    logits = _logits(classifier, rows, "diagnostic", narrator)
    index = np.asarray(pairs.index, dtype=np.int64)
    order = np.argsort(index, kind="stable")
    variant = np.zeros_like(index)
    return Predictions(index[order], variant, logits[order], classifier.calibration)


def _logits(
    classifier: Classifier, rows: datasets.Dataset, title: str, narrator: Narrator
) -> Numbers:
    with closing(Gauge(narrator, title)) as gauge:
        logits = predict(
            classifier,
            rows,
            lambda done: gauge.show(done / len(rows), f"{done:,} of {counted(len(rows), 'row')}"),
        )
    return logits.astype(np.float64)


def _text(file: SubmissionFile, task: TaskSpec, predictions: Predictions) -> str:
    """A submission's file, checked."""
    text = render(file, predictions.index.tolist(), predictions.values(task))
    if wrong := faults(file, text):
        raise DataInvalid(
            f"{file.name} would not be GLUE's: {'; '.join(wrong)}.",
            "Make the version from GLUE's own test file.",
        )
    return text


def _frame(task: TaskSpec, by_split: dict[str, Predictions]) -> pd.DataFrame:
    """Columns ``idx``, ``prediction``, ``p_<label>``; ``split`` and ``variant`` where they vary."""
    import pandas as pd

    frames = []
    for split, predictions in by_split.items():
        columns: dict[str, Any] = {
            "split": split,
            "idx": predictions.index,
            "variant": predictions.variant,
            "prediction": predictions.values(task),
        }
        shares = probabilities(predictions.logits, predictions.calibration)
        columns |= {f"p_{name}": shares[:, at] for at, name in enumerate(task.label.names)}
        frames.append(pd.DataFrame(columns))
    frame = pd.concat(frames, ignore_index=True)
    same = ["split"] if len(by_split) == 1 else []
    return frame.drop(columns=same if frame["variant"].any() else [*same, "variant"])


def write_table(frame: pd.DataFrame, path: Path, form: str) -> None:
    """Write a table in the form that is one of ``TABLES``."""
    if form == ".parquet":
        frame.to_parquet(path, index=False)
    elif form == ".jsonl":
        frame.to_json(path, orient="records", lines=True, force_ascii=False, double_precision=6)
    else:
        with path.open("w", encoding="utf-8", newline="") as stream:
            frame.to_csv(  # type: ignore[call-overload]  # who writes is all that is asked for
                LineFeeds(stream),
                sep="," if form == ".csv" else "\t",
                index=False,
                float_format="%.6f",
                lineterminator=RETURNS,
            )
