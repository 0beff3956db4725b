"""The Arrow schema of a version, written by hand: the schema is the product."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from augment.contract.task import TaskSpec

EDIT = pa.struct(
    [
        pa.field("column", pa.string()),
        pa.field("start", pa.int32()),
        pa.field("end", pa.int32()),
        pa.field("before", pa.string()),
        pa.field("after", pa.string()),
        pa.field("source", pa.string()),
    ]
)


LOGITS = "teacher_logits"
REASON = "reason"


def arrow_schema(task: TaskSpec, *, teacher_logits: bool = False) -> pa.Schema:
    """The columns of every file of a version of this task.

    Text columns and the label keep the task's names; ``idx`` is the source row, ``variant`` is 0
    for the original, ``edits`` are character offsets into the ORIGINAL text. The metadata key
    ``huggingface`` makes ``datasets`` see a ``ClassLabel``.

    Args:
        task: The task whose rows are stored.
        teacher_logits: Whether a last column keeps a teacher's logits in the order of the task's
            labels (one score for regression); null in the splits that are not augmented.

    Returns:
        The schema, with fields in the order they are written.
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
    features = {**_features(task), **{field.name: _EXTRA[field.name] for field in more}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema(fields, metadata=metadata)


def _value(dtype: str) -> dict[str, str]:
    return {"dtype": dtype, "_type": "Value"}


_EXTRA: dict[str, Any] = {
    LOGITS: {"feature": _value("float32"), "_type": "List"},
    REASON: _value("string"),
}


def _features(task: TaskSpec) -> dict[str, object]:
    """The same columns in the words of ``datasets.Features``."""
    if task.label.kind == "classification":
        label: dict[str, object] = {"names": list(task.label.names), "_type": "ClassLabel"}
    else:
        label = dict(_value("float32"))
    edit: dict[str, object] = {
        "column": _value("string"),
        "start": _value("int32"),
        "end": _value("int32"),
        "before": _value("string"),
        "after": _value("string"),
        "source": _value("string"),
    }
    features: dict[str, object] = {name: _value("string") for name in task.text_columns}
    features[task.label.column] = label
    features["idx"] = _value("int64")
    features["variant"] = _value("int32")
    features["edits"] = {"feature": edit, "_type": "List"}
    return features
