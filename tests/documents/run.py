"""Runs the blocks of a page in its folder, in this process, with few steps of training.

Nothing that is shown is changed: a row has few variants, students are small, the trainer stops
every stage after some steps, and a teacher that knows little by then is taken.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import augment.cli
import distill.cli
from tests.conftest import ROOT
from tests.documents.blocks import COMMANDS, PARSED, Block, commands

STEPS = 3
VARIANTS = 2
SECONDS = 0.05
SHAPE = "2x64-256-4"
APPS = {"augment": lambda: augment.cli.app, "distill": lambda: distill.cli.app}
_TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
_EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Be there for a while."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def few_steps() -> Iterator[None]:
    """Train small students for ``STEPS`` steps on few variants; teachers may know next to nothing.

    A published name or a shape is a student of ``SHAPE``; what times steps takes a moment.
    """
    import augment.recipes.load
    import distill.general
    from distill import pipeline
    from distill.diagnosis import calibrate, checks, diagnose, minutes
    from distill.models import students
    from distill.training import budget, context, job, schedule, trainer

    drafted, counted = augment.recipes.load.load_recipe, schedule.total_steps
    judged, planned, shaped = (
        pipeline.fitness,
        distill.general.plan_for_seconds,
        students.parse_shape,
    )

    def sparse(*given: Any) -> Any:
        return drafted(*given).model_copy(update={"variants": VARIANTS})

    def fewer(rows: int, training: Any) -> int:
        return min(STEPS, counted(rows, training))

    def lenient(*given: Any) -> Any:
        return replace(judged(*given), weakness="")

    def short(*given: Any) -> Any:
        return replace(planned(*given), steps=STEPS)

    def small(name: str) -> Any:
        return shaped(SHAPE) if shaped(name) else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augment.recipes.load, "load_recipe", sparse)
        for module in (context, job, trainer, distill.general):
            patch.setattr(module, "total_steps", fewer)
        for module in (pipeline, checks):
            patch.setattr(module, "fitness", lenient)
        quick = partial(calibrate.calibrate, most=lambda _: SECONDS)
        patch.setitem(diagnose.diagnose.__kwdefaults__, "calibrate", quick)
        patch.setattr(minutes, "MOST_TIMING", SECONDS)
        patch.setattr(os, "sched_getaffinity", lambda _: {0})
        patch.setattr(budget, "STEPS", 8)
        patch.setattr(students, "parse_shape", small)
        patch.setattr(distill.general, "plan_for_seconds", short)
        patch.setattr(distill.general, "steps_for_tokens", lambda *_: STEPS)
        yield


def run_command(words: list[str], folder: Path) -> str:
    """Run a command of ours; others are looked at.

    Returns:
        What it printed.

    Raises:
        AssertionError: It failed, or nobody knows how to check it.
    """
    if words[0] not in APPS:
        check_other(words)
        return ""
    words, into = (words[: words.index(">")], words[-1]) if ">" in words else (words, None)
    with in_folder(folder):
        done = CliRunner().invoke(APPS[words[0]](), words[1:], catch_exceptions=True)
        said = f"$ {shlex.join(words)}\n{done.output}{done.exception or ''}"
        assert done.exit_code == 0, said
        if into is not None:
            Path(into).write_text(done.stdout, encoding="utf-8")
    return done.output


def check_other(words: list[str]) -> None:
    """See that what a command of others names is there: a target, an extra, a module.

    Raises:
        AssertionError: It is not, or the command is of no known kind.
    """
    match words:
        case ["make", *targets]:
            assert set(targets) <= set(_TARGETS)
        case ["pip", "install", *named]:
            for name in (name for name in named if name.startswith(_EXTRAS["name"])):
                extras = re.findall(r"[\w-]+", name.removeprefix(_EXTRAS["name"]))
                assert set(extras) <= set(_EXTRAS["optional-dependencies"]), name
        case ["python", "-m", module, *_]:
            assert find_spec(module), module
        case ["cd" | "git", *_]:
            pass
        case _:
            raise AssertionError(f"nobody checks {words[0]!r}: a rule, or <!-- not run: why -->")


class Page:
    """The blocks of one page, which share a folder and the names of their Python."""

    def __init__(self, folder: Path, made: Any) -> None:
        self.folder, self.made = folder, made
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.done: Counter[str] = Counter()

    def run(self, block: Block) -> None:
        """Run a block, or read it where it is a file's content."""
        if block.language == "toml":
            tomllib.loads(block.code)
        elif block.language == "json":
            for line in block.code.splitlines() if "}\n{" in block.code else [block.code]:
                json.loads(line)
        if block.language in PARSED:
            self.done["parsed"] += 1
        elif block.reason is not None:
            self.done["not run"] += 1
        elif block.language in COMMANDS:
            for words in commands(block):
                self.made.bring(words, self.folder)
                run_command(words, self.folder)
                self.done["commands"] += 1
        elif block.language == "python":
            self._python(block)
            self.done["python"] += 1

    def _python(self, block: Block) -> None:
        strings = re.findall(r'(out=)?"([^"\n]+)"', block.code)
        self.made.bring([text for written, text in strings if not written], self.folder)
        before = sys.path[:]
        with in_folder(self.folder):
            try:
                code = compile("\n" * (block.line - 1) + block.code, block.page, "exec")
                exec(code, self.names)
            except Exception as error:
                raise AssertionError(f"{block}: {type(error).__name__}: {error}") from error
            finally:
                sys.path[:] = before
