"""Rows without labels: read from files of their own, kept apart from all other splits.

A row that equals a training row or an earlier one but for case and spaces adds nothing; one that
equals a validation or test row would be trained on, which no measurement survives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from augment.contract import UNLABELED_SPLIT, TaskSpec
from augment.contract.foreign import counted
from augment.errors import SourceInvalid
from augment.sources.digests import row_digest
from augment.sources.examples import SourceRow
from augment.sources.row_files import Rows, read_rows
from augment.tasks import SoftLabelPlace

_DROPPED = {
    "duplicate": "equal an earlier one",
    "in_train": "equal a training row",
    "leak": "equal a validation or test row",
}


@dataclass(slots=True)
class UnlabeledScreen:
    """Leaves out rows that equal another one but for case and spaces, counted by reason.

    Attributes:
        held_out: Digests of validation and test rows.
        train: Those of training rows.
        dropped: Rows left out, by reason.
        first_leak: Where the first row stands that equals a validation or test row.
    """

    held_out: set[bytes]
    train: set[bytes]
    dropped: Counter[str] = field(default_factory=Counter)
    first_leak: str = ""
    _seen: set[bytes] = field(default_factory=set)

    def refuses(self, row: SourceRow) -> bool:
        """Whether a row equals another one; the first of several equal ones is kept."""
        digest = row_digest(row.texts)
        if digest in self.held_out:
            self.first_leak = self.first_leak or row.location
            self.dropped["leak"] += 1
        elif digest in self.train:
            self.dropped["in_train"] += 1
        elif digest in self._seen:
            self.dropped["duplicate"] += 1
        else:
            self._seen.add(digest)
            return False
        return True


@dataclass(frozen=True, slots=True)
class Unlabeled:
    """The rows without labels of a source.

    Attributes:
        rows: The rows that are kept, numbered as they were read, and what was malformed.
        dropped: Well-formed rows left out, by reason.
        first_leak: Where the first row stands that equals a validation or test row.
    """

    rows: Rows
    dropped: Counter[str]
    first_leak: str

    def counts(self) -> dict[str, int]:
        """What the manifest counts."""
        dropped = {f"unlabeled.{reason}": self.dropped[reason] for reason in _DROPPED}
        return {"unlabeled.read": self.rows.read, **dropped}

    def checked(self) -> Unlabeled:
        """The same.

        Raises:
            SourceInvalid: No row is left.
        """
        if self.rows.table.num_rows:
            return self
        first = f" The first of these: {self.first_leak}." if self.first_leak else ""
        raise SourceInvalid(
            f"no unlabeled row is left: {unlabeled_line(self.counts())}.{first}",
            "Name files of other rows than the labeled splits have: --unlabeled FILE",
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should see."""
        if not self.first_leak:
            return self.rows.warnings
        leaks = self.dropped["leak"]
        return (
            *self.rows.warnings,
            f"{UNLABELED_SPLIT}: {counted(leaks, 'row', 'equal')} a validation or test "
            f"row but for case and spaces: left out. The first: {self.first_leak}",
        )


def unlabeled_line(counts: Mapping[str, int]) -> str:
    """How many rows were read, kept and left out; empty where none were read."""
    if not (read := counts.get("unlabeled.read", 0)):
        return ""
    dropped = {reason: counts.get(f"unlabeled.{reason}", 0) for reason in _DROPPED}
    kept = read - sum(dropped.values())
    parts = [f"{dropped[reason]:,} {what}" for reason, what in _DROPPED.items() if dropped[reason]]
    return " · ".join([f"{counted(read, 'row')} read", f"{kept:,} kept", *parts])


def read_unlabeled(
    sources: Sequence[str],
    task: TaskSpec,
    splits: Mapping[str, pa.Table],
    *,
    place: SoftLabelPlace | None = None,
    skip_malformed: bool = False,
) -> Unlabeled:
    """Read rows without labels and leave out those that equal a row of another split.

    Args:
        sources: Files or hub data sets, in order.
        task: Their task.
        splits: The other splits, as they were read.
        place: Where soft labels stand.
        skip_malformed: Leave malformed rows out, counted.

    Raises:
        SourceInvalid: No row is left, or as ``read_rows``.
    """
    train = task.splits.train
    screen = UnlabeledScreen(
        {digest for name in splits if name != train for digest in _digests(splits[name], task)},
        set(_digests(splits[train], task)),
    )
    rows = read_rows(
        sources, task, UNLABELED_SPLIT, labeled="never", place=place,
        skip_malformed=skip_malformed, screen=screen,
    )  # fmt: skip
    return Unlabeled(rows, screen.dropped, screen.first_leak).checked()


def _digests(table: pa.Table, task: TaskSpec) -> list[bytes]:
    columns = (table[name].to_pylist() for name in task.text_columns)
    return [row_digest(texts) for texts in zip(*columns, strict=True)]
