"""The description of a task that travels inside every manifest, and the columns of its files."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

RESERVED_COLUMNS = ("idx", "variant", "edits", "teacher_logits", "reason")
METRICS_OF = {
    "classification": ("accuracy", "f1", "matthews"),
    "regression": ("pearson", "spearman", "pearson_spearman"),
}
METRICS = tuple(name for names in METRICS_OF.values() for name in names)
UNLABELED = -1
SAFE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"


def _known_metric(name: str) -> str:
    if name not in METRICS:
        raise ValueError(f"unknown metric {name!r}; known: {', '.join(METRICS)}")
    return name


Metric = Annotated[str, AfterValidator(_known_metric)]
SplitName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")]


class StrictRecord(BaseModel):
    """An immutable record that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Label(StrictRecord):
    """What is predicted: one of the named classes, or a number.

    Attributes:
        column: The column's name in the data.
        kind: ``classification`` (integers into ``names``) or ``regression`` (a float).
        names: The class names, in the order of their integers; empty for regression.
    """

    column: str = "label"
    kind: Literal["classification", "regression"] = "classification"
    names: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_fit_kind(self) -> Label:
        if self.kind == "regression" and self.names:
            raise ValueError("a regression label has no names")
        if self.kind == "classification" and len(self.names) < 2:
            raise ValueError("a classification label needs at least two names")
        if len(set(self.names)) != len(self.names):
            raise ValueError("label names repeat")
        return self


class Splits(StrictRecord):
    """Which splits a task has; the first validation split selects the best checkpoint."""

    train: SplitName = "train"
    validation: tuple[SplitName, ...] = ("validation",)
    test: tuple[SplitName, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All split names: train, validation, test."""
        return (self.train, *self.validation, *self.test)


class TaskSpec(StrictRecord):
    """Everything a reader needs to know of a task: columns, label, metrics and splits.

    Attributes:
        name: The task's name, also the folder of its versions.
        text_columns: One column for single sentences, two for pairs.
        metrics: Metric names that are reported, see ``METRICS``.
        selection_metric: The one that chooses the best checkpoint.
    """

    name: str = Field(pattern=SAFE_NAME)
    text_columns: tuple[str, ...] = Field(min_length=1, max_length=2)
    label: Label
    metrics: tuple[Metric, ...] = Field(min_length=1)
    selection_metric: Metric
    splits: Splits = Splits()

    @model_validator(mode="after")
    def _consistent(self) -> TaskSpec:
        columns = (*self.text_columns, self.label.column)
        if len(set(columns)) != len(columns):
            raise ValueError(f"columns repeat: {', '.join(columns)}")
        taken = [name for name in columns if name in RESERVED_COLUMNS]
        if taken:
            raise ValueError(f"column names {taken} are reserved")
        if self.selection_metric not in self.metrics:
            raise ValueError(f"selection_metric {self.selection_metric!r} is not among the metrics")
        return self


EDIT = pa.struct(
    {
        "column": pa.string(),
        "start": pa.int32(),
        "end": pa.int32(),
        "before": pa.string(),
        "after": pa.string(),
        "source": pa.string(),
    }
)
LOGITS = "teacher_logits"
REASON = "reason"


def arrow_schema(task: TaskSpec, *, teacher_logits: bool = False) -> pa.Schema:
    """The columns of every file of a version of this task.

    Text columns and the label keep the task's names; ``idx`` is the source row, ``variant`` is 0
    for the original, ``edits`` are character offsets into the ORIGINAL text. The metadata key
    ``huggingface`` makes ``datasets`` see a ``ClassLabel``.

    With ``teacher_logits``, a last column keeps those in the order of the task's labels (one score
    for regression); null in the splits that are not augmented.
    """
    kept = [pa.field(LOGITS, pa.list_(pa.field("element", pa.float32())))]
    return _schema(task, kept if teacher_logits else [])


def rejected_schema(task: TaskSpec) -> pa.Schema:
    """The columns of the rows that were generated and refused: those of the task, and why."""
    return _schema(task, [pa.field(REASON, pa.string())])


def _schema(task: TaskSpec, more: list[pa.Field]) -> pa.Schema:
    label_type = pa.int64() if task.label.kind == "classification" else pa.float32()
    fields = [pa.field(name, pa.string()) for name in task.text_columns]
    fields += [
        pa.field(task.label.column, label_type),
        pa.field("idx", pa.int64()),
        pa.field("variant", pa.int32()),
        pa.field("edits", pa.list_(pa.field("element", EDIT))),
        *more,
    ]
    features = {field.name: _feature(field.type) for field in fields}
    if task.label.kind == "classification":
        names = list(task.label.names)
        features[task.label.column] = {"names": names, "_type": "ClassLabel"}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema(fields, metadata=metadata)


def _feature(kind: pa.DataType) -> dict[str, Any]:
    """A column's type in the words of ``datasets.Features``."""
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    return {"dtype": "float32" if kind == pa.float32() else str(kind), "_type": "Value"}
