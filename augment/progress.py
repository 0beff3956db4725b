"""What a run tells while it works: nothing to a Python caller, lines and a bar on a terminal."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class Narrator:
    """Hears the story of a run. This one says nothing; subclasses show it."""

    def say(self, label: str, text: str) -> None:
        """One line of the story, such as ``source`` and what it holds."""

    def start(self, rows: int, done: int) -> None:
        """Work begins: rows in all, and rows already done by an earlier run."""

    def positions(self, count: int) -> None:
        """So many masked positions more are done."""

    def rows(self, count: int) -> None:
        """So many source rows more are done and kept."""

    def stop(self) -> None:
        """Work has ended, well or not."""


QUIET_SECONDS = 10.0


out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class ConsoleNarrator(Narrator):
    """Tells the story of a run on stderr: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._total = self._done = self._positions = 0
        self._began = self._spoke = time.monotonic()

    def say(self, label: str, text: str) -> None:
        """Print a labeled line."""
        err.print(f"  [bold]{label:12}[/bold]", Text(text))

    def start(self, rows: int, done: int) -> None:
        """Show the bar."""
        self._total, self._done = rows, done
        self._began = self._spoke = time.monotonic()
        if err.is_terminal:
            self._bar = Progress(
                TextColumn("  [bold]candidates  [/bold]"),
                BarColumn(40),
                TaskProgressColumn(),
                TextColumn("{task.completed:,.0f} / {task.total:,.0f} rows · {task.fields[rate]}"),
                TimeRemainingColumn(compact=True),
                TextColumn("left"),
                console=err,
            )
            self._bar.start()
            self._task = self._bar.add_task("rows", total=rows, completed=done, rate="")

    def positions(self, count: int) -> None:
        """Refresh the rate."""
        self._positions += count
        rate = self._positions / max(time.monotonic() - self._began, 1e-6)
        if self._bar:
            self._bar.update(self._task, rate=f"{rate:,.0f} masks/s")
        elif time.monotonic() - self._spoke > QUIET_SECONDS:
            self._spoke = time.monotonic()
            self.say(
                "candidates",
                f"{self._done:,} of {self._total:,} rows · {self._positions:,} masks · "
                f"{rate:,.0f} masks/s",
            )

    def rows(self, count: int) -> None:
        """Move the bar, or say how far it is where there is no terminal."""
        self._done += count
        if self._bar:
            self._bar.update(self._task, completed=self._done)
        elif time.monotonic() - self._spoke > QUIET_SECONDS or self._done == self._total:
            self._spoke = time.monotonic()
            self.say("candidates", f"{self._done:,} of {self._total:,} rows")

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar:
            self._bar.stop()
            self._bar = None
