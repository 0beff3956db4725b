"""What a person sees while a command works: lines on stderr, and how far it is.

Needs rich; ``augment.contract`` does not import it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.text import Text

from augment.contract.foreign import shown
from augment.contract.process import lose

LINE_EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal."""


class _Console(Console):
    """A console whose own codes (colors, bars) alone are codes: all else passes ``shown``."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(shown(segment.text, limit=sys.maxsize, lines=True), segment.style)

    def print(self, *objects: Any, **how: Any) -> None:
        """Print; where stderr is closed or full, nobody is told, and the work goes on."""
        try:
            super().print(*objects, **how)
        except OSError:
            if not self.stderr:
                raise
            self.quiet = True
            lose(sys.stderr)

    def on_broken_pipe(self) -> None:
        """Let it pass, to those who know whether anything is lost: Rich would end the process."""
        raise  # noqa: PLE0704 - called while it is handled


def open_console(*, err: bool = False, quiet: bool = False) -> Console:
    """A console that prints every text as it is: brackets in a sentence are no markup."""
    return _Console(
        stderr=err, quiet=quiet, highlight=False, soft_wrap=True, markup=False, emoji=False
    )


def labeled(label: str, text: str = "") -> Text:
    """One fact as all commands print it: ``  teacher     12 x 768 · …``."""
    return Text.assemble("  ", (f"{shown(label):<11}", "bold"), " ", shown(text))


class Narrator:
    """Says on stderr what happens."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = open_console(err=True, quiet=quiet)

    def say(self, label: str, text: str) -> None:
        """One fact, a line."""
        self.console.print(labeled(label, text))


class Gauge:
    """How far something is: a bar on a terminal, a line now and then elsewhere.

    ``first`` is the share that was done before this process began.
    """

    def __init__(self, narrator: Narrator, title: str, first: float = 0.0) -> None:
        self.narrator = narrator
        self.title = title
        self.began = self._spoke = time.monotonic()
        self._first = first
        self._bar: Progress | None = None
        console = narrator.console
        if console.is_terminal and not console.quiet:
            self._bar = Progress(
                TextColumn(f"  {title:<11}", style="bold", markup=False),
                BarColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                TimeRemainingColumn(compact=True),
                console=console,
            )
            self._bar.add_task(title, total=None, note="")
            self._bar.start()

    def show(self, share: float | None, note: str) -> None:
        """Move the bar, or speak when the last line is ``LINE_EVERY`` old.

        ``share`` is 0 to 1, or None where nobody knows; ``note`` is what else to say.
        """
        now = time.monotonic()
        if self._bar is not None:
            total = None if share is None else 1.0
            self._bar.update(self._bar.task_ids[0], total=total, completed=share or 0, note=note)
        elif now - self._spoke >= LINE_EVERY:
            self._spoke = now
            if share is not None and share > self._first:
                left = (1 - share) * (now - self.began) / (share - self._first)
                note = f"{note} · {span(left)} left"
            self.narrator.say(self.title, note)

    def close(self) -> None:
        """Take the bar away, also after an error."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def span(seconds: float) -> str:
    """Seconds as ``42 s``, ``3 min 05 s`` or ``1 h 12 min``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
