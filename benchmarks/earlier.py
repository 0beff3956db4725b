"""Lines of results measured in another folder or on another machine, kept beside new ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import describe

Line = dict[str, Any]


def machine_name() -> str:
    """Of this machine, as lines of results say it."""
    own = describe()
    return f"{own['processor']}, {own['kind']}"


def with_earlier(lines: Sequence[Line], path: Path | None, cell: Sequence[str]) -> list[Line]:
    """Lines of this folder after those of a file of results whose cells it lacks.

    A cell stays whole: what is compared within it is of one machine, which each line names.

    Args:
        lines: Of this folder.
        path: The results as they are; nothing is kept where there are none.
        cell: Keys of a line that name its cell.
    """
    here = {tuple(line[key] for key in cell) for line in lines}
    found = json.loads(path.read_text(encoding="utf-8")) if path and path.is_file() else {}
    made_on = found.get("machine", {})
    earlier = [
        {**line, "machine": line.get("machine", f"{made_on['processor']}, {made_on['kind']}")}
        for line in found.get("lines", [])
        if tuple(line[key] for key in cell) not in here
    ]
    own = machine_name()
    return [*earlier, *({**line, "machine": own} for line in lines)]
