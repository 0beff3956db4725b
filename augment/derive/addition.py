"""Rows of another tool, told apart and put where they belong in a version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
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
    Version,
    arrow_schema,
    content_digest,
)
from augment.contract.foreign import counted
from augment.derive.build import Rows, distinct_assets, parents_of, sources_of
from augment.derive.equal_rows import Mask, all_digests, first_of_each, found_among
from augment.derive.gates import Gates, rows_of
from augment.derive.groups import (
    Groups,
    Numbers,
    Span,
    conformed,
    conformed_split,
    pick,
    read_spans,
    spans,
)
from augment.errors import SourceInvalid
from augment.versions.manifest import Made
from augment.versions.rows import (
    ChunkOutput,
    OutputRow,
    has_soft_labels,
    rejected_table,
    rows_table,
)

_FRESH_A_CHUNK = 4096
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True, slots=True)
class Addition:
    """Rows that are added to a version; of each kind their places in the table.

    Attributes:
        parent: The version.
        table: All rows as they were read.
        generator: What made them.
        gates: What they must pass.
        groups: Of the version's training split.
        linked: Those of a source row, by its group.
        place: The group of each of these, increasing.
        fresh: New training rows, in the order of the file.
        repeats: Which of these equal a training row or an earlier new one.
        unlabeled: New rows of the unlabeled split, without those that were dropped.
        unlabeled_idx: Their numbers.
        counts: What was dropped so far, by reason.
    """

    parent: Version
    table: pa.Table
    generator: str
    gates: Gates
    groups: Groups
    linked: Numbers
    place: Numbers
    fresh: Numbers
    repeats: Mask
    unlabeled: Numbers
    unlabeled_idx: Numbers
    counts: Counter[str]

    @classmethod
    def of(
        cls, parent: Version, table: pa.Table, generator: str, gates: Gates, groups: Groups
    ) -> Addition:
        """Tell the rows of a table apart.

        Raises:
            SourceInvalid: Nothing of them is left.
        """
        has_idx = table["idx"].is_valid().to_numpy()
        has_label = table[parent.task.label.column].is_valid().to_numpy()
        linked = np.flatnonzero(has_idx)
        place = groups.places(table["idx"].drop_null().to_numpy())
        order = np.argsort(place, kind="stable")
        fresh = np.flatnonzero(~has_idx & has_label)
        free = np.flatnonzero(~has_idx & ~has_label)
        counts = Counter[str]()
        repeats, kept = _repeats(parent, table, gates, fresh, free, counts)
        if not len(linked) and repeats.all() and not kept.any():
            raise SourceInvalid(
                f"none of the {counted(table.num_rows, 'row')} of {generator} is new: "
                f"{counts['unlabeled.leak']:,} equal a validation or test row, the others a row "
                "that is there.",
                f"Nothing was written: give rows that {parent.reference} does not have.",
            )
        behind = _next_unlabeled(parent)
        return cls(
            parent, table, generator, gates, groups, linked[order], place[order], fresh, repeats,
            free[kept], np.flatnonzero(kept) + behind, counts,
        )  # fmt: skip

    def lines(self) -> Iterator[str]:
        """What the rows are, for people."""
        kinds = {
            "of source rows": len(self.linked),
            "new with a label": len(self.fresh),
            "unlabeled": len(self.unlabeled),
        }
        yield " · ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count) or "none"
        if leaks := self.counts["unlabeled.leak"]:
            yield (f"{counted(leaks, 'unlabeled row', 'equal')} a validation or test row: left out")

    def made(self, name: str) -> Made:
        """What the new version is made from, given the name of the file."""
        parent, task = self.parent.manifest, self._task()
        soft = parent.soft_labels or has_soft_labels(self.table)
        sources = sources_of(self.parent, soft_labels=soft)
        columns = task.source_columns(soft_labels=soft)
        for split in task.splits.names:
            if split == task.splits.unlabeled and split not in sources:
                none = content_digest(dict.fromkeys(columns, ()))
                sources[split] = SourceSplit(split=split, rows=0, sha256=none)
        digest = content_digest({column: self._values(column) for column in columns})
        added = AddedRows(
            generator=self.generator, name=name, rows=self.table.num_rows, sha256=digest
        )
        return Made(
            task=task,
            derivation=Derivation(command="add", parents=parents_of([self.parent]), added=(added,)),
            recipe=self.gates.described(),
            source=parent.source,
            sources=tuple(sources[split] for split in task.splits.names if split in sources),
            assets=distinct_assets(parent.assets, self.gates.assets()),
            soft_labels=soft,
            teacher_logits=False,
            label_rule=parent.label_rule,
            limit=parent.limit,
            license=parent.license,
            language=parent.language,
        )

    def _values(self, column: str) -> Iterator[list[Any]]:
        for batch in self.table.to_batches():
            if column in self.table.column_names:
                yield batch[column].to_pylist()
            else:
                yield [None] * batch.num_rows

    def rows(self, made: Made, skipped: Counter[str]) -> Rows:
        """The rows of the new version."""
        schema = arrow_schema(made.task, soft_labels=made.soft_labels)
        cut = spans(np.diff(self.groups.starts))
        fresh = range(0, len(self.fresh), _FRESH_A_CHUNK)

        def outputs(due: Sequence[int]) -> Generator[ChunkOutput]:
            old = [number for number in due if number < len(cut)]
            stretches = read_spans(self.parent, self.groups, [cut[number] for number in old])
            for number, table in zip(old, stretches, strict=True):
                yield self._grown(number, cut[number], conformed(table, schema))
            for number in due[len(old) :]:
                yield self._new(number, fresh[number - len(cut)], schema)

        untouched = {
            split: conformed_split(self.parent, split, schema)
            for split in self.parent.splits
            if split != made.task.splits.train
        }
        if unlabeled := made.task.splits.unlabeled:
            untouched[unlabeled] = self._with_unlabeled(untouched.get(unlabeled, iter(())), schema)
        counts = self.counts + Counter(
            {f"source.skipped.{reason}": rows for reason, rows in skipped.items()}
        )
        counts["source.skipped"] = skipped.total()
        return Rows(len(cut) + len(fresh), outputs, untouched, counts)

    def _task(self) -> TaskSpec:
        task = self.parent.task
        if not len(self.unlabeled) or task.splits.unlabeled:
            return task
        splits = task.splits.model_copy(update={"unlabeled": UNLABELED_SPLIT})
        return task.model_copy(update={"splits": splits})

    def _grown(self, number: int, span: Span, table: pa.Table) -> ChunkOutput:
        """A stretch of groups, each with its new rows behind those that are there."""
        groups, (begin, end) = self.groups, np.searchsorted(self.place, [span.begin, span.end])
        place = self.place[begin:end]
        new: list[OutputRow] = []
        if len(place):
            asked = set(groups.idx[place].tolist())
            present = [row for row in rows_of(table, self.parent.task) if row.idx in asked]
            sources = {row.idx: row for row in present if row.variant == 0}
            rank = np.arange(len(place)) - np.searchsorted(place, place)
            variants = (groups.last[place] + 1 + rank).tolist()
            given = self._given(self.linked[begin:end])
            new = [
                self._row(sources[idx], values, variant)
                for idx, values, variant in zip(
                    groups.idx[place].tolist(), given, variants, strict=True
                )
            ]
            new = self.gates.apply(new, present)
        kept = np.array([not row.reason for row in new], dtype=bool)
        sizes = np.diff(groups.starts[span.begin : span.end + 1])
        belongs = np.r_[np.repeat(np.arange(len(sizes)), sizes), place[kept] - span.begin]
        sources_here = max(0, min(span.end, groups.sourced) - span.begin)
        return self._output(number, table, new, np.argsort(belongs, kind="stable"), sources_here)

    def _new(self, number: int, first: int, schema: pa.Schema) -> ChunkOutput:
        """A stretch of new training rows."""
        here = slice(first, first + _FRESH_A_CHUNK)
        rows = []
        for at, values in enumerate(self._given(self.fresh[here]), start=first):
            rows.append(
                OutputRow(
                    self.groups.next_idx + at,
                    values.texts,
                    values.label,
                    original=(),
                    variant=1,
                    generator=self.generator,
                    own_label=True,
                    soft_labels=values.soft_labels,
                    reason="duplicate" if self.repeats[at] else "",
                )
            )
        marked = self.gates.apply(rows)
        order = np.arange(sum(not row.reason for row in marked))
        return self._output(number, schema.empty_table(), marked, order, 0)

    def _output(
        self, number: int, table: pa.Table, new: Sequence[OutputRow], order: Numbers, sources: int
    ) -> ChunkOutput:
        """Rows that are there and new ones that pass, in an order."""
        task = self.parent.task
        kept = [row for row in new if not row.reason]
        refused = [row for row in new if row.reason]
        soft = SOFT_LABELS in table.column_names
        made = rows_table(kept, task, soft_labels=soft, teacher_logits=False)
        whole = pa.concat_tables([table, made.cast(table.schema)])
        counts = Counter(f"dropped.{row.reason}" for row in refused)
        counts[f"added.{self.generator}"] = len(kept)
        counts[f"relabeled.{self.generator}"] = sum(
            row.own_label and bool(row.original) for row in kept
        )
        counts["rows.source"] = sources
        counts["rows.augmented"] = whole.num_rows - sources
        rejected = rejected_table(refused, task) if self.gates.recipe.keep_rejected else None
        return ChunkOutput(number, whole.take(pa.array(order)), dict(counts), rejected)

    def _given(self, places: Numbers) -> list[OutputRow]:
        """Rows of the table as they were given."""
        task, part = self.parent.task, pick(self.table, places)
        texts = zip(*(part[column].to_pylist() for column in task.text_columns), strict=True)
        labels = part[task.label.column].to_pylist()
        has_soft = has_soft_labels(part)
        soft = part[SOFT_LABELS].to_pylist() if has_soft else [None] * part.num_rows
        return [
            OutputRow(
                -1, of_row, label, original=(), soft_labels=None if own is None else tuple(own)
            )
            for of_row, label, own in zip(texts, labels, soft, strict=True)
        ]

    def _row(self, source: OutputRow, given: OutputRow, variant: int) -> OutputRow:
        """A row of a source row: its label and distribution are that one's where it has none."""
        inherits = given.label is None or given.label == source.label
        soft = given.soft_labels
        return OutputRow(
            source.idx, given.texts, source.label if inherits else given.label,
            original=source.texts, variant=variant, generator=self.generator,
            own_label=not inherits,
            soft_labels=source.soft_labels if soft is None and inherits else soft,
        )  # fmt: skip

    def _with_unlabeled(self, present: Iterator[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
        """The unlabeled rows that are there, then the new ones."""
        yield from present
        for first in range(0, len(self.unlabeled), _ROWS_AT_ONCE):
            here = slice(first, first + _ROWS_AT_ONCE)
            part = pick(self.table, self.unlabeled[here])
            count = part.num_rows
            known = {
                "idx": pa.array(self.unlabeled_idx[here]),
                "variant": pa.array([1] * count, pa.int32()),
                "edits": pa.array([[]] * count, schema.field("edits").type),
                GENERATOR: pa.array([self.generator] * count),
            }
            columns = [
                known.get(name, part[name] if name in part.column_names else None)
                for name in schema.names
            ]
            yield pa.Table.from_arrays(columns, names=schema.names).cast(schema)


def _repeats(
    parent: Version,
    table: pa.Table,
    gates: Gates,
    fresh: Numbers,
    free: Numbers,
    counts: Counter[str],
) -> tuple[Mask, Mask]:
    """Which new training rows repeat another, and which unlabeled ones are kept."""
    task = parent.task
    if not len(fresh) and not len(free):
        return np.zeros(0, dtype=np.bool_), np.zeros(0, dtype=np.bool_)
    both = all_digests(table.to_batches(), task)[np.r_[fresh, free]]
    own, others = both[: len(fresh)], both[len(fresh) :]
    texts = list(task.text_columns)
    trained = found_among(both, parent.batches(task.splits.train, texts), task)
    first = first_of_each(both)  # a labeled row counts before an unlabeled one
    repeats = (trained | ~first)[: len(fresh)] & gates.recipe.distinct
    if not len(free):
        return repeats, np.zeros(0, dtype=np.bool_)
    leak = np.isin(others, np.array(list(gates.rules.held_out), dtype="S16"))
    in_train = (trained[len(fresh) :] | np.isin(others, own)) & ~leak
    known = parent.task.splits.unlabeled
    stored = parent.batches(known, texts) if known in parent.splits and known else iter(())
    repeated = (~first[len(fresh) :] | found_among(others, stored, task)) & ~leak & ~in_train
    kept: Mask = ~(leak | in_train | repeated)
    for reason, mask in {"leak": leak, "in_train": in_train, "duplicate": repeated}.items():
        counts[f"unlabeled.{reason}"] = int(mask.sum())
    counts["unlabeled.added"] = int(kept.sum())
    return repeats, kept


def _next_unlabeled(parent: Version) -> int:
    """The number behind the largest of the unlabeled split."""
    split, largest = parent.task.splits.unlabeled, -1
    for batch in parent.batches(split, ["idx"]) if split and split in parent.splits else ():
        largest = max(largest, pc.max(batch["idx"]).as_py() or 0)
    return largest + 1
