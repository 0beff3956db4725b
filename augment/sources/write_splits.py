"""One file of rows → a file for each split and the task file that names them.

All columns are kept, in the file's own format. Nothing is written over: what is there already must
be what would be written. Files are made aside, read back, then put in their places, the task file
last.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from augment.contract import UNLABELED_SPLIT, TaskSpec
from augment.contract.data_files import DataFile, Record, listed
from augment.contract.errors import OutputUnwritable
from augment.contract.files import beside, disk_errors, sole_writer, sync
from augment.contract.foreign import counted
from augment.contract.reading import guarded
from augment.contract.tables import kind_of, open_table
from augment.errors import RowMalformed, SourceInvalid
from augment.sources.columnar import named
from augment.sources.digests import row_digest
from augment.sources.drafts import Draft
from augment.sources.examples import SourceTableBuilder
from augment.sources.hub import names_hub
from augment.sources.infer import is_missing
from augment.sources.row_files import columns_of, read_rows
from augment.sources.splitting import LabeledRow, assign, too_few
from augment.tasks import parse_task

_KINDS = {".csv": ".csv", ".tsv": ".tsv", ".parquet": ".parquet"}
"""Those that are kept; all others become JSON Lines."""
_LINES = ".jsonl"
_AS_IT_IS = (
    "The task file names files of --unlabeled as they are: mend this one, or name it at the run, "
    "which counts such rows: augment run TASK --unlabeled FILE --skip-malformed"
)
_SURROGATES = frozenset(map(chr, range(0xD800, 0xE000)))


@dataclass(frozen=True, slots=True)
class WrittenSplits:
    """What became of a file.

    Attributes:
        draft: What it was taken for.
        task: The task file.
        rows: Split → its rows, ``unlabeled`` included where there are rows without a label.
        files: Split → its files beside the task file.
        bare: Rows of the file that have no label and equal no row with one.
        told: Rows without a label that equal one with a label; they add nothing, so are left out.
        alike: Rows that equal an earlier one but for case and spaces; they stay with it.
        contradicting: Texts that stand with several labels.
        skipped: Malformed rows left out.
        is_new: Whether anything was written: the same command again finds all there.
    """

    draft: Draft
    task: Path
    rows: Mapping[str, int]
    files: Mapping[str, list[str]]
    bare: int
    told: int
    alike: int
    contradicting: int
    skipped: int
    is_new: bool

    def lines(self) -> list[tuple[str, str]]:
        """What was written, in words: what each line is about, and what it says."""
        *others, (last, rows) = self.rows.items()
        counts = "".join(f"{split} {number:,} · " for split, number in others)
        there = "" if self.is_new else "; all of it was there already"
        found = [("splits", f"{counts}{last} {counted(rows, 'row')}{there}")]
        if self.bare:
            file = self.files[UNLABELED_SPLIT][0]
            found.append(("unlabeled", f"{counted(self.bare, 'row', 'have')} no label: see {file}"))
        if self.told:
            same = "rows without a label equal a labeled one but for case and spaces: left out"
            found.append(("unlabeled", f"{self.told:,} {same}"))
        if self.alike:
            same = "rows equal an earlier one but for case and spaces: they are in its split"
            found.append(("equal", f"{self.alike:,} {same}"))
        if self.contradicting:
            found.append(
                ("warning", f"{counted(self.contradicting, 'text', 'stand')} with several labels")
            )
        if self.skipped:
            found.append(("skipped", f"{counted(self.skipped, 'malformed row')} left out"))
        return found


@dataclass(slots=True)
class _Rows:
    """The rows of a file: where each stands, and what decides its split."""

    records: list[Record] = field(default_factory=list)
    labeled: list[LabeledRow] = field(default_factory=list)
    bare: list[Record] = field(default_factory=list)
    told: int = 0
    skipped: int = 0


def split_file(
    draft: Draft,
    shares: Mapping[str, float],
    *,
    seed: int = 0,
    out: Path | None = None,
    unlabeled: Sequence[str] = (),
    skip_malformed: bool = False,
) -> WrittenSplits:
    """Split a file and write a task file that runs as it is.

    Args:
        draft: What the file was taken for; its rows without a label become unlabeled rows.
        shares: Split → share, see ``splitting.parse_shares``.
        seed: Decides which rows go where.
        out: The folder that is written to; by default the file's own.
        unlabeled: Further files or hub data sets of rows without labels; files outside the folder
            are copied there.
        skip_malformed: Leave malformed rows out, counted.

    Raises:
        SourceInvalid: A row is malformed, or a class has too few rows.
        OutputUnwritable: Something else lies where a file is to be written.
    """
    path, folder = draft.path, draft.path.parent if out is None else out
    task = parse_task(draft.toml(dict(zip(shares, shares, strict=True))).encode(), "draft", folder)
    rows = _read(path, task.spec, skip_malformed=skip_malformed)
    unlabeled = list({os.path.realpath(source): source for source in unlabeled}.values())
    others = _count(unlabeled, task.spec, rows)
    splits = assign(rows.labeled, shares, seed=seed, classes=bool(draft.names))
    _refuse_few(path, draft, rows, splits, shares)
    of_split = {split: _chosen(rows.records, splits, split) for split in shares}
    if rows.bare:
        of_split[UNLABELED_SPLIT] = rows.bare
    kind = _KINDS.get(kind_of(path), _LINES)
    files = {split: [f"{draft.name}-{split}{kind}"] for split in of_split}
    copies = _copies(unlabeled, folder, {name for names in files.values() for name in names})
    if copies:
        files.setdefault(UNLABELED_SPLIT, []).extend(copies)
    place, toml = folder / f"{draft.name}.toml", _task_file(draft, files, shares, seed)

    def fill(aside: Path) -> None:
        for split, records in of_split.items():
            _write(aside / files[split][0], records, path, draft.label)
        for name, copied in copies.items():
            if copied is not None:
                shutil.copyfile(copied, aside / name)
        (aside / place.name).write_bytes(toml.encode())

    is_new = put_files(place, fill)
    counts = {split: len(records) for split, records in of_split.items()}
    if others:
        counts[UNLABELED_SPLIT] = len(rows.bare) + others
    labels: dict[bytes, set[int | float]] = {}
    for row in rows.labeled:
        labels.setdefault(row.digest, set()).add(row.label)
    return WrittenSplits(
        draft, place, counts, files,
        bare=len(rows.bare),
        told=rows.told,
        alike=len(rows.labeled) - len(labels),
        contradicting=sum(len(of) > 1 for of in labels.values()) if draft.names else 0,
        skipped=rows.skipped,
        is_new=is_new,
    )  # fmt: skip


def _chosen(records: Sequence[Record], splits: Sequence[str], split: str) -> list[Record]:
    return [record for record, of in zip(records, splits, strict=True) if of == split]


def _count(sources: Sequence[str], task: TaskSpec, rows: _Rows) -> int:
    """How many rows files without labels have; they are read as the run reads them.

    Raises:
        SourceInvalid: A file cannot be read, or has no row but those that have a label.
        RowMalformed: A row is malformed: the task file names these files as they are.
    """
    if not sources:
        return 0
    try:
        read = read_rows(sources, task, UNLABELED_SPLIT, labeled="never")
    except RowMalformed as error:
        raise RowMalformed(error.problem, _AS_IT_IS, error.reason) from error
    known = {row.digest for row in rows.labeled}
    if not rows.bare and known.issuperset(_digests(read.table, task)):
        raise SourceInvalid(
            f"every row of {listed(sources)} equals a row with a label but for case and spaces.",
            "Name files of other rows: --unlabeled FILE",
        )
    return int(read.table.num_rows)


def _digests(table: pa.Table, task: TaskSpec) -> list[bytes]:
    texts = zip(*(table[name].to_pylist() for name in task.text_columns), strict=True)
    return [row_digest(of_row) for of_row in texts]


def _task_file(
    draft: Draft, files: Mapping[str, list[str]], shares: Mapping[str, float], seed: int
) -> str:
    percent = "/".join(f"{100 * share:g}" for share in shares.values())
    kept = "by class" if draft.names else "by score"
    note = f"Split {percent} {kept}, seed {seed}; rows of equal texts are in one split."
    named = {split: of[0] if len(of) == 1 else of for split, of in files.items()}
    return draft.toml(named, [note])


def _read(path: Path, task: TaskSpec, *, skip_malformed: bool) -> _Rows:
    """Every row of a file, checked as the run will check it.

    Raises:
        SourceInvalid: The file or a row cannot be read.
    """
    found, columns = _Rows(), columns_of(task)
    labeled = SourceTableBuilder(task, task.splits.train, skip_malformed)
    bare = SourceTableBuilder(task, UNLABELED_SPLIT, skip_malformed, labeled="never")
    table = open_table(DataFile(path, SourceInvalid, labeled.malformed))
    label = task.label.column
    for record in table.records:
        values = named(record.values, table.classes)
        if is_missing(values.get(label)):
            read = bare.read
            bare.add_record(record.location, {**values, label: None}, columns)
            found.bare += [_without_label(record, label)] * (bare.read - read)
            continue
        read = labeled.read
        labeled.add_record(record.location, values, columns)
        if labeled.read > read:
            found.records.append(record)
    checked = labeled.build(path.name)
    given = checked[label].to_pylist()
    found.labeled = list(map(LabeledRow, _digests(checked, task), given))
    if found.bare:
        known = {row.digest for row in found.labeled}
        digests = _digests(bare.collect(path.name), task)
        fresh = [r for r, d in zip(found.bare, digests, strict=True) if d not in known]
        found.told, found.bare = len(found.bare) - len(fresh), fresh
    found.skipped = labeled.skipped.total() + bare.skipped.total()
    return found


def _without_label(record: Record, column: str) -> Record:
    """The row with an empty label, however it spells that."""
    value = record.values.get(column)
    empty = "" if isinstance(value, str) else None
    return replace(record, values={**record.values, column: empty} if value else record.values)


def _refuse_few(
    path: Path, draft: Draft, rows: _Rows, splits: Sequence[str], shares: Mapping[str, float]
) -> None:
    """Refuse what leaves a split without rows, or without rows of a class."""
    if not draft.names:
        if len(set(splits)) < len(shares):
            raise SourceInvalid(
                f"{path.name} has {counted(len(rows.labeled), 'row')} with a label: too few for "
                f"{counted(len(shares), 'split')}.",
                "Each split needs rows: add some.",
            )
        return
    few = too_few(rows.labeled, splits, shares)
    if not few:
        return
    first = few[0]
    at = [i for i, row in enumerate(rows.labeled) if row.label == first.label]
    count = counted(len(at), "row")
    texts = f" of {counted(first.texts, 'different text')}" * (first.texts < len(at))
    others = [draft.names[one.label] for one in few[1:]]
    more = f"; so it is with {listed(others)}" * bool(others)
    fewer = " Or make two splits: --split 80/20" * (1 < first.texts < len(shares))
    raise SourceInvalid(
        f"{rows.records[at[0]].location}: the class {listed([draft.names[first.label]])} has "
        f"{count}{texts}; each of the {counted(len(shares), 'split')} needs one of its own{more}.",
        f"Add rows of it, give them the label of another class, or take them out.{fewer}",
    )


def _copies(sources: Sequence[str], folder: Path, taken: set[str]) -> dict[str, Path | None]:
    """Name in the task file → the file to copy there, or None where that is not needed.

    Raises:
        SourceInvalid: Two have one name.
    """
    found: dict[str, Path | None] = {}
    for source in sources:
        if names_hub(source):
            found[source] = None
            continue
        path = Path(source)
        inside = path.resolve().is_relative_to(folder.resolve())
        name = path.resolve().relative_to(folder.resolve()).as_posix() if inside else path.name
        if name in found or name in taken:
            raise SourceInvalid(f"{path} and another file are called {name}.", "Rename one.")
        found[name] = None if inside else path
    return found


def put_files(place: Path, fill: Callable[[Path], object]) -> bool:
    """Make files aside and put them beside the task file, which comes last; False if all are there.

    Raises:
        OutputUnwritable: Another file has the name of one; nothing is changed.
    """
    folder, aside = place.parent, beside(place, ".splits")
    with sole_writer(place), disk_errors(folder):
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        try:
            fill(aside)
            made = sorted(aside.iterdir(), key=lambda path: (path.name == place.name, path.name))
            new = [path for path in made if not _is_there(path, folder / path.name)]
            for path in new:
                sync(path)
                path.rename(folder / path.name)
            sync(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return bool(new)


def _is_there(made: Path, place: Path) -> bool:
    if not place.exists() and not place.is_symlink():
        return False
    if place.is_file() and _holds_the_same(made.read_bytes(), place.read_bytes(), made.suffix):
        return True
    raise OutputUnwritable(
        f"{place} is there and is not what this command writes; nothing was changed.",
        "Move it away, or write elsewhere: --out DIR",
    )


def _holds_the_same(made: bytes, there: bytes, kind: str) -> bool:
    """Whether two files are alike; of task files the comments, which only explain, do not count."""
    if made == there or kind != ".toml":
        return made == there
    try:
        return tomllib.loads(made.decode()) == tomllib.loads(there.decode())
    except (ValueError, RecursionError):
        return False


def _write(place: Path, records: Sequence[Record], source: Path, label: str) -> None:
    """Write rows in the source's format; they must read back as they are.

    Raises:
        SourceInvalid: They do not.
    """
    if place.suffix == ".parquet":
        _write_parquet(place, records, source, label)
        return
    with place.open("w", encoding="utf-8", newline="") as stream:
        if place.suffix == _LINES:
            stream.writelines(_line(record.values) for record in records)
        else:
            returns = any("\r" in value for record in records for value in record.values.values())
            writer = csv.writer(
                stream,
                delimiter="\t" if place.suffix == ".tsv" else ",",
                lineterminator="\n",
                quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL,
            )
            writer.writerow(records[0].values)
            writer.writerows(record.values.values() for record in records)
    try:
        again = open_table(DataFile(place, SourceInvalid, _refuse)).records
        for record, read in zip_longest(records, again):
            if record is None or read is None or repr(read.values) != repr(record.values):
                _refuse(f"{(record or records[-1]).location} is read back as another row")
    except SourceInvalid as error:
        raise SourceInvalid(
            f"the rows of {source.name} cannot be written as {place.suffix}: {error}",
            "Save the file as Parquet or JSON Lines, and split that.",
        ) from error


def _refuse(problem: str) -> NoReturn:
    raise SourceInvalid(problem)


def _line(row: Mapping[str, Any]) -> str:
    """A row as JSON; what is no valid Unicode stands there as JSON escapes it."""
    line = json.dumps(row, ensure_ascii=False)
    return (json.dumps(row) if any(map(_SURROGATES.__contains__, line)) else line) + "\n"


def _write_parquet(place: Path, records: Sequence[Record], source: Path, label: str) -> None:
    """The rows as they are in the source, with its schema and what it says of its columns."""
    numbers = [int(record.location.rpartition(" ")[2]) for record in records]
    with guarded(source, SourceInvalid, "a Parquet file"):
        table = pq.read_table(source).take(pa.array(numbers, pa.int64()))
    if label in table.column_names and all(is_missing(r.values.get(label)) for r in records):
        at = table.schema.get_field_index(label)
        table = table.set_column(
            at, table.schema.field(at), pa.nulls(len(table), table.schema.types[at])
        )
    pq.write_table(table, place)
