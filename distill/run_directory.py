"""A run directory: what it belongs to, and what is finished.

run.json          what the run is made of: recipe, version, teacher, student
metrics.jsonl     losses and scores by stage and step
result.json       the result table, when the run has finished
student/          the distilled student        plain-student/  the one it is compared with
work/             tokens, the teachers' scores, the student after stage 1, checkpoints of an
                  unfinished stage
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from augment.contract import Fault
from augment.contract.files import disk_errors, locked, partial_of, write_json, write_text
from distill.distributed import is_main_process, main_process_first
from distill.errors import ModelNotFound, RunDiffers, UsageError
from distill.records import Record, read_json

R = TypeVar("R", bound=Record)

LOCK = ".lock"
RUN, RESULT, METRICS = "run.json", "result.json", "metrics.jsonl"
OUTCOME = "outcome.json"
STUDENT = "student"
LATER = ("prediction", "plain")
"""Sections of a recipe that the student after stage 1 does not depend on."""


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The files of one run; see the module's picture.

    Attributes:
        path: The directory.
        shared: Where several runs keep tokens and first stages together; nothing if they do not.
    """

    path: Path
    shared: Path | None = None

    @property
    def work(self) -> Path:
        """Where unfinished things are."""
        return self.path / "work"

    @property
    def tokens(self) -> Path:
        """Where tokenized splits are."""
        return (self.shared or self.work) / "tokens"

    def first_stage(self, identity: dict[str, Any]) -> Path:
        """The student after stage 1; runs that agree in all but the later stages share it.

        Args:
            identity: JSON values that decide the final student's weights.
        """
        if self.shared is None:
            return self.work / "intermediate" / "student"
        recipe = {key: own for key, own in identity["recipe"].items() if key not in LATER}
        text = json.dumps({**identity, "recipe": recipe}, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self.shared / "first-stages" / name

    @property
    def begun(self) -> bool:
        """Whether an earlier call made this directory a run's."""
        return (self.path / RUN).is_file()

    @contextmanager
    def claim(self, identity: dict[str, Any]) -> Iterator[bool]:
        """Make the directory this run's own, or find that it is already, and hold it meanwhile.

        Under torchrun the main process holds it for all.

        Args:
            identity: JSON values that decide the student's weights.

        Yields:
            Whether an earlier call had begun this very run.

        Raises:
            RunDiffers: It belongs to another run; the sentence says what differs.
            UsageError: It holds other things.
            OutputBusy: Another process is at work in it.
        """
        with ExitStack() as held:
            with main_process_first():
                begun = self._begin(json.loads(json.dumps(identity)), held)
            yield begun

    def _begin(self, identity: dict[str, Any], held: ExitStack) -> bool:
        file = self.path / RUN
        ours = {self.path / LOCK, partial_of(file)}  # left where this very method was killed
        others = set(self.path.glob("*")) - ours
        if others and not self.begun:
            raise UsageError(
                f"{self.path} is not empty and holds no run.", "Choose another --out directory."
            )
        self.path.mkdir(parents=True, exist_ok=True)
        if is_main_process():
            held.enter_context(locked(self.path / LOCK))
        if begun := self.begun:
            self._compare(json.loads(file.read_text(encoding="utf-8")), identity)
        else:
            write_json(file, identity)
        return begun

    @contextmanager
    def explaining_lost_models(self) -> Iterator[None]:
        """Around a look at the models of a run: whether it was begun with one that is gone."""
        try:
            yield
        except ModelNotFound as missing:
            if not self.begun:
                raise
            raise ModelNotFound(
                missing.problem,
                f"{self.path} was begun with a model of that name: put it back, or name the place "
                "where it lies now; its contents count, not its place.",
            ) from missing

    @contextmanager
    def preparing(self, *, begun: bool) -> Iterator[None]:
        """Around what comes before training: where it fails, nothing remains of a new run.

        Args:
            begun: What ``claim`` yielded.
        """
        try:
            yield
        except Fault:
            if not begun:
                shutil.rmtree(self.path, ignore_errors=True)
            raise

    def _compare(self, stored: dict[str, Any], asked: dict[str, Any]) -> None:
        old, new = _flatten(stored), _flatten(asked)
        keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        if keys:
            pairs = [(key, _brief(old.get(key)), _brief(new.get(key))) for key in keys[:6]]
            lines = [f"{key}: {there} there, {now} now" for key, there, now in pairs]
            more = f" (and {len(keys) - 6} more)" if len(keys) > 6 else ""
            hint = "Choose another --out directory, or repeat the command that began this run."
            if "version" in keys:
                hint += f"\nThe version it was begun with ends in @{_brief(old['version'])}."
            raise RunDiffers(
                f"{self.path} holds another run; different: {'; '.join(lines)}{more}.", hint
            )

    def result(self, kind: type[R]) -> R | None:
        """The stored result, when the run has finished.

        Raises:
            DataInvalid: The file was damaged.
        """
        file = self.path / RESULT
        return read_json(file, kind) if file.is_file() else None

    def finish(self, result: Record) -> None:
        """Write the result, which ends the run."""
        for stage in self.work.glob(f"*/{OUTCOME}"):  # left by a kill after the student's commit
            shutil.rmtree(stage.with_name("checkpoints"), ignore_errors=True)
        write_json(self.path / RESULT, result.to_json())


class MetricLog:
    """``metrics.jsonl``: one line for each logged step or evaluation; None logs nothing."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def append(self, **row: Any) -> None:
        """Add a line."""
        if self.path is not None:
            with disk_errors(self.path.parent), self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")

    def rewind(self, stage: str, step: int) -> None:
        """Forget what a stage logged after a step: it is about to be trained again."""
        if self.path is None or not self.path.is_file():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            row = _parsed(line)
            if row and (row["stage"] != stage or row["step"] <= step):
                kept.append(line + "\n")
        write_text(self.path, "".join(kept))


def _brief(value: Any) -> str:
    """A digest by its first digits."""
    text = str(value)
    return text[:12] if re.fullmatch("[0-9a-f]{64}", text) else text


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        row: dict[str, Any] = json.loads(line)
    except ValueError:  # the line that a killed process was writing
        return None
    return row


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as key paths."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= (
            _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return flat
