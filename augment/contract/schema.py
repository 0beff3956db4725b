"""The Arrow schema of a version, written by hand: the schema is the product."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from augment.contract.task import TaskSpec

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
