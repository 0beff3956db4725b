"""What a person sees while a command works: lines on stderr, a bar, numbers as people read them."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from distill.distributed import is_main_process

LINE_EVERY = 10.0


def short(count: int) -> str:
    """A count, such as ``14.4 M`` or ``1.2 G``."""
    for factor, letter in ((1e9, "G"), (1e6, "M")):
        if count >= factor / 10:
            return f"{count / factor:.1f} {letter}"
    return f"{count:,}"


def megabytes(size: int) -> str:
    """A file size, such as ``57.4 MB``."""
    return f"{size / 1e6:.1f} MB"


class Narrator:
    """Says on stderr what happens; ``quiet``, and all processes but the first, say nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(
            file=sys.stderr, quiet=quiet or not is_main_process(), highlight=False, soft_wrap=True
        )

    def say(self, label: str, text: str) -> None:
        """One fact: ``  teacher     12 x 768 · …``."""
        self.console.print(f"  {label:<11} {text}", markup=False)


class Gauge:
    """How far something is: a bar on a terminal, a line now and then elsewhere.

    Args:
        narrator: Where to.
        title: Such as ``stage 1/2``.
        first: The share that was done before this process began.
    """

    def __init__(self, narrator: Narrator, title: str, first: float = 0.0) -> None:
        self.narrator = narrator
        self.title = title
        self.began = time.monotonic()
        self._first = first
        self._spoke = 0.0
        self._bar: Progress | None = None
        console = narrator.console
        if console.is_terminal and not console.quiet:
            left = (
                TextColumn("  {task.description}"),
                BarColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self._bar = Progress(*left, TimeRemainingColumn(), console=console)
            self._bar.add_task(title, total=None, note="")
            self._bar.start()

    def show(self, share: float | None, note: str) -> None:
        """Move the bar, or speak when the last line is ten seconds old.

        Args:
            share: 0 to 1, or nothing where nobody knows.
            note: What else to say.
        """
        now = time.monotonic()
        if self._bar is not None:
            total = None if share is None else 1.0
            self._bar.update(self._bar.task_ids[0], total=total, completed=share or 0, note=note)
        elif not self._spoke or now - self._spoke >= LINE_EVERY:
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
