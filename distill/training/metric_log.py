"""``metrics.jsonl`` of a run: what its stages log, and forget where they are trained again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from augment.contract.files import disk_errors, write_text
from augment.contract.reading import guarded
from distill.errors import DataInvalid
from distill.runs.directory import RunDirectory
from distill.runs.records import parse_object


class MetricLog:
    """``metrics.jsonl``: one line for each logged step or evaluation; None logs nothing."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def check_place(self) -> None:
        """See that the run directory is still there, see ``RunDirectory.check_place``."""
        if self.path is not None:
            RunDirectory(self.path.parent).check_place()

    def append(self, **row: Any) -> None:
        """Add a line."""
        if self.path is not None:
            self.check_place()
            with disk_errors(self.path.parent), self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")

    def rewind(self, stage: str, step: int) -> None:
        """Forget what a stage logged after a step: it is about to be trained again."""
        if self.path is None or not self.path.exists():
            return
        kept = []
        with guarded(self.path, DataInvalid, "a log"):
            lines = self.path.read_bytes().splitlines()
        for line in lines:
            row = parse_object(line)
            if row and "stage" in row and (row["stage"] != stage or _before(row, step)):
                kept.append(line.decode() + "\n")
        write_text(self.path, "".join(kept))


def _before(row: dict[str, Any], step: int) -> bool:
    at = row.get("step")
    return isinstance(at, int) and at <= step
