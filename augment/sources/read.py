"""Sources of rows: GLUE's TSV folders, columnar files, the hub.

--source DIR with train.tsv …            GLUE's own files
--source DIR with train.parquet/.csv/…   the hub's column layout, one file or several per split
--source FILE                            one file: the training split of a custom task
--source owner/name:config               a data set of the hub
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from augment.contract import TaskSpec
from augment.contract.manifest import LabelRule
from augment.contract.models import first_line, is_hub_name
from augment.errors import SourceMissing, UsageError
from augment.sources.columnar import named, open_records
from augment.sources.examples import Columns, SourceTableBuilder
from augment.sources.glue import COLUMNS, read_tsv, tsv_file
from augment.sources.labels import LabelReader
from augment.sources.split_files import files_of_splits, one_level_down, refuse_shared
from augment.tasks import Task


@dataclass(frozen=True, slots=True)
class Source:
    """All splits of a task, read and checked.

    Attributes:
        name: The source's name without any machine path.
        splits: Split name → table of text columns, label and ``idx``.
        skipped: Malformed rows left out.
        label_rule: How classes were read, see ``labels``; None for a regression.
        warnings: Sentences that a person should see.
    """

    name: str
    splits: dict[str, pa.Table]
    skipped: int
    label_rule: LabelRule | None = None
    warnings: tuple[str, ...] = ()


def read_source(
    task: Task, source: str | None, *, limit: int | None = None, skip_malformed: bool = False
) -> Source:
    """Read every split that is there; training and one validation split are needed.

    The source is a folder, a file, a hub name, or None for the folder of a custom task's file; a
    limit keeps that many training rows; malformed ones raise, or are left out and counted.

    Raises:
        UsageError: The limit leaves no rows.
        SourceMissing: Nothing is there, or the hub is out of reach.
        SourceInvalid: A column, a label or a whole split is missing, or a row is malformed.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit} must be at least 1.")
    source = source if source is not None else str(task.folder or "")
    if not source:
        raise SourceMissing("no source is given.", "Name a folder or a hub data set: --source")
    path = Path(source)
    labels = LabelReader(task.spec.label)
    builders = {
        split: SourceTableBuilder(task.spec, split, skip_malformed, labels=labels)
        for split in task.spec.splits.names
    }
    if os.path.isdir(path):  # asks without raising, whatever the name
        splits = _read_folder(path, task, builders)
    elif os.path.isfile(path):
        splits = _read_file_as_train(path, task, builders)
    elif "/" in source and is_hub_name(source.partition(":")[0]):
        splits = _read_hub(source, task.spec, builders)
    else:
        raise SourceMissing(
            f"{source} is not there.", "Name a folder, a file, or owner/name:config"
        )
    _require(splits, task, source)
    train = task.spec.splits.train
    if limit is not None:
        splits[train] = splits[train].slice(0, min(limit, splits[train].num_rows))
    return Source(
        path.name,
        splits,
        sum(rows.skipped for rows in builders.values()),
        labels.rule,
        tuple(warning for rows in builders.values() for warning in rows.warnings),
    )


def _require(splits: dict[str, pa.Table], task: Task, source: str) -> None:
    spec = task.spec
    present = ", ".join(splits) or "nothing"
    if spec.splits.train not in splits:
        raise SourceMissing(
            f"{source} has no split {spec.splits.train!r}; found {present}.",
            one_level_down(source, task),
        )
    if not any(name in splits for name in spec.splits.validation):
        validation = " or ".join(spec.splits.validation)
        raise SourceMissing(
            f"{source} has no validation split ({validation}); found {present}.",
            "A student is selected and measured on it: name one in the task file's [splits].",
        )


def _read_folder(
    folder: Path, task: Task, builders: dict[str, SourceTableBuilder]
) -> dict[str, pa.Table]:
    spec = task.spec
    if not task.files and spec.name in COLUMNS and tsv_file(folder, spec.splits.train).is_file():
        return {
            split: read_tsv(path, spec, builder)
            for split, builder in builders.items()
            if (path := tsv_file(folder, split)).is_file()
        }
    found = files_of_splits(folder, list(builders), task)
    return {split: _read_columns(files, spec, builders[split]) for split, files in found.items()}


def _read_file_as_train(
    path: Path, task: Task, builders: dict[str, SourceTableBuilder]
) -> dict[str, pa.Table]:
    """The named file is the training split; the task file's folder may hold the others."""
    train = task.spec.splits.train
    others = {split: rows for split, rows in builders.items() if split != train}
    if task.folder is not None:
        refuse_shared({train: [path], **files_of_splits(task.folder, list(others), task)})
    first = {train: _read_columns([path], task.spec, builders[train])}
    return first if task.folder is None else first | _read_folder(task.folder, task, others)


def _read_columns(files: list[Path], spec: TaskSpec, rows: SourceTableBuilder) -> pa.Table:
    columns = Columns(spec.text_columns, spec.label.column)
    wanted = (*columns.texts, columns.label, columns.idx)
    for path in files:
        table = open_records(path, rows.malformed, wanted)
        if table.columns is not None:
            columns.require(path.name, table.columns, labeled=not rows.is_test)
        for record in table.records:
            rows.add_record(record.location, record.values, columns)
    return rows.build(files[0].name)


def _read_hub(
    source: str, spec: TaskSpec, builders: dict[str, SourceTableBuilder]
) -> dict[str, pa.Table]:
    import datasets

    name, _, config = source.partition(":")
    try:
        loaded: Any = datasets.load_dataset(name, config or None)
    except Exception as error:  # each reader of theirs raises its own
        raise SourceMissing(
            f"the hub data set {source} cannot be loaded: {first_line(error)}.",
            "Check the name and the network, or give a folder with the same files: --source DIR",
        ) from error
    columns = Columns(spec.text_columns, spec.label.column)
    splits = {}
    for split in filter(loaded.__contains__, builders):
        rows = loaded[split]
        classes = {column: f for column, f in rows.features.items() if hasattr(f, "names")}
        names = {column: list(feature.names) for column, feature in classes.items()}
        for number, record in enumerate(rows):
            location = f"{source}/{split} row {number}"
            builders[split].add_record(location, named(record, names), columns)
        splits[split] = builders[split].build(source)
    return splits
