"""One split of several versions as one: groups of the same source row together, the others behind.

Where versions have the same source rows, each group holds the rows that any of them made. Other
groups, of unlabeled rows that one version alone has and of rows without a source row, follow with
new numbers, each once.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from augment.contract import SOFT_LABELS, SourceSplit, TaskSpec, Version, content_digest
from augment.derive.equal_rows import Digests, Mask, digests_of, first_of_each
from augment.derive.groups import Groups, Numbers, Span, conformed, groups_of, read_spans, spans
from augment.versions.rows import ChunkOutput


@dataclass(frozen=True, slots=True)
class Member:
    """One of the versions.

    Attributes:
        groups: Of its split.
        is_like_first: Whether its source rows are those of the first version.
        kept: Which of its groups that are not united with others' are kept, shape (groups,).
        idx: The numbers of its groups in the union, shape (groups,).
    """

    version: Version
    groups: Groups
    is_like_first: bool
    kept: Mask
    idx: Numbers


@dataclass(frozen=True, slots=True)
class Piece:
    """What becomes one chunk: a stretch of groups of one member, or None for all that are alike."""

    member: int | None
    span: Span


@dataclass(frozen=True, slots=True)
class Union:
    """A split of several versions, united.

    Attributes:
        members: The versions, in order.
        pieces: The chunks.
        first: The source rows of the first version.
        task: Of the union.
        schema: Of its rows.
    """

    members: tuple[Member, ...]
    pieces: tuple[Piece, ...]
    first: SourceSplit
    task: TaskSpec
    schema: pa.Schema

    @classmethod
    def of(
        cls,
        named: Sequence[tuple[Version, Mapping[str, SourceSplit]]],
        split: str,
        task: TaskSpec,
        schema: pa.Schema,
    ) -> Union:
        """Look at the groups of versions, each with what the id says of its source rows."""
        versions = [version for version, _ in named]
        sources = [found[split] for _, found in named]
        found = [groups_of(version, split) for version in versions]
        alike = [source == sources[0] for source in sources]
        begins = [g.sourced if same else 0 for g, same in zip(found, alike, strict=True)]
        heads = [
            _heads(version, groups, begin if all(alike) else 0, task)
            for version, groups, begin in zip(versions, found, begins, strict=True)
        ]
        members = _numbered(versions, found, alike, heads)
        first = found[0]
        united = [g for g, same in zip(found, alike, strict=True) if same]
        sizes = sum(np.diff(g.starts)[: first.sourced] for g in united)
        pieces = [Piece(None, span) for span in spans(np.asarray(sizes))]
        for is_source in (True, False):
            for number, (groups, same) in enumerate(zip(found, alike, strict=True)):
                begin, end = (0, groups.sourced) if is_source else (groups.sourced, len(groups.idx))
                if not (same and is_source):
                    pieces += [
                        Piece(number, Span(begin + s.begin, begin + s.end))
                        for s in spans(np.diff(groups.starts[begin : end + 1]))
                    ]
        return cls(members, tuple(pieces), sources[0], task, schema)

    @property
    def split(self) -> str:
        """The name of the split."""
        return self.members[0].groups.split

    def source(self) -> SourceSplit:
        """The source rows of the union."""
        others = [member for member in self.members if not member.is_like_first]
        if not others:
            return self.first
        names = self.task.source_columns(soft_labels=SOFT_LABELS in self.schema.names)
        rows = self.members[0].groups.sourced
        rows += sum(int(m.kept[: m.groups.sourced].sum()) for m in others)
        digest = content_digest({name: self._source_values(name) for name in names})
        return SourceSplit(split=self.split, rows=rows, sha256=digest)

    def _source_values(self, column: str) -> Iterator[list[Any]]:
        for member in self.members:
            if member is not self.members[0] and member.is_like_first:
                continue
            at, kept = 0, member.kept[: member.groups.sourced]
            if member.is_like_first:
                kept = np.ones(member.groups.sourced, dtype=np.bool_)
            there = column if column in member.version.schema().names else "idx"
            for batch in member.version.batches(self.split, [there, "variant"]):
                values = batch.filter(pc.equal(batch["variant"], 0))[there]
                here = slice(at, at + len(values))
                at += len(values)
                if column == "idx":
                    values = pa.array(member.idx[here])
                picked = values.filter(pa.array(kept[here])).to_pylist()
                yield picked if there == column else [None] * len(picked)

    def outputs(self, due: Sequence[int], first: int = 0) -> Generator[ChunkOutput]:
        """Some of the pieces; chunks are numbered from ``first``."""
        alike = [number for number in due if self.pieces[number].member is None]
        together = [member for member in self.members if member.is_like_first]
        readers = [self._read(member, alike) for member in together]
        for number, *tables in zip(alike, *readers, strict=True):
            yield self._united(first + number, self.pieces[number].span, together, tables)
        for at, member in enumerate(self.members):
            own = [number for number in due if self.pieces[number].member == at]
            for number, table in zip(own, self._read(member, own), strict=True):
                yield self._renumbered(first + number, self.pieces[number].span, member, table)

    def _read(self, member: Member, numbers: Sequence[int]) -> Iterator[pa.Table]:
        """Stretches of one member; those without its source row come last in its split."""
        wanted = [self.pieces[number].span for number in numbers]
        for table in read_spans(member.version, member.groups, wanted):
            yield conformed(table, self.schema)

    def _united(
        self, number: int, span: Span, members: Sequence[Member], tables: Sequence[pa.Table]
    ) -> ChunkOutput:
        """The groups of the same source rows, each with what any member has."""
        here, bounds = np.arange(span.end - span.begin), slice(span.begin, span.end + 1)
        places = [np.repeat(here, np.diff(member.groups.starts[bounds])) for member in members]
        seen = set(self._keys(tables[0], places[0]))
        last = members[0].groups.last[span.begin : span.end].copy()
        parts, belongs, repeated = [tables[0]], [places[0]], 0
        for table, place in zip(tables[1:], places[1:], strict=True):
            variant, new = np.asarray(table["variant"]).copy(), np.zeros(len(place), np.bool_)
            for at, key in enumerate(self._keys(table, place)):
                if variant[at] and key not in seen:
                    seen.add(key)
                    last[place[at]] += 1
                    variant[at], new[at] = last[place[at]], True
            repeated += int(((variant > 0) & ~new).sum())
            parts.append(_with(table, "variant", variant).filter(pa.array(new)))
            belongs.append(place[new])
        order = np.argsort(np.concatenate(belongs), kind="stable")
        rows = pa.concat_tables(parts).take(pa.array(order))
        return self._output(number, rows, span.end - span.begin, repeated)

    def _keys(self, table: pa.Table, place: Numbers) -> Iterator[tuple[Any, ...]]:
        columns = (*self.task.text_columns, self.task.label.column)
        return zip(place.tolist(), *(table[name].to_pylist() for name in columns), strict=True)

    def _renumbered(self, number: int, span: Span, member: Member, table: pa.Table) -> ChunkOutput:
        """Groups that no other member has, with their numbers in the union."""
        sizes = np.diff(member.groups.starts[span.begin : span.end + 1])
        kept = np.repeat(member.kept[span.begin : span.end], sizes)
        idx = np.repeat(member.idx[span.begin : span.end], sizes)
        rows = _with(table, "idx", idx).filter(pa.array(kept))
        sources = pc.sum(pc.equal(rows["variant"], 0)).as_py() or 0
        return self._output(number, rows, sources, int((~kept).sum()))

    def _output(self, number: int, rows: pa.Table, sources: int, repeated: int) -> ChunkOutput:
        counts = {"rows.source": sources, "rows.augmented": rows.num_rows - sources}
        counts["merged.repeated"] = repeated
        if self.split == self.task.splits.unlabeled:
            counts = {f"unlabeled.{name}": count for name, count in counts.items()}
        return ChunkOutput(number, rows, counts)


def _with(table: pa.Table, column: str, values: Numbers) -> pa.Table:
    at = table.schema.get_field_index(column)
    field = table.schema.field(column)
    return table.set_column(at, field, pa.array(values, field.type))


def _heads(version: Version, groups: Groups, begin: int, task: TaskSpec) -> Digests:
    """Digests of the first rows of groups, empty for those before ``begin``."""
    found = [np.zeros(begin, dtype="S16")]
    starts, at = groups.starts[begin:-1], 0
    for batch in version.batches(groups.split, list(task.text_columns)) if len(starts) else ():
        here = starts[(starts >= at) & (starts < at + batch.num_rows)] - at
        at += batch.num_rows
        if len(here):
            found.append(digests_of(batch.take(pa.array(here)), task))
    return np.concatenate(found)


def _numbered(
    versions: Sequence[Version],
    groups: Sequence[Groups],
    alike: Sequence[bool],
    heads: Sequence[Digests],
) -> tuple[Member, ...]:
    """Which groups that are not united are kept, and how they are called: each text once."""
    kept = [np.zeros(len(g.idx), dtype=np.bool_) for g in groups]
    idx = [g.idx.copy() for g in groups]
    known = heads[0][: groups[0].sourced]
    known, counter = known[known != b""], groups[0].next_idx
    for is_source in (True, False):
        for at, (g, same) in enumerate(zip(groups, alike, strict=True)):
            here = slice(0, g.sourced) if is_source else slice(g.sourced, len(g.idx))
            if same and is_source:
                continue
            own = heads[at][here]
            new = first_of_each(own) & ~np.isin(own, known)
            kept[at][here] = new
            known = np.concatenate([known, own[new]])
            if at:
                numbers = np.where(new, counter + np.cumsum(new) - 1, -1)
                idx[at][here] = numbers
                counter += int(new.sum())
    return tuple(
        Member(version, g, same, keep, numbers)
        for version, g, same, keep, numbers in zip(versions, groups, alike, kept, idx, strict=True)
    )
