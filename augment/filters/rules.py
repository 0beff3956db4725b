"""What filters share, and those that read texts alone: leak guard and normalized duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from augment.sources.digests import row_digest
from augment.versions.rows import OutputRow


class Filter(Protocol):
    """Refuses generated rows; source rows always pass."""

    def apply(self, rows: Sequence[OutputRow]) -> list[OutputRow]:
        """The same rows in order, those that do not pass with a reason.

        Args:
            rows: Source rows, each followed by the rows generated from it. Those that have a
                reason already are left alone.
        """


@dataclass(frozen=True, slots=True)
class RuleFilter:
    """The gates that need no model.

    Attributes:
        held_out: Digests of all validation and test rows: the leak guard. Empty switches it off.
        normalised_duplicates: Also refuse rows that equal the original or an earlier row of the
            same source row but for case and spaces.
    """

    held_out: frozenset[bytes] = frozenset()
    normalised_duplicates: bool = False

    def apply(self, rows: Sequence[OutputRow]) -> list[OutputRow]:
        """Refuse leaks and normalized duplicates."""
        filtered: list[OutputRow] = []
        seen: set[bytes] = set()
        for row in rows:
            reason = ""
            if not row.variant:
                seen = {row_digest(row.texts)}
            elif not row.reason:
                digest = row_digest(row.texts)
                if digest in self.held_out:
                    reason = "leak"
                elif self.normalised_duplicates and digest in seen:
                    reason = "normalised_duplicate"
                seen.add(digest)
            filtered.append(replace(row, reason=reason) if reason else row)
        return filtered
