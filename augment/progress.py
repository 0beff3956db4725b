"""What a run tells while it works: lines on stderr, and how much is done."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from augment.contract import terminal
from augment.contract.foreign import counted, in_notebook, span
from augment.contract.terminal import Gauge


@dataclass(slots=True)
class Progress:
    """How much of a run is done: by the weights of its chunks, in the one at work by tokens.

    Attributes:
        total: The weight of all chunks.
        done: That of finished ones.
        due: Chunk → its weight, in the order of work, without finished ones.
        free: Weight of what took no time: it was found in a store.
    """

    total: float
    done: float = 0.0
    due: dict[int, float] = field(default_factory=dict)
    free: float = 0.0
    _expected: int = 0
    _read: int = 0

    def expect(self, tokens: int) -> None:
        """The chunk at work has so many tokens to read; what is said first counts."""
        self._expected = self._expected or tokens

    def read(self, tokens: int, *, found: bool) -> None:
        """So many of them are read, or were found to need no reading."""
        if found and self._expected:
            self.free += self._at_work() * min(1.0, tokens / self._expected)
        self._read += tokens

    def finish(self, chunk: int) -> None:
        """A chunk is done."""
        self.done += self.due.pop(chunk, 0.0)
        self._expected = self._read = 0

    @property
    def share(self) -> float:
        """What is done, 0 to 1."""
        part = min(1.0, self._read / self._expected) if self._expected else 0.0
        return min(1.0, (self.done + part * self._at_work()) / self.total) if self.total else 1.0

    def _at_work(self) -> float:
        return next(iter(self.due.values()), 0.0)


class Narrator(terminal.Narrator):
    """Tells the story of a run; a Python caller hears nothing unless it asks, or is a notebook."""

    def __init__(self, *, quiet: bool | None = None) -> None:
        super().__init__(quiet=not in_notebook() if quiet is None else quiet)
        self._gauge: Gauge | None = None
        self._progress = Progress(0.0)
        self._rows = self._rows_done = self._masks = 0
        self._title = ""

    def start(
        self, rows: int, done: int, weights: Mapping[int, float], *, title: str = "candidates"
    ) -> None:
        """Work begins.

        Args:
            rows: All of them.
            done: Those done by an earlier run.
            weights: Chunk → how much work it is, in the order of work, without those done.
            title: What the lines are about.
        """
        due = sum(weights.values())
        total = due * rows / max(rows - done, 1)
        self._progress = Progress(total, total - due, dict(weights))
        self._rows, self._rows_done, self._masks, self._title = rows, done, 0, title
        self._gauge = Gauge(self, title, self._progress.share)

    def expects(self, tokens: int) -> None:
        """The masked LM is about to read so many tokens."""
        self._progress.expect(tokens)

    def reads(self, positions: int, tokens: int, *, found: bool = False) -> None:
        """So many masked positions more are done, or were found in the store."""
        self._masks += positions
        self._progress.read(tokens, found=found)
        self._show()

    def finished(self, chunk: int) -> None:
        """A chunk is done and kept."""
        self._progress.finish(chunk)

    def rows(self, count: int) -> None:
        """So many source rows more are done and kept."""
        self._rows_done += count
        self._show()

    def stop(self) -> None:
        """Work has ended, well or not."""
        if self._gauge is not None:
            self._gauge.close()
            if self._rows_done == self._rows:
                taken = span(time.monotonic() - self._gauge.began)
                self.say(self._title, f"{self._state()} · {taken}")
            self._gauge = None

    def _show(self) -> None:
        if self._gauge is not None:
            work = self._progress
            state = f"{work.share:.0%} · {self._state()}"
            self._gauge.show(work.share, state, work.free / (work.total or 1.0))

    def _state(self) -> str:
        assert self._gauge is not None
        rate = self._masks / max(time.monotonic() - self._gauge.began, 1e-6)
        masks = f" · {rate:,.0f} masks/s" * bool(self._masks)  # other processes do not tell theirs
        return f"{self._rows_done:,} of {counted(self._rows, 'row')}{masks}"
