"""Sources of rows: GLUE's TSV folders, columnar files, the hub.

--source DIR with train.tsv …            GLUE's own files
--source DIR with train.parquet/.csv/…   the hub's column layout, one file or several per split
--source FILE                            one file: the training split of a custom task
--source owner/name:config               a data set of the hub
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from augment.contract import SOFT_LABELS, UNLABELED_SPLIT, TaskSpec
from augment.contract.manifest import LabelRule
from augment.errors import SourceInvalid, SourceMissing, UsageError
from augment.sources.examples import FLOATS, SourceTableBuilder
from augment.sources.glue import COLUMNS, read_tsv, tsv_file
from augment.sources.hub import hub_records, load_hub, names_hub
from augment.sources.in_memory import as_files
from augment.sources.labels import LabelReader
from augment.sources.row_files import add_columns, columns_of, soft_label_reader
from augment.sources.split_files import (
    file_named,
    files_of_splits,
    one_level_down,
    refuse_shared,
)
from augment.sources.terms import terms_of
from augment.sources.unlabeled import Unlabeled, read_unlabeled
from augment.tasks import Task, Terms


@dataclass(frozen=True, slots=True)
class Source:
    """All splits of a task, read and checked.

    Attributes:
        name: The source's name without any machine path.
        splits: Split name → table of text columns, label, ``idx`` and, where rows of any split
            have them, ``soft_labels``.
        counts: Rows left out by reason, as the manifest has them: ``source.skipped`` in all.
        label_rule: How classes were read, see ``labels``; None for a regression.
        warnings: Sentences that a person should see.
        terms: License and languages, where the task file or the source's card says them.
    """

    name: str
    splits: dict[str, pa.Table]
    counts: Mapping[str, int]
    label_rule: LabelRule | None = None
    warnings: tuple[str, ...] = ()
    terms: Terms = field(default_factory=Terms)

    @property
    def skipped(self) -> int:
        """Malformed rows left out."""
        return self.counts["source.skipped"]


def read_source(
    task: Task,
    source: str | Path | Mapping[str, Any] | None,
    *,
    limit: int | None = None,
    skip_malformed: bool = False,
) -> Source:
    """Read every split that is there; training and one validation split are needed.

    The source is a folder, a file, a hub name, splits in memory, or None for the folder of a custom
    task's file; a limit keeps that many training rows; malformed ones raise, or are left out and
    counted. Files of rows without labels are those that the task names.

    Raises:
        UsageError: The limit leaves no rows.
        SourceMissing: Nothing is there, or the hub is out of reach.
        SourceInvalid: A column, a label or a whole split is missing, or a row is malformed.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit} must be at least 1.")
    if isinstance(source, Mapping):
        with as_files(task, source) as (of_files, folder):
            return read_source(of_files, folder, limit=limit, skip_malformed=skip_malformed)
    source = str(source if source is not None else task.folder or "")
    if not source:
        raise SourceMissing("no source is given.", "Name a folder or a hub data set: --source")
    train, labels = task.spec.splits.train, LabelReader(task.spec.label)
    builders = {
        split: SourceTableBuilder(task.spec, split, skip_malformed, labels=labels)
        for split in task.spec.splits.labeled
    }
    builders[train].soft_labels = soft_label_reader(task.spec, task.soft_labels)
    splits = _read_splits(source, task, builders)
    _require(splits, task, source)
    if limit is not None:
        splits[train] = splits[train].slice(0, min(limit, splits[train].num_rows))
    unlabeled = _read_unlabeled(source, task, builders, splits)
    if unlabeled is not None:
        splits[UNLABELED_SPLIT] = unlabeled.rows.table
    _require_soft_labels(splits, task)
    own = [warning for rows in builders.values() for warning in rows.warnings]
    return Source(
        Path(source).name or Path(source).resolve().name,
        _with_soft_labels(splits),
        _counts([rows.skipped for rows in builders.values()], unlabeled),
        labels.rule,
        (*own, *(unlabeled.warnings if unlabeled else ())),
        terms_of(source, task),
    )


