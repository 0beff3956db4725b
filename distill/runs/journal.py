"""``journal.jsonl`` of a run: who called it with what, and how long each part took.

It is a log, and decides nothing: a run whose journal is lost is the same run.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from distill.runs.distributed import device, is_main_process, world_size
from distill.runs.records import Record, last_lines, parse_object

JOURNAL, METRICS, BOARD = "journal.jsonl", "metrics.jsonl", "tensorboard"
_MOST_LAYERS = 200
_PACKAGES = ("augment-distill", "torch", "transformers", "datasets", "numpy")


class Call(Record):
    """A command, or a call from Python, that worked on a run.

    Attributes:
        at: When it began, in UTC, as ISO 8601.
        command: Its words; none of a call from Python.
        version: The folder of the version, where there is one.
        teacher: The folder of the first teacher, where it is one.
        recipe: What the user called it.
        facts: What numbers of the recipe were found by, see ``recipes.auto.Facts``.
        environment: Versions of packages, the machine.
    """

    at: str
    command: tuple[str, ...] = ()
    version: str | None = None
    teacher: str | None = None
    recipe: str = ""
    facts: dict[str, int | None] | None = None
    environment: dict[str, str] = Field(default_factory=dict)


class Part(Record):
    """A part of a run that a call worked on, whether or not it came to its end."""

    part: str
    seconds: float = Field(ge=0, le=1e9, allow_inf_nan=False)


class Layers(Record):
    """Which layers of what stage 1 learns from teach those of the student.

    Attributes:
        teacher: Its layers.
        mapping: The teacher layer of each student layer, counted from 1.
    """

    teacher: int = Field(ge=1, le=_MOST_LAYERS)
    mapping: tuple[Annotated[int, Field(ge=1, le=_MOST_LAYERS)], ...] = Field(
        min_length=1, max_length=_MOST_LAYERS
    )


def note_layers(run: Path, teacher: int, mapping: tuple[int, ...]) -> None:
    """Add to a run's journal which layers teach which."""
    if is_main_process():
        with suppress(ValidationError):  # more layers than anybody draws
            _append(run, Layers(teacher=teacher, mapping=mapping))


def note_call(run: Path, **known: Any) -> None:
    """Add this call to a run's journal; ``known`` are fields of ``Call``."""
    if is_main_process():
        at = datetime.now(UTC).isoformat(timespec="seconds")
        _append(run, Call(at=at, command=_command(), environment=environment(), **known))


def _command() -> tuple[str, ...]:
    program = Path(sys.argv[0])
    ours = program.name == "distill" or program.parts[-3:] == ("distill", "cli", "__main__.py")
    return ("distill", *sys.argv[1:]) if ours else ()


@contextmanager
def timed(run: Path, part: str) -> Iterator[None]:
    """Around a part of a run: its seconds go to the journal, also where it is interrupted."""
    began = time.monotonic()
    try:
        yield
    finally:
        if is_main_process():
            _append(run, Part(part=part, seconds=round(time.monotonic() - began, 3)))


def read_journal(run: Path) -> tuple[Line, ...]:
    """The lines of a run's journal; what cannot be read is left out."""
    return tuple(_lines(last_lines(run / JOURNAL)))


def copy_logs(run: Path, folder: Path) -> None:
    """Give a finished folder the logs of the run that made it."""
    with suppress(OSError):
        for name in (JOURNAL, METRICS):
            if (run / name).is_file():
                shutil.copy(run / name, folder / name)
        if (run / BOARD).is_dir():
            shutil.copytree(run / BOARD, folder / BOARD, dirs_exist_ok=True)


def environment() -> dict[str, str]:
    """Versions of packages, and the machine."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    found |= {"platform": platform.platform(), "processors": str(len(os.sched_getaffinity(0)))}
    return {**found, "device": device().type, "processes": str(world_size())}


def _lines(lines: Iterable[bytes]) -> Iterator[Line]:
    for line in lines:
        row = parse_object(line)
        with suppress(ValidationError):
            if row:
                kind = Part if "part" in row else Layers if "mapping" in row else Call
                yield kind.model_validate(row)


Line = Call | Part | Layers


def _append(run: Path, row: Record) -> None:
    """A line more; a journal that cannot be written ends no run."""
    file = run / JOURNAL
    if file.is_file() or (run.is_dir() and not os.path.lexists(file)):
        line = json.dumps(row.to_json()).encode() + b"\n"
        with suppress(OSError), file.open("a+b") as stream:
            if size := stream.seek(0, os.SEEK_END):
                stream.seek(size - 1)
                line = b"\n" * (stream.read(1) != b"\n") + line  # a kill cut the line before
            stream.write(line)
