"""What a person sees: progress on stderr, results on stdout, colour on a terminal only."""

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
from rich.table import Table
from rich.text import Text

from augment.contract import Version
from augment.narrator import Narrator
from augment.preview import Preview
from augment.replace import Edit

QUIET_SECONDS = 10.0
_REPLACED = "bold green"

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
        """Print a labelled line."""
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


def show_summary(version: Version) -> None:
    """The lines a finished run ends with."""
    manifest = version.manifest
    counts = manifest.counts
    train = version.rows(version.task.splits.train)
    size = sum(entry.bytes for entry in manifest.files) / 2**20
    per_row = train / max(counts.get("rows.source", 1), 1)
    out.print(
        f"  [bold]{version.reference}[/bold]  {manifest.id[:6]}  {train:,} rows "
        f"({per_row:.1f} per source row) · {size:.1f} MB · {len(manifest.files)} files"
    )
    dropped = [(k, n) for k, n in counts.items() if k.startswith(("dropped.", "source.")) and n]
    if dropped:
        out.print("  dropped     " + " · ".join(f"{n:,} {k.partition('.')[2]}" for k, n in dropped))
    replaced = {k.partition(".")[2]: n for k, n in counts.items() if k.startswith("replaced.")}
    total = sum(replaced.values())
    if total:
        shares = " · ".join(f"{n / total:.0%} {k}" for k, n in sorted(replaced.items()))
        out.print(f"  replaced    {total:,} words: {shares}")


def versions_table(versions: list[Version]) -> Table:
    """All versions of a root, one a line."""
    table = Table(box=None, pad_edge=False)
    for heading in ("version", "id", "recipe", "rows", "created", "source"):
        table.add_column(heading, justify="right" if heading == "rows" else "left")
    for version in versions:
        manifest = version.manifest
        table.add_row(
            version.reference,
            manifest.id[:6],
            str(manifest.recipe.get("preset", "")),
            f"{version.rows(version.task.splits.train):,}",
            manifest.created[:16].replace("T", " "),
            manifest.source,
        )
    return table


def marked(text: str, edits: list[Edit]) -> Text:
    """A variant rebuilt from the original text with its replacements marked."""
    line, at = Text(), 0
    for edit in edits:
        line.append(text[at : edit.start])
        line.append(f"[{edit.after}]", style=_REPLACED)
        at = edit.end
    return line.append(text[at:])


def show_preview(view: Preview, variants: int, top: int) -> None:
    """The preview as two blocks: words with candidates, then variants."""
    table = Table(box=None, pad_edge=False)
    for heading in ("word", "route", "candidates (score)"):
        table.add_column(heading, overflow="fold")
    for word in view.words:
        shown = " · ".join(f"{name} {score:.2f}" for name, score in word.candidates[:top])
        more = len(word.candidates) - top
        tail = f" · … {more} more" if more > 0 else ""
        table.add_row(Text(word.word), word.route.replace("_", " "), Text(shown + tail))
    out.print(table)
    out.print("\n  variants")
    for variant in view.variants[:variants]:
        out.print(f"  {variant.number:3}", marked(view.text, list(variant.edits)))
