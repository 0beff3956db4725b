"""Lines of results measured in another folder or on another machine, kept beside new ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import describe

Line = dict[str, Any]


def machine_name(machine: Mapping[str, Any]) -> str:
    """As lines of results say it."""
    return f"{machine['processor']}, {machine['kind']}"


def read_results(path: Path | None) -> dict[str, Any]:
    """A file of results as it is; nothing where there is none."""
    known: dict[str, Any] = {}
    if path and path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))
    return known


def on_machines(lines: Sequence[Line], known: Mapping[str, Any], part: str = "lines") -> list[Line]:
    """Lines with the machine that they are of: that of the same line in known results, or this one.

    Args:
        lines: Of this folder, which do not name it.
        known: Results as they are.
        part: Of these, where such lines are.
    """
    this = machine_name(describe())
    earlier = named(known, part)
    return [
        next((own for own in earlier if own | line == own), {**line, "machine": this})
        for line in lines
    ]


def named(known: Mapping[str, Any], part: str = "lines") -> list[Line]:
    """Lines of known results; where they name no machine, that of all results."""
    return [
        line if "machine" in line else {**line, "machine": machine_name(known["machine"])}
        for line in known.get(part, ())
    ]


def with_earlier(
    lines: Sequence[Line], known: Mapping[str, Any], cell: Sequence[str]
) -> list[Line]:
    """Lines of this folder after those of known results whose cells it lacks.

    A cell stays whole: what is compared within it is of one folder.

    Args:
        lines: Of this folder.
        known: Results as they are.
        cell: Keys of a line that name its cell.
    """
    here = {tuple(line[key] for key in cell) for line in lines}
    earlier = [line for line in named(known) if tuple(line[key] for key in cell) not in here]
    return [*earlier, *on_machines(lines, known)]
