"""What each model of a run answered, row by row: kept beside its result, read without any model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from augment.contract.reading import guarded, parse_json
from distill.errors import DataInvalid
from distill.inference.probabilities import most_probable, probabilities
from distill.inference.settings import Calibration
from distill.runs.directory import RUN, RunDirectory
from distill.runs.records import flaw, read_seal, write_sealed

ANSWERS = "answers.parquet"
MOST_ROWS, MOST_LOGITS = 2000, 600_000
"""Rows that are kept, and logits of a model."""
_NOTES = b"answers"


@dataclass(frozen=True, slots=True)
class ModelAnswers:
    """Logits of shape (rows, classes), (rows, 1) of a regression, and their calibration."""

    logits: NDArray[np.float32]
    calibration: Calibration

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Calibrated, shape (rows, classes)."""
        return probabilities(self.logits, self.calibration)

    @property
    def classes(self) -> NDArray[np.int64]:
        """The number of the class that is named, shape (rows,)."""
        return most_probable(self.logits, self.calibration)

    @property
    def scores(self) -> NDArray[np.float32]:
        """Of a regression, shape (rows,)."""
        return self.logits[:, 0]


@dataclass(frozen=True, slots=True)
class RowAnswers:
    """Labeled rows of one split, evenly spread over it, and every model's answers to them.

    Attributes:
        split: Where the rows are from.
        total: Labeled rows of it; as many as are kept, or more.
        names: Of the classes; none of a regression.
        idx: Of the rows, shape (rows,).
        texts: Of each row, one or two.
        labels: Class numbers, or scores, shape (rows,).
        models: By their names in the result table.
    """

    split: str
    total: int
    names: tuple[str, ...]
    idx: NDArray[np.int64]
    texts: tuple[tuple[str, ...], ...]
    labels: NDArray[np.generic]
    models: Mapping[str, ModelAnswers]


def most_rows(classes: int) -> int:
    """How many rows of so many classes are kept."""
    return min(MOST_ROWS, MOST_LOGITS // max(classes, 1))


def write_answers(run: RunDirectory, answers: RowAnswers) -> None:
    """Keep them in a run directory, sealed.

    Raises:
        OutputUnwritable: They cannot be written.
    """
    table = _table(answers)
    origin = run.origin(ANSWERS)
    write_sealed(run.path / ANSWERS, origin, lambda partial: pq.write_table(table, partial))


def read_answers(run: Path) -> RowAnswers:
    """The answers that a run kept.

    Raises:
        DataInvalid: They are not there or not as they were written.
    """
    file, begun = run / ANSWERS, read_seal(run / RUN)
    hint = "Repeat the command of the run with another --out directory: it keeps them anew."
    if begun is None:
        raise DataInvalid(f"{run} is no run directory: {RUN} has no seal.", hint)
    if why := flaw(file, RunDirectory(run, made_from=begun.origin.made_from).origin(ANSWERS)):
        raise DataInvalid(f"{file} {why}.", hint)
    with guarded(file, DataInvalid, "answers of a run", hint):
        return _answers(pq.read_table(file))


def _table(answers: RowAnswers) -> pa.Table:
    columns = {"idx": pa.array(answers.idx), "label": pa.array(answers.labels)}
    for at, texts in enumerate(zip(*answers.texts, strict=True)):
        columns[f"text_{at}"] = pa.array(texts, pa.string())
    for at, own in enumerate(answers.models.values()):
        columns[f"model_{at}"] = pa.FixedSizeListArray.from_arrays(
            pa.array(own.logits.astype(np.float32).ravel()), own.logits.shape[1]
        )
    notes = {
        "split": answers.split,
        "total": answers.total,
        "names": answers.names,
        "models": {name: asdict(own.calibration) for name, own in answers.models.items()},
    }
    return pa.table(columns).replace_schema_metadata({_NOTES: json.dumps(notes)})


def _answers(table: pa.Table) -> RowAnswers:
    notes = parse_json(table.schema.metadata[_NOTES])
    rows, models = len(table), {}
    texts = [table[name].to_pylist() for name in table.column_names if name.startswith("text_")]
    for at, (name, kept) in enumerate(notes["models"].items()):
        flat = table[f"model_{at}"].combine_chunks().flatten().to_numpy()
        calibration = Calibration(kept["temperature"], tuple(kept["bias"]))
        models[name] = ModelAnswers(flat.reshape(rows, -1), calibration)
    names, labels = tuple(notes["names"]), table["label"].to_numpy()
    width = max(1, len(names))
    fits = len(texts) in (1, 2) and all(
        own.logits.shape[1] == width and len(own.calibration.bias) in (0, width)
        for own in models.values()
    )
    if not fits or (names and not ((labels >= 0) & (labels < width)).all()):
        raise ValueError("its texts, labels and models do not fit each other")
    return RowAnswers(
        split=notes["split"],
        total=notes["total"],
        names=names,
        idx=table["idx"].to_numpy(),
        texts=tuple(zip(*texts, strict=True)),
        labels=labels,
        models=models,
    )
