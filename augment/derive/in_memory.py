"""Rows that a Python program holds, a few thousand records at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from augment.contract import UsageError
from augment.contract.data_files import Record
from augment.contract.recipes import twice
from augment.contract.tables import class_names
from augment.sources.columnar import named
from augment.sources.examples import whole

ROWS_AT_ONCE = 4096
_WHOLE = ("idx", "variant")


def records_of(split: str, rows: Any, wanted: Collection[str]) -> Iterator[list[Record]]:
    """The rows of a data set, a data frame or an Arrow table, of their columns the wanted ones.

    Numbers of classes are given as names, where the rows say what their numbers mean.

    Raises:
        UsageError: They are none of the three, or have a column twice.
    """
    columns = _columns(split, rows)
    if (name := twice(columns)) is not None:
        raise UsageError(f"the split {split!r} has the column {name!r} twice.")
    kept = [name for name in columns if name in wanted]
    classes = _classes(rows)
    for first in range(0, len(rows), ROWS_AT_ONCE):
        part = _part(rows, kept, first)
        values = [dict(zip(kept, row, strict=True)) for row in zip(*part, strict=True)] or [{}]
        yield [
            Record(f"split {split!r} row {at}", named(each, classes))
            for at, each in enumerate(values, start=first)
        ]


def _kind(rows: Any) -> str:
    """``pyarrow``, ``pandas`` or ``datasets``: neither of the last two is imported for it."""
    kind = type(rows)
    return f"{kind.__module__.partition('.')[0]}.{kind.__name__}"


def _columns(split: str, rows: Any) -> list[Any]:
    if _kind(rows) in ("pyarrow.Table", "datasets.Dataset"):
        return list(rows.column_names)
    if _kind(rows) == "pandas.DataFrame":
        return list(rows.columns)
    hint = "A DatasetDict has its splits by name: pass splits=dict(it)."
    raise UsageError(
        f"the split {split!r} is a {_kind(rows)}; a datasets.Dataset, a pandas DataFrame or a "
        "pyarrow.Table is expected.",
        hint if "Dataset" in _kind(rows) else "",
    )


def _classes(rows: Any) -> dict[str, list[str]]:
    if _kind(rows) == "pyarrow.Table":
        return class_names(rows.schema.metadata)
    features = getattr(rows, "features", {})
    return {name: list(kind.names) for name, kind in features.items() if hasattr(kind, "names")}


def _part(rows: Any, columns: list[str], first: int) -> list[list[Any]]:
    """Some rows, each column as a list."""
    if _kind(rows) == "pandas.DataFrame":
        part = rows.iloc[first : first + ROWS_AT_ONCE]
        return [_of_series(name, part[name]) for name in columns]
    if _kind(rows) == "datasets.Dataset":
        rows = rows.with_format("arrow", columns=columns)
        table = rows[first : first + ROWS_AT_ONCE]
    else:
        table = rows.select(columns).slice(first, ROWS_AT_ONCE)
    return [_of_arrow(name, table[name]) for name in columns]


def _of_arrow(name: str, column: Any) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return [whole(value) for value in values] if name in _WHOLE else values


def _of_series(name: str, series: Any) -> list[Any]:
    """The values of a column of a data frame; what is missing there, NaN or NA, is None."""
    missing = series.isna().tolist()
    values = [None if gone else _plain(v) for v, gone in zip(series.tolist(), missing, strict=True)]
    return [whole(value) for value in values] if name in _WHOLE else values


def _plain(value: Any) -> Any:
    """A value without NumPy's types."""
    return value.tolist() if hasattr(value, "tolist") else value
