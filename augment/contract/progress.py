"""What a person sees while a command works: lines on stderr, and how far it is.

Needs rich; ``augment.contract`` does not import it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.segment import Segment
from rich.text import Text

from augment.contract.foreign import shown
from augment.contract.process import lose

FIRST_LINE, LINE_EVERY = 2.0, 10.0
"""Seconds to the first line of progress, and between two, where there is no terminal."""
LEFT_EVERY = 1.0
"""Seconds between two estimates of the time that is left, on a terminal."""


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
        self.began = time.monotonic()
        self._next = self.began + FIRST_LINE
        self._first = first
        self._left = ""
        self._bar: Progress | None = None
        console = narrator.console
        if console.is_terminal and not console.quiet:
            self._bar = Progress(
                TextColumn(f"  {title:<11}", style="bold", markup=False),
                BarColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                console=console,
            )
            self._bar.add_task(title, total=None, note="")
            self._bar.start()

    def show(self, share: float | None, note: str, free: float = 0.0) -> None:
        """Move the bar, or speak when the last line is ``LINE_EVERY`` old.

        Args:
            share: What is done, 0 to 1, or None where nobody knows.
            note: What else to say.
            free: The part of the share that took no time, such as what was found done.
        """
        now = time.monotonic()
        paid = 0.0 if share is None else share - self._first - free
        if self._bar is not None:
            if now >= self._next:
                self._next = now + LEFT_EVERY
                self._left = self._time_left(share, paid, now)
            total = None if share is None else 1.0
            note = f"{note}{self._left}"
            self._bar.update(self._bar.task_ids[0], total=total, completed=share or 0, note=note)
        elif now >= self._next and (share is None or paid > 0 or share >= 1):
            self._next = now + LINE_EVERY
            self.narrator.say(self.title, note + self._time_left(share, paid, now))

    def _time_left(self, share: float | None, paid: float, now: float) -> str:
        """By the mean speed so far, which does not jump."""
        if share is None or paid <= 0:
            return ""
        return f" · {span((1 - share) * (now - self.began) / paid)} left"

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
