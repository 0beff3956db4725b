"""A version from rows that a Python program holds: data sets, data frames, Arrow tables."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from augment.contract import (
    GENERATOR,
    SOFT_LABELS,
    UNLABELED_SPLIT,
    AddedRows,
    Derivation,
    SourceSplit,
    TaskSpec,
    UsageError,
    Version,
    arrow_schema,
    content_digest,
)
from augment.contract.data_files import Record, listed
from augment.contract.errors import first_line
from augment.contract.foreign import counted
from augment.contract.task import EDIT, SAFE_NAME
from augment.derive.build import Rows, build
from augment.derive.equal_rows import Digests, Mask, all_digests, first_of_each, found_among
from augment.derive.groups import conformed
from augment.derive.in_memory import records_of
from augment.errors import RowMalformed, SourceMissing
from augment.progress import Narrator
from augment.sources.examples import SourceTableBuilder, column_values, source_split
from augment.sources.labels import LabelReader, short
from augment.sources.row_files import Rows as SourceRows
from augment.sources.row_files import columns_of, soft_label_reader
from augment.sources.unlabeled import Unlabeled
from augment.tasks import Task, check_spec, get_task
from augment.versions.manifest import Made
from augment.versions.rows import ChunkOutput

_ROWS_A_CHUNK = 16_384
_MOST_VARIANTS = 2**30
_VARIANT = "The number of a row among those of its source row: 0 for the source row itself."
_GENERATOR = "A name is expected: at most 64 letters, digits, dots, dashes or underscores."
_NEEDS_IDX = "idx is the number of a source row, variant that of a row among those made from it."


def write_version(
    task: str | Task | TaskSpec,
    splits: Mapping[str, Any],
    *,
    out: str | Path = "data/versions",
    narrator: Narrator | None = None,
) -> Version:
    """Write rows as a version: to distill from, to filter, to merge.

    Rows have the columns of the task, and maybe ``idx``, ``soft_labels`` and, in the training and
    unlabeled split, ``variant`` with a ``generator`` where it is above 0, and ``edits``. They are
    checked as rows of files are; no gate is applied, see ``augment filter``. Unlabeled rows that
    equal a row of another split or an earlier one are left out and counted.

    Args:
        task: A GLUE task's name, a task file, or the task itself.
        splits: Split name → a ``datasets.Dataset``, a pandas data frame or an Arrow table;
            training and a validation split are needed, ``unlabeled`` may be there.
        out: The root of all versions; the same rows again are found there.
        narrator: Hears what is going on.

    Raises:
        UsageError: A split is none of the task's, or of another type.
        RecipeInvalid: The task has faults.
        SourceInvalid: A column, a label or a split is missing, or a row is malformed.
        OutputUnwritable: There is no room.

    Examples:
        >>> import pandas as pd
        >>> from augment import write_version
        >>> train = pd.DataFrame({"sentence": ["good tea", "cold soup"], "label": [1, 0]})
        >>> validation = pd.DataFrame({"sentence": ["fine", "poor"], "label": [1, 0]})
        >>> splits = {"train": train, "validation": validation}
        >>> write_version("sst2", splits, out="data/written").rows("train")
        2
    """
    whole = _task(task, splits)
    spec = whole.spec
    labels = LabelReader(spec.label)
    read = {
        name: _read(name, splits[name], spec, labels)
        for name in spec.splits.names
        if name in splits
    }
    tell, counts = narrator or Narrator(), Counter[str]()
    if (split := spec.splits.unlabeled) in read:
        new = _new_rows(read, spec)
        read[split], counts = new.rows.table, Counter(new.counts() if new.dropped.total() else {})
        for warning in new.warnings:
            tell.say("warning", warning)
    soft = any(SOFT_LABELS in table.column_names for table in read.values())
    schema = arrow_schema(spec, soft_labels=soft)
    tables = {name: conformed(table, schema) for name, table in read.items()}
    made = Made(
        task=spec,
        derivation=Derivation(command="write", added=tuple(_made_rows(tables))),
        recipe={},
        source="write_version",
        sources=tuple(_source(name, table, spec, soft) for name, table in tables.items()),
        assets=(),
        soft_labels=soft,
        teacher_logits=False,
        label_rule="positions" if labels.rule == "positions" else None,
        license=whole.terms.license,
        language=whole.terms.language,
    )
    return build(made.draft(), _rows(tables, spec, counts), Path(out), tell)


def _task(task: str | Task | TaskSpec, splits: Mapping[str, Any]) -> Task:
    """The task, with a split for unlabeled rows where there are any.

    Raises:
        UsageError: A split is none of the task's.
        SourceMissing: Training or validation rows are missing.
    """
    chosen = get_task(task) if isinstance(task, str) else task
    whole = chosen if isinstance(chosen, Task) else Task(chosen)
    check_spec(whole.spec)
    if UNLABELED_SPLIT in splits:
        whole = whole.with_unlabeled()
    spec = whole.spec
    for name in splits:
        if name not in spec.splits.names:
            known = listed([*spec.splits.labeled, UNLABELED_SPLIT])
            raise UsageError(f"{name!r} is no split of {spec.name}; there are {known}.")
    if spec.splits.train not in splits or not {*spec.splits.validation} & {*splits}:
        needed = f"{spec.splits.train} and {' or '.join(spec.splits.validation)}"
        found = listed(list(splits)) or "nothing"
        raise SourceMissing(f"{needed} are needed to write a version; found {found}.")
    return whole


def _read(split: str, rows: Any, spec: TaskSpec, labels: LabelReader) -> pa.Table:
    """The rows of a split, checked, with the columns that they have."""
    unlabeled = split == spec.splits.unlabeled
    reader = SourceTableBuilder(
        spec, split, labels=labels, labeled="maybe" if unlabeled else None,
        soft_labels=soft_label_reader(spec),
    )  # fmt: skip
    columns = columns_of(spec)
    told: list[pa.Table] = []
    for part in records_of(split, rows, {*reader.wanted(columns), *_TOLD.names}):
        try:
            for record in part:
                reader.add_record(record.location, record.values, columns)
        except RowMalformed as error:
            raise RowMalformed(error.problem, "Mend the rows, or take them out.") from error
        told.append(_told(part, spec))
    more = pa.concat_tables([_TOLD.empty_table(), *told])
    generated = np.asarray(more["variant"]) > 0
    where = f"the split {split!r}"
    table = reader.collect(where) if generated.any() else reader.build(where)
    if unlabeled and (labeled := table[spec.label.column].is_valid().to_numpy()).any():
        _refuse(split, labeled, "has a label", "Rows with a label are training rows.")
    _refuse(
        split, generated != np.asarray(more[GENERATOR].is_valid()),
        "has a generator but variant 0, or a variant above 0 and no generator",
        "Source rows have variant 0 and no generator; others have both, and the idx of their row.",
    )  # fmt: skip
    if split not in (spec.splits.train, spec.splits.unlabeled):
        _refuse(
            split, generated, "has a variant above 0",
            "Rows made from others belong into the training split or the unlabeled one.",
        )  # fmt: skip
    for name in _TOLD.names:
        table = table.append_column(name, more[name])
    return _grouped(split, table) if generated.any() else table


_TOLD = pa.schema(
    [
        ("variant", pa.int32()),
        (GENERATOR, pa.string()),
        ("edits", pa.list_(pa.field("element", EDIT))),
    ]
)


def _told(part: Sequence[Record], spec: TaskSpec) -> pa.Table:
    """What rows say of how they were made."""
    found: dict[str, list[Any]] = {name: [] for name in _TOLD.names}
    for record in part:
        variant = record.values.get("variant") or 0
        if type(variant) is not int or not 0 <= variant < _MOST_VARIANTS:
            raise RowMalformed(f"{record.location} has variant {short(variant)}.", _VARIANT)
        generator = record.values.get(GENERATOR)
        if generator is not None and not (
            isinstance(generator, str) and re.fullmatch(SAFE_NAME, generator)
        ):
            raise RowMalformed(f"{record.location} has generator {short(generator)}.", _GENERATOR)
        found["variant"].append(variant)
        found[GENERATOR].append(generator)
        found["edits"].append(record.values.get("edits") or [])
    problem = ""
    try:
        table = pa.table(list(found.values()), schema=_TOLD)
        problem = _flaw_of_edits(table["edits"].combine_chunks().flatten(), spec)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        problem = first_line(error)
    if problem:
        raise RowMalformed(
            f"{part[0].location}, or one of the {counted(len(part), 'row')} from "
            f"there, has edits that are "
            f"none: {problem}.",
            "Edits are lists of column, start, end, before, after and source; or leave them out.",
        )
    return table


def _flaw_of_edits(edits: pa.StructArray, spec: TaskSpec) -> str:
    """What is wrong with edits; empty where nothing is."""
    fields = dict(zip(EDIT.names, edits.flatten(), strict=True))
    if edits.null_count or any(values.null_count for values in fields.values()):
        return "a value is missing"
    if not pc.all(pc.is_in(fields["column"], pa.array(spec.text_columns)), min_count=0).as_py():
        return f"their columns are {listed(spec.text_columns)}"
    start, end = fields["start"], fields["end"]
    within = pc.and_(pc.greater_equal(start, 0), pc.less_equal(start, end))
    return "" if pc.all(within, min_count=0).as_py() else "they begin at 0 or behind and end later"


def _grouped(split: str, table: pa.Table) -> pa.Table:
    """The rows ordered: each source row with those made from it, then those without one."""
    variant = np.asarray(table["variant"])
    _refuse(split, ~np.asarray(table["idx"].is_valid()), "has no idx", _NEEDS_IDX)
    idx = np.asarray(table["idx"])
    key = np.lexsort((variant, idx))
    same = np.r_[False, (np.diff(idx[key]) == 0) & (np.diff(variant[key]) == 0)]
    _refuse(split, _at(key[same], len(idx)), "has the idx and variant of another row", _NEEDS_IDX)
    sources = np.flatnonzero(variant == 0)
    sources = sources[np.argsort(idx[sources], kind="stable")]
    place = np.minimum(np.searchsorted(idx[sources], idx), max(len(sources) - 1, 0))
    first = np.full(len(idx), len(idx))  # rows without a source row come last
    if len(sources):
        first = np.where(idx[sources][place] == idx, sources[place], first)
    alone = first == len(idx)
    _refuse(
        split, alone & (variant != 1),
        "has a variant above 1, but no row has variant 0 of its idx", _NEEDS_IDX,
    )  # fmt: skip
    return table.take(pa.array(np.lexsort((variant, idx * alone, first))))


def _new_rows(read: Mapping[str, pa.Table], spec: TaskSpec) -> Unlabeled:
    """The unlabeled rows but those that equal another row, as ``augment run`` leaves them out.

    Rows that were made from one go with it; else they are left out only where they equal a
    validation or test row.

    Raises:
        SourceInvalid: None is left.
    """
    unlabeled, train = str(spec.splits.unlabeled), spec.splits.train
    table = read[unlabeled]
    digests, idx = all_digests(table.to_batches(), spec), np.asarray(table["idx"])
    is_source = np.asarray(table["variant"]) == 0
    held_out = (
        b for name in read if name not in (unlabeled, train) for b in read[name].to_batches()
    )
    sources = read[train].filter(pc.equal(read[train]["variant"], 0)).to_batches()
    left, dropped, first_leak = np.ones(len(idx), dtype=np.bool_), Counter[str](), ""
    for reason, equal in (
        ("leak", found_among(digests, held_out, spec)),
        ("in_train", found_among(digests, sources, spec) & is_source),
        ("duplicate", _repeated(digests, is_source)),
    ):
        wrong = equal | np.isin(idx, idx[equal & is_source])
        dropped[reason] = int((wrong & left).sum())
        left &= ~wrong
        if reason == "leak" and wrong.any():
            first_leak = f"split {unlabeled!r} idx {idx[np.argmax(wrong)]}"
    rows = SourceRows(table.filter(pa.array(left)), len(idx), Counter(), ())
    return Unlabeled(rows, dropped, first_leak).checked()


def _repeated(digests: Digests, is_source: Mask) -> Mask:
    """Which source rows equal an earlier one."""
    places = np.flatnonzero(is_source)
    repeated: Mask = _at(places[~first_of_each(digests[places])], len(digests))
    return repeated


def _at(places: Any, rows: int) -> Any:
    mask = np.zeros(rows, dtype=np.bool_)
    mask[places] = True
    return mask


def _refuse(split: str, wrong: Any, problem: str, hint: str) -> None:
    """Refuse the first row of those that are wrong, if any are."""
    if wrong.any():
        raise RowMalformed(f"split {split!r} row {int(np.argmax(wrong))} {problem}.", hint)


def _source(split: str, table: pa.Table, spec: TaskSpec, soft: bool) -> SourceSplit:
    columns = spec.source_columns(soft_labels=soft)
    return source_split(split, table.filter(pc.equal(table["variant"], 0)).select(list(columns)))


def _made_rows(tables: Mapping[str, pa.Table]) -> Iterator[AddedRows]:
    """What the id covers of rows that are no source rows."""
    for split, table in tables.items():
        made = table.filter(pc.greater(table["variant"], 0))
        for generator in pc.unique(made[GENERATOR]).to_pylist():
            own = made.filter(pc.equal(made[GENERATOR], generator))
            digest = content_digest({name: _values(own[name]) for name in own.column_names})
            yield AddedRows(generator=generator, name=split, rows=own.num_rows, sha256=digest)


def _values(column: pa.ChunkedArray) -> Iterator[list[Any]]:
    is_edits = pa.types.is_list(column.type) and pa.types.is_struct(column.type.value_type)
    for part in column_values(column):
        yield [json.dumps(each) for each in part] if is_edits else part


def _rows(tables: Mapping[str, pa.Table], spec: TaskSpec, counts: Mapping[str, int]) -> Rows:
    train = spec.splits.train
    firsts = range(0, tables[train].num_rows, _ROWS_A_CHUNK)

    def outputs(due: Sequence[int]) -> Generator[ChunkOutput]:
        for number in due:
            part = tables[train].slice(firsts[number], _ROWS_A_CHUNK)
            sources = pc.sum(pc.equal(part["variant"], 0)).as_py()
            counts = {"rows.source": sources, "rows.augmented": part.num_rows - sources}
            yield ChunkOutput(number, part, counts)

    others = {name: [table] for name, table in tables.items() if name != train}
    return Rows(len(firsts), outputs, others, counts)
