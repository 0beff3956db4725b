"""Sources of rows: GLUE's TSV folders, columnar files, the hub.

--source DIR with train.tsv …            GLUE's own files
--source DIR with train.parquet/.csv/…   the hub's column layout, one file or several per split
--source FILE                            one file: the training split of a custom task
--source owner/name:config               a data set of the hub
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from augment.contract import TaskSpec
from augment.contract.manifest import LabelRule
from augment.contract.models import first_line, is_hub_name
from augment.errors import SourceInvalid, SourceMissing, UsageError
from augment.sources.columnar import SUFFIXES, named, open_records
from augment.sources.examples import Columns, SourceTableBuilder
from augment.sources.glue import COLUMNS, read_tsv, tsv_file
from augment.sources.labels import LabelReader
from augment.tables.reader import PACKED, kind_of
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
    if path.is_dir():
        splits = _read_folder(path, task, builders)
    elif path.is_file():
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
        splits[train] = splits[train].slice(0, limit)
    return Source(
        path.name,
        splits,
        sum(rows.skipped for rows in builders.values()),
        labels.rule,
        tuple(rows.warning for rows in builders.values() if rows.warning),
    )


def _require(splits: dict[str, pa.Table], task: Task, source: str) -> None:
    spec = task.spec
    present = ", ".join(splits) or "nothing"
    if spec.splits.train not in splits:
        raise SourceMissing(
            f"{source} has no split {spec.splits.train!r}; found {present}.", _below(source, task)
        )
    if not any(name in splits for name in spec.splits.validation):
        validation = " or ".join(spec.splits.validation)
        raise SourceMissing(
            f"{source} has no validation split ({validation}); found {present}.",
            "A student is selected and measured on it: name one in the task file's [splits].",
        )


def _below(source: str, task: Task) -> str:
    """A hint where the folder is one too high: the folders in it that hold the training split."""
    folder, places = Path(source), []
    if not folder.is_dir() or task.files:
        return ""
    with suppress(OSError):
        places = [p for p in sorted(folder.iterdir()) if p.is_dir() and _holds_train(p, task)]
    own = [place for place in places if _folded(place.name) == _folded(task.spec.name)]
    return _one_level_down(own or places)


def _one_level_down(places: Sequence[Path]) -> str:
    named = " or ".join(shlex.quote(str(place)) for place in places[:5])
    return f"It lies one level down: --source {named}" if named else ""


def _holds_train(folder: Path, task: Task) -> bool:
    train = task.spec.splits.train
    own_tsv = task.spec.name in COLUMNS and tsv_file(folder, train).is_file()
    places = (folder, folder / "data")
    return own_tsv or any(_parts_of(p, train, suffix) for p in places for suffix in SUFFIXES)


def _folded(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


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
    return {
        split: _read_columns(files, spec, builder)
        for split, builder in builders.items()
        if (files := _files_of(folder, split, task))
    }


def _read_file_as_train(
    path: Path, task: Task, builders: dict[str, SourceTableBuilder]
) -> dict[str, pa.Table]:
    """The named file is the training split; the task file's folder may hold the others."""
    train = task.spec.splits.train
    first = {train: _read_columns([path], task.spec, builders[train])}
    others = {split: rows for split, rows in builders.items() if split != train}
    if task.folder is None:
        return first
    for split in others:
        if any(path.samefile(file) for file in _files_of(task.folder, split, task)):
            raise SourceInvalid(
                f"{path} is the split {split!r} of the task, and --source makes it the training "
                "split.",
                "One file cannot be both: name another.",
            )
    return first | _read_folder(task.folder, task, others)


def _files_of(folder: Path, split: str, task: Task) -> list[Path]:
    if split in task.files:
        path = folder / task.files[split]
        if not path.resolve().is_relative_to(folder.resolve()):
            raise SourceInvalid(f"split {split!r} lies outside {folder}: {task.files[split]}.")
        if not path.is_file():
            below = [place.parent for place in sorted(folder.glob(f"*/{path.name}"))]
            raise SourceMissing(
                f"split {split!r} of task {task.spec.name!r}: {path} is not there.",
                _one_level_down(below),
            )
        return [path]
    for where in (folder, folder / "data"):
        found = [_parts_of(where, split, suffix) for suffix in SUFFIXES]
        if sum(map(len, found)):
            return _only(found, split)
        if packed := _packed(where, split):
            return packed
    return []


def _parts_of(folder: Path, split: str, suffix: str) -> list[Path]:
    """The one file of a split, or its numbered parts, as the hub calls them."""
    files = [path for path in _files(folder) if kind_of(path) == suffix]
    parts = sorted(path for path in files if path.stem.startswith(f"{split}-"))
    return [*(path for path in files if path.stem == split), *parts]


def _packed(folder: Path, split: str) -> list[Path]:
    """Files of a split that must be unpacked or exported first; their reader says so."""
    files = [path for path in _files(folder) if kind_of(path) in PACKED]
    return [path for path in files if path.name.split(".")[0] == split][:1]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def _only(found: list[list[Path]], split: str) -> list[Path]:
    """The files of a split, where they are of one kind: whole or in parts.

    Raises:
        SourceInvalid: They are of several, and nobody knows which is meant.
    """
    whole = [path for files in found for path in files if path.stem == split]
    kinds = [files for files in found if files]
    if len(kinds) > 1 or (whole and len(kinds[0]) > 1):
        names = ", ".join(path.name for files in kinds for path in files[:3])
        raise SourceInvalid(
            f"the split {split!r} stands in several files: {names}.",
            "Leave the one that is meant, or name it: --source FILE",
        )
    files = kinds[0]
    numbered = re.search(r"-of-([0-9]+)$", files[0].stem)
    if numbered and int(numbered[1]) != len(files):
        raise SourceInvalid(
            f"the split {split!r} has {len(files)} of its {int(numbered[1])} files; "
            f"the first is {files[0].name}.",
            "Get the others, or name the files that are meant in a task file.",
        )
    return files


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
    except (OSError, ValueError, ConnectionError) as error:
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
