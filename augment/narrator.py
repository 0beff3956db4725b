"""What a run tells while it works; the command line shows it, Python callers may ignore it."""

from __future__ import annotations


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
