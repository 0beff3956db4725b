"""The memory of a process and its descendants over time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECONDS = 0.5
"""Between two looks."""


@dataclass(slots=True)
class Peak:
    """The largest sums seen, in bytes, and when.

    Attributes:
        pss: Resident pages; one that several processes share counts once.
        rss: The same, counted in each of them.
        own: Those that are not pages of a file, which the system can take back at any time.
        processes: The most at a time.
        at_seconds: When ``pss`` was seen.
        series: Seconds and PSS of every look.
    """

    pss: int = 0
    rss: int = 0
    own: int = 0
    processes: int = 0
    at_seconds: float = 0.0
    series: list[tuple[float, int]] = field(default_factory=list)

    def look(self, pid: int, seconds: float) -> None:
        """Add up a process and its descendants as they are now."""
        tree = [memory for memory in map(_memory, _descendants(pid)) if memory]
        pss = sum(memory["Pss"] for memory in tree)
        self.rss = max(self.rss, sum(memory["Rss"] for memory in tree))
        self.own = max(self.own, sum(memory["Pss_Anon"] for memory in tree))
        self.processes = max(self.processes, len(tree))
        self.series.append((round(seconds, 1), pss))
        if pss > self.pss:
            self.pss, self.at_seconds = pss, seconds

    def thinned(self, count: int = 40) -> list[tuple[float, int]]:
        """About ``count`` looks at even distances."""
        return self.series[:: max(1, len(self.series) // count)]


def files_mapped(pid: int) -> dict[str, int]:
    """Resident bytes of a process by the file that they belong to."""
    found: dict[str, int] = {}
    file = ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        name, *values = line.split()
        if not name.endswith(":"):  # address, rights, offset, device, inode, path
            file = values[4] if len(values) > 4 else ""
        elif name == "Rss:" and file.startswith("/"):
            found[file] = found.get(file, 0) + int(values[0]) * 1024
    return found


def _descendants(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            own = children.read_text().split()
        except OSError:
            continue
        for child in own:
            yield from _descendants(int(child))


def _memory(pid: int) -> dict[str, int]:
    """The sums of ``smaps_rollup`` for a process in bytes; empty when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    fields = (line.split() for line in lines)
    return {name.rstrip(":"): int(kilobytes) * 1024 for name, kilobytes, *_ in fields}
