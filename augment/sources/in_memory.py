"""Rows that a Python program holds, as the files that a run reads."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from augment.contract import UNLABELED_SPLIT, UsageError
from augment.contract.data_files import listed
from augment.contract.errors import first_line
from augment.contract.files import disk_errors
from augment.tasks import Task

NAME = "memory"
"""What such a source is called in a manifest."""
_KINDS = ("datasets.Dataset", "pandas.DataFrame", "pyarrow.Table")


def kind_of_rows(rows: Any) -> str:
    """Such as ``pandas.DataFrame``: neither pandas nor datasets is imported to find out."""
    kind = type(rows)
    return f"{kind.__module__.partition('.')[0].removesuffix('.lib')}.{kind.__name__}"


@contextmanager
def as_files(task: Task, splits: Mapping[str, Any]) -> Iterator[tuple[Task, str]]:
    """The splits as Parquet files, with the task that reads them; gone when the block is left.

    Args:
        task: Whose splits they are; ``unlabeled`` may be among them.
        splits: Split name → a ``datasets.Dataset``, a pandas data frame or an Arrow table.

    Raises:
        UsageError: A split is none of the task's, or of another type, or cannot be stored.
        OutputUnwritable: There is no room for temporary files.
    """
    known = [*task.spec.splits.labeled, UNLABELED_SPLIT]
    for name in splits:
        if name not in known:
            raise UsageError(
                f"{name!r} is no split of {task.spec.name}; there are {listed(known)}."
            )
    with disk_errors(Path(tempfile.gettempdir())):
        made = tempfile.TemporaryDirectory(prefix="augment-")
    with made as place:
        folder = Path(place) / NAME
        folder.mkdir()
        for name, rows in splits.items():
            with disk_errors(folder):
                _write(name, rows, folder / f"{name}.parquet")
        more = (str(folder / f"{UNLABELED_SPLIT}.parquet"),) * (UNLABELED_SPLIT in splits)
        yield replace(task, files={}, more_unlabeled=(*task.more_unlabeled, *more)), str(folder)


def _write(split: str, rows: Any, file: Path) -> None:
    kind = kind_of_rows(rows)
    if kind not in _KINDS:
        raise UsageError(
            f"the split {split!r} is a {kind}; one of {', '.join(_KINDS)} is expected."
        )
    try:
        if kind == "pyarrow.Table":
            pq.write_table(rows, file)
        elif kind == "pandas.DataFrame":
            pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), file)
        else:
            rows.to_parquet(file)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UsageError(
            f"the split {split!r} cannot be stored: {first_line(error)}",
            "Each column holds values of one type: texts, numbers or lists of them.",
        ) from error
