"""The description of a task that travels inside every manifest, and the columns of its files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pyarrow as pa
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from augment.contract.foreign import marked, markup

if TYPE_CHECKING:
    import pandas as pd

CONTRACT = 2
"""The number of the file format that is written; 1 is read as well."""
CONTRACTS = (1, CONTRACT)
LOGITS = "teacher_logits"
REASON = "reason"
GENERATOR = "generator"
SOFT_LABELS = "soft_labels"
RESERVED_BY_1 = ("idx", "variant", "edits", LOGITS, REASON)
RESERVED_COLUMNS = (*RESERVED_BY_1, GENERATOR, SOFT_LABELS)
UNLABELED_SPLIT = "unlabeled"
WORD_REPLACEMENT = "word_replacement"
"""The ``generator`` of rows that were made by word replacement."""
METRICS_OF = {
    "classification": (
        "accuracy",
        "balanced_accuracy",
        "f1",
        "macro_f1",
        "weighted_f1",
        "matthews",
    ),
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

    def with_names(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Rows with the names of their classes beside the numbers, unless a column is called so."""
        import pandas as pd

        name = f"{self.column}_name"
        if self.names and name not in frame:
            codes = frame[self.column].fillna(-1).to_numpy("int64")
            named = pd.Series(pd.Categorical.from_codes(codes, pd.Index(self.names)), frame.index)
            frame.insert(list(frame).index(self.column) + 1, name, named)
        return frame

    def described(self, splits: Mapping[str, pa.Table]) -> pd.DataFrame:
        """Rows, generated rows and rows of each class, by split."""
        import pandas as pd

        found = {}
        for split, table in splits.items():
            rows = table.to_pandas()
            counts = {"rows": len(rows), "generated": int((rows.variant > 0).sum())}
            of_class = rows[self.column].value_counts()
            found[split] = counts | {n: of_class.get(i, 0) for i, n in enumerate(self.names)}
        return pd.DataFrame.from_dict(found, orient="index")


class Splits(StrictRecord):
    """Which splits a task has; the first validation split selects the best checkpoint.

    Attributes:
        unlabeled: The split of rows without labels to train on, where there are any.
    """

    train: SplitName = "train"
    validation: tuple[SplitName, ...] = ("validation",)
    test: tuple[SplitName, ...] = ()
    unlabeled: SplitName | None = None

    @model_validator(mode="after")
    def _named_once(self) -> Splits:
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"a split is named twice: {', '.join(self.names)}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """All split names: train, validation, test, unlabeled."""
        return (*self.labeled, *filter(None, [self.unlabeled]))

    @property
    def labeled(self) -> tuple[str, ...]:
        """The splits with a label in every row, or -1 in the rows of a test split."""
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
        if taken := self.reserved(RESERVED_BY_1):
            raise ValueError(f"column names {taken} are reserved")
        if self.selection_metric not in self.metrics:
            raise ValueError(f"selection_metric {self.selection_metric!r} is not among the metrics")
        return self

    def source_columns(self, *, soft_labels: bool) -> tuple[str, ...]:
        """What of a source row the digests of a version's sources cover, in their order."""
        return (*self.text_columns, self.label.column, "idx", *[SOFT_LABELS] * soft_labels)

    def reserved(self, names: tuple[str, ...] = RESERVED_COLUMNS) -> list[str]:
        """Which of the task's columns have a name that the contract needs itself."""
        return [name for name in (*self.text_columns, self.label.column) if name in names]


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


def arrow_schema(
    task: TaskSpec,
    *,
    contract: int = CONTRACT,
    soft_labels: bool = False,
    teacher_logits: bool = False,
) -> pa.Schema:
    """The columns of every file of a version of this task.

    Text columns and the label keep the task's names; the label is null in the unlabeled split.
    ``idx`` is the source row, ``variant`` is 0 for the original, ``edits`` are character offsets
    into the ORIGINAL text, ``generator`` says what made a row that is no source row. The metadata
    key ``huggingface`` makes ``datasets`` see a ``ClassLabel``.

    With ``soft_labels``, a column holds the distributions that came with rows, in the order of the
    task's labels (one score for regression), null where a row has none. With ``teacher_logits``,
    a last column keeps those in the same order; null in the splits that are not augmented.
    """
    more = [_FLOATS.with_name(SOFT_LABELS)] * soft_labels + [
        _FLOATS.with_name(LOGITS)
    ] * teacher_logits
    return _schema(task, contract, more)