def _counts(skipped: list[Counter[str]], unlabeled: Unlabeled | None) -> dict[str, int]:
    """Rows left out by reason; ``source.skipped`` is there in any case."""
    if unlabeled is not None:
        skipped = [*skipped, unlabeled.rows.skipped]
    reasons = sum(skipped, Counter[str]())
    counts = {f"source.skipped.{reason}": rows for reason, rows in reasons.items()}
    counts |= unlabeled.counts() if unlabeled else {}
    return {"source.skipped": reasons.total(), **counts}


def _read_unlabeled(
    source: str,
    task: Task,
    builders: Mapping[str, SourceTableBuilder],
    splits: Mapping[str, pa.Table],
) -> Unlabeled | None:
    """The rows without labels, where the task names any.

    Raises:
        SourceInvalid: A file of them is one of another split, or as ``read_unlabeled``.
    """
    others = _unlabeled_sources(task, Path(source) if os.path.isdir(source) else None)
    if not others:
        return None
    files = {split: rows.files for split, rows in builders.items()}
    refuse_shared({**files, UNLABELED_SPLIT: [Path(f) for f in others if os.path.isfile(f)]})
    skip_malformed = builders[task.spec.splits.train].skip_malformed
    return read_unlabeled(
        others, task.spec, splits, place=task.soft_labels, skip_malformed=skip_malformed
    )


def _require_soft_labels(splits: Mapping[str, pa.Table], task: Task) -> None:
    """Check that some row has soft labels, where the task file says in which columns they are."""
    found = any(SOFT_LABELS in table.column_names for table in splits.values())
    if task.soft_labels.is_named and not found:
        raise SourceInvalid(
            f"no row has soft labels, which the task file says are in {task.soft_labels}.",
            "Mend [soft_labels] in the task file, or take it out.",
        )


def _read_splits(
    source: str, task: Task, builders: dict[str, SourceTableBuilder]
) -> dict[str, pa.Table]:
    path = Path(source)
    if os.path.isdir(path):  # asks without raising, whatever the name
        return _read_folder(path, task, builders)
    if os.path.isfile(path):
        return _read_file_as_train(path, task, builders)
    if names_hub(source):
        return _read_hub(source, task.spec, builders)
    raise SourceMissing(f"{source} is not there.", "Name a folder, a file, or owner/name:config")


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
    return {split: _read_columns(files, builders[split]) for split, files in found.items()}


def _read_file_as_train(
    path: Path, task: Task, builders: dict[str, SourceTableBuilder]
) -> dict[str, pa.Table]:
    """The named file is the training split; the task file's folder may hold the others."""
    train = task.spec.splits.train
    others = {split: rows for split, rows in builders.items() if split != train}
    if task.folder is not None:
        refuse_shared({train: [path], **files_of_splits(task.folder, list(others), task)})
    first = {train: _read_columns([path], builders[train])}
    return first if task.folder is None else first | _read_folder(task.folder, task, others)


def _read_columns(files: list[Path], rows: SourceTableBuilder) -> pa.Table:
    for path in files:
        add_columns(path, rows)
    rows.files = files
    return rows.build(files[0].name)


def _read_hub(
    source: str, spec: TaskSpec, builders: dict[str, SourceTableBuilder]
) -> dict[str, pa.Table]:
    loaded, columns, splits = load_hub(source), columns_of(spec), {}
    for split in filter(loaded.__contains__, builders):
        for record in hub_records(source, split, loaded[split]):
            builders[split].add_record(record.location, record.values, columns)
        splits[split] = builders[split].build(source)
    return splits


def _unlabeled_sources(task: Task, folder: Path | None) -> list[str]:
    """Those that the task file names, which lie in the folder of its data, and the user's.

    Raises:
        SourceInvalid: One is not there, or lies outside of that folder.
    """
    where = folder or task.folder or Path()
    named = [
        name
        if names_hub(name) and not os.path.exists(where / name)
        else str(file_named(where, name, UNLABELED_SPLIT, task))
        for name in task.unlabeled
    ]
    return [*named, *task.more_unlabeled]


def _with_soft_labels(splits: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """All splits with the column, where one has it."""
    if not any(SOFT_LABELS in table.column_names for table in splits.values()):
        return splits
    return {
        name: table
        if SOFT_LABELS in table.column_names
        else table.append_column(SOFT_LABELS, pa.nulls(table.num_rows, FLOATS))
        for name, table in splits.items()
    }
