"""What a run tells while it works: lines on stderr, and how many rows are done."""

from __future__ import annotations

import time

from augment.contract import progress
from augment.contract.progress import Gauge, span


class Narrator(progress.Narrator):
    """Tells the story of a run; a Python caller hears nothing unless it asks."""

    def __init__(self, *, quiet: bool = True) -> None:
        super().__init__(quiet=quiet)
        self._gauge: Gauge | None = None
        self._total = self._done = self._masks = 0

    def start(self, rows: int, done: int) -> None:
        """Work begins: rows in all, and rows already done by an earlier run."""
        self._total, self._done, self._masks = rows, done, 0
        self._gauge = Gauge(self, "candidates", done / max(rows, 1))

    def positions(self, count: int) -> None:
        """So many masked positions more are done."""
        self._masks += count
        self._show()

    def rows(self, count: int) -> None:
        """So many source rows more are done and kept."""
        self._done += count
        self._show()

    def stop(self) -> None:
        """Work has ended, well or not."""
        if self._gauge is not None:
            self._gauge.close()
            if self._done == self._total:
                taken = span(time.monotonic() - self._gauge.began)
                self.say("candidates", f"{self._state()} · {taken}")
            self._gauge = None

    def _show(self) -> None:
        if self._gauge is not None:
            self._gauge.show(self._done / self._total, self._state())

    def _state(self) -> str:
        assert self._gauge is not None
        rate = self._masks / max(time.monotonic() - self._gauge.began, 1e-6)
        masks = f" · {rate:,.0f} masks/s" * bool(self._masks)  # other processes do not tell theirs
        return f"{self._done:,} of {self._total:,} rows{masks}"