def rejected_schema(task: TaskSpec, *, contract: int = CONTRACT) -> pa.Schema:
    """The columns of the rows that were generated and refused: those of the task, and why."""
    return _schema(task, contract, [pa.field(REASON, pa.string())])


_FLOATS = pa.field("", pa.list_(pa.field("element", pa.float32())))


def _schema(task: TaskSpec, contract: int, more: list[pa.Field]) -> pa.Schema:
    label_type = pa.int64() if task.label.kind == "classification" else pa.float32()
    fields = [pa.field(name, pa.string()) for name in task.text_columns]
    fields += [
        pa.field(task.label.column, label_type),
        pa.field("idx", pa.int64()),
        pa.field("variant", pa.int32()),
        pa.field("edits", pa.list_(pa.field("element", EDIT))),
        *([pa.field(GENERATOR, pa.string())] if contract > 1 else []),
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


def rows_html(rows: Sequence[Mapping[str, Any]], texts: Sequence[str], label: Label) -> str:
    """Rows of a version as an HTML table, their edits marked.

    Args:
        rows: Source rows, each followed by those made from it.
        texts: The text columns.
        label: What the label is.
    """
    sources = {row["idx"]: row for row in rows if not row["variant"]}
    lines = [_row_html(("idx", "variant", label.column), "th", map(markup, texts))]
    for row in rows:
        source = sources.get(row["idx"], row)
        value = row[label.column]
        if label.names:
            value = "" if value is None or value < 0 else label.names[value]
        edited = {
            column: [edit for edit in row["edits"] or () if edit["column"] == column]
            for column in texts
        }
        cells = [
            marked(source[column], edits) if edits and row["variant"] else markup(row[column])
            for column, edits in edited.items()
        ]
        lines.append(_row_html((row["idx"], row["variant"], value), "td", cells))
    return f"<table>{''.join(lines)}</table>"


def _row_html(values: Iterable[object], kind: str, cells: Iterable[str] = ()) -> str:
    shown_as = [f"<{kind}>{markup(value)}</{kind}>" for value in values]
    more = [f"<{kind} style='text-align:left'>{cell}</{kind}>" for cell in cells]
    return f"<tr>{''.join([*shown_as, *more])}</tr>"


@dataclass(frozen=True, slots=True)
class LabelOrder:
    """How a model's classes answer a task's labels.

    Attributes:
        columns: The model's column for each label of the task; nothing where both orders agree.
        named: Whether the model names its labels; otherwise they are taken by position.
    """

    columns: tuple[int, ...] | None = None
    named: bool = True


def match_labels(names: Sequence[str], task: TaskSpec) -> LabelOrder | None:
    """Match a model's label names with the task's, whatever their case and order.

    Args:
        names: The model's label names in the order of its logits.
        task: A classification task wants its own names, or names that say nothing
            (``LABEL_0``, …); a regression wants one output.

    Returns:
        The order, or None where the labels are not those of the task.
    """
    if task.label.kind == "regression":
        return LabelOrder() if len(names) == 1 else None
    if list(names) == list(task.label.names):
        return LabelOrder()
    if list(names) == [f"LABEL_{index}" for index in range(len(task.label.names))]:
        return LabelOrder(named=False)
    theirs = [name.lower() for name in names]
    ours = [name.lower() for name in task.label.names]
    if sorted(theirs) != sorted(ours) or len(set(theirs)) != len(theirs):
        return None
    return LabelOrder(None if theirs == ours else tuple(map(theirs.index, ours)))
