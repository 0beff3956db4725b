"""A split of a version as groups: a source row with the rows that were made from it.

Only numbers of it are held in memory; rows are read a stretch of groups at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from augment.contract import GENERATOR, WORD_REPLACEMENT, ContractError, Version

GROUPS_A_CHUNK = 512
ROWS_A_CHUNK = 16_384
_ROWS_AT_ONCE = 65_536

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Groups:
    """Where the groups of a split begin.

    Those of source rows come first, then rows of other tools that have no source row.

    Attributes:
        split: The training or the unlabeled split.
        idx: Number of each group, shape (groups,).
        starts: Its first row; one more for the end, shape (groups + 1,).
        last: The largest variant in it, shape (groups,).
        sourced: How many groups begin with their source row.
    """

    split: str
    idx: Numbers
    starts: Numbers
    last: Numbers
    sourced: int

    @property
    def next_idx(self) -> int:
        """The number behind the largest."""
        return int(self.idx.max(initial=-1)) + 1

    def places(self, idx: Numbers) -> Numbers:
        """The group of the source row of each number; -1 where there is none."""
        known = self.idx[: self.sourced]
        order = np.argsort(known, kind="stable")
        found = np.searchsorted(known, idx, sorter=order)
        if not self.sourced:
            return np.full(len(idx), -1, dtype=np.int64)
        place: Numbers = order[np.minimum(found, self.sourced - 1)]
        return np.where(known[place] == idx, place, -1)


def groups_of(version: Version, split: str) -> Groups:
    """Look where the groups of a version's training or unlabeled split begin.

    Raises:
        ContractError: Rows of one source row do not stand together.
    """
    parts: list[tuple[Numbers, Numbers, Numbers, Numbers]] = []
    at = 0
    for batch in version.batches(split, ["idx", "variant"], _ROWS_AT_ONCE):
        if batch["idx"].null_count or batch["variant"].null_count:
            raise _disordered(version, split)
        idx = batch["idx"].to_numpy()
        variant = batch["variant"].to_numpy().astype(np.int64)
        begins = np.flatnonzero(np.r_[True, idx[1:] != idx[:-1]])
        last = np.maximum.reduceat(variant, begins)
        parts.append((idx[begins], begins + at, last, variant[begins]))
        at += batch.num_rows
    if not parts:
        none = np.zeros(0, dtype=np.int64)
        return Groups(split, none, np.zeros(1, dtype=np.int64), none, 0)
    idx, starts, last, first = (np.concatenate(column) for column in zip(*parts, strict=True))
    begins = np.flatnonzero(np.r_[True, idx[1:] != idx[:-1]])  # a group may go on in a next batch
    idx, starts, first = idx[begins], starts[begins], first[begins]
    last = np.maximum.reduceat(last, begins)
    sourced = int((first == 0).sum())
    if len(np.unique(idx)) < len(idx) or (first[:sourced] != 0).any():
        raise _disordered(version, split)
    return Groups(split, idx, np.r_[starts, at], last, sourced)


def _disordered(version: Version, split: str) -> ContractError:
    return ContractError(
        f"{version.reference}: in split {split!r} the rows of one source row are apart.",
        "Such a version cannot be derived from; write it anew: augment.write_version",
    )


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of groups: from one up to another."""

    begin: int
    end: int


def spans(sizes: Numbers) -> list[Span]:
    """Groups of these sizes, cut into stretches of a few hundred groups and not too many rows."""
    found, begin, rows = [], 0, 0
    for at, size in enumerate(sizes.tolist()):
        if at > begin and (at - begin >= GROUPS_A_CHUNK or rows + size > ROWS_A_CHUNK):
            found.append(Span(begin, at))
            begin, rows = at, 0
        rows += size
    return [*found, Span(begin, len(sizes))] if len(sizes) else found


def read_spans(version: Version, groups: Groups, wanted: Sequence[Span]) -> Iterator[pa.Table]:
    """The rows of each stretch, in order; stretches increase and do not overlap."""
    bounds = [(int(groups.starts[s.begin]), int(groups.starts[s.end])) for s in wanted]
    batches = version.batches(groups.split) if wanted else iter(())
    held: list[pa.RecordBatch] = []
    first = 0
    for begin, end in bounds:
        while first + sum(batch.num_rows for batch in held) < end:
            held.append(next(batches))
            while held and first + held[0].num_rows <= begin:
                first += held.pop(0).num_rows
        table = pa.Table.from_batches(held, version.schema())
        yield table.slice(begin - first, end - begin)
        while held and first + held[0].num_rows <= end:
            first += held.pop(0).num_rows


def conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows of a version, maybe of an older contract, with the columns of a new one."""
    columns = []
    for field in schema:
        if field.name in table.column_names:
            columns.append(table[field.name])
        elif field.name == GENERATOR:
            made = pc.if_else(pc.greater(table["variant"], 0), WORD_REPLACEMENT, None)
            columns.append(made)
        else:
            columns.append(pa.nulls(table.num_rows, field.type))
    return pa.Table.from_arrays(columns, names=schema.names).cast(schema)


def conformed_split(version: Version, split: str, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of a split, a few thousand at a time, with the columns of a new version."""
    for batch in version.batches(split):
        yield conformed(pa.Table.from_batches([batch]), schema)


def pick(table: pa.Table, places: Numbers) -> pa.Table:
    """The rows at some places, in that order; of a chunked column no whole copy is made."""
    batches = table.to_batches()
    starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
    part = np.searchsorted(starts, places, side="right") - 1
    order = np.argsort(part, kind="stable")
    picked = [
        batches[at].take(pa.array(places[here] - starts[at]))
        for at in np.unique(part)
        if len(here := order[part[order] == at])
    ]
    found = pa.Table.from_batches(picked, table.schema)
    return found.take(pa.array(np.argsort(order, kind="stable")))
