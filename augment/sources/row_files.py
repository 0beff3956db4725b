"""Rows of files and hub data sets, whatever each is of: with or without label, number, soft labels.

``read_rows`` is for rows that are no split of their own: unlabeled ones, or another tool's.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from augment.contract import TaskSpec
from augment.contract.data_files import DataFile, Record, listed, read_lines
from augment.contract.reading import guarded
from augment.errors import SourceInvalid, SourceMissing
from augment.sources.columnar import SUFFIXES, open_records
from augment.sources.examples import Columns, Labeled, Screen, SourceTableBuilder
from augment.sources.hub import names_hub, training_records
from augment.sources.labels import LabelReader
from augment.sources.soft_labels import SoftLabelReader
from augment.tasks import SoftLabelPlace

TEXT = ".txt"


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that were read and checked.

    Attributes:
        table: Text columns, label (null where a row has none), ``idx`` (null where a row has no
            number of its own) and, where any row has them, ``soft_labels``.
        read: Well-formed rows, those included that a screen has left out.
        skipped: Malformed rows left out, by reason.
        warnings: Sentences that a person should see.
    """

    table: pa.Table
    read: int
    skipped: Counter[str]
    warnings: tuple[str, ...]


def read_rows(
    sources: Sequence[str | Path],
    task: TaskSpec,
    what: str,
    *,
    labeled: Labeled = "maybe",
    place: SoftLabelPlace | None = None,
    labels: LabelReader | None = None,
    skip_malformed: bool = False,
    screen: Screen | None = None,
) -> Rows:
    """Read files (CSV, TSV, JSON, Parquet, text with a row a line) and hub data sets.

    Args:
        sources: Files, or names such as ``owner/name:config/split``.
        task: Their task.
        what: What the rows are, in a word, for messages.
        labeled: Whether rows have a label; with ``never`` one is refused and rows are numbered.
        place: Where soft labels stand; where they usually do if left out.
        labels: How the task's labels are read so far.
        skip_malformed: Leave malformed rows out, counted.
        screen: Asked of every well-formed row.

    Raises:
        SourceMissing: Nothing is there.
        SourceInvalid: A file is no file of rows, lacks a column or has no rows, or a row is
            malformed.
    """
    rows = SourceTableBuilder(
        task, what, skip_malformed, labels=labels, labeled=labeled,
        soft_labels=soft_label_reader(task, place), screen=screen,
    )  # fmt: skip
    for source in sources:
        add_rows(str(source), rows)
    table = rows.collect(listed([os.path.basename(str(source)) for source in sources]))
    return Rows(table, rows.read, rows.skipped, tuple(rows.warnings))


def soft_label_reader(task: TaskSpec, place: SoftLabelPlace | None = None) -> SoftLabelReader:
    """A reader of distributions that leaves the task's own columns alone."""
    own = frozenset({*task.text_columns, task.label.column, "idx"})
    return SoftLabelReader(task.label, place or SoftLabelPlace(), own)


def add_rows(source: str, rows: SourceTableBuilder) -> None:
    """Collect the rows of a file or a hub data set.

    Raises:
        SourceMissing: Nothing is there.
        SourceInvalid: As ``read_rows``.
    """
    path = Path(source)
    if names_hub(source):
        columns = _columns(rows)
        for record in training_records(source):
            rows.add_record(record.location, record.values, columns)
    elif not os.path.exists(path):
        raise SourceMissing(
            f"{source} is not there.",
            f"Name a file ({', '.join((TEXT, *SUFFIXES))}) or owner/name:config/split of the hub.",
        )
    elif os.path.isdir(path):
        raise SourceInvalid(f"{source} is a folder; a file of rows is expected.", "Name its files.")
    elif path.suffix.lower() == TEXT:
        _add_lines(path, rows)
    else:
        add_columns(path, rows)


def columns_of(task: TaskSpec) -> Columns:
    """Where a file has what a row of the task needs."""
    return Columns(task.text_columns, task.label.column)


def _columns(rows: SourceTableBuilder) -> Columns:
    """The same, for messages about rows that are no split of their own."""
    columns = columns_of(rows.task)
    if rows.labeled is None:
        return columns
    texts = listed(columns.texts)
    needed = f"Rows of {rows.task.name} have their texts in {texts}: name its columns so."
    return replace(columns, hint=needed, gaps=True)


def add_columns(path: Path, rows: SourceTableBuilder) -> None:
    """Collect the rows of a columnar file.

    Raises:
        SourceInvalid: It is none, or lacks a column.
        RowMalformed: A row is malformed, unless such ones are left out.
    """
    columns = _columns(rows)
    table = open_records(path, rows.malformed, rows.wanted(columns))
    if table.columns is not None:
        rows.require(path.name, table.columns, columns)
    for record in table.records:
        rows.add_record(record.location, record.values, columns)


def _add_lines(path: Path, rows: SourceTableBuilder) -> None:
    """Collect the lines of a text; blank ones are none of the rows."""
    columns = columns_of(rows.task)
    if len(columns.texts) > 1:
        raise SourceInvalid(
            f"{path.name} has a text a line, but a row of {rows.task.name} has "
            f"{len(columns.texts)}: {listed(columns.texts)}.",
            "Give them as the columns of a CSV, TSV, JSON or Parquet file.",
        )
    with guarded(path, SourceInvalid, "a text file"):
        if not path.stat().st_size:
            raise SourceInvalid(f"{path.name} is empty.", "Expected a text a line.")
    for record in _lines(DataFile(path, SourceInvalid, rows.malformed), columns.texts[0]):
        rows.add_record(record.location, record.values, columns)


def _lines(file: DataFile, column: str) -> Iterator[Record]:
    for line in read_lines(file):
        location = f"{file} line {line.number}"
        if line.flaw:
            file.malformed(f"{location} {line.flaw}.")
        elif not line.text.isspace():
            yield Record(location, {column: line.text.rstrip("\r\n")}, line.bytes_read)
