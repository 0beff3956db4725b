"""A run directory: what it belongs to, and what is finished.

run.json          what the run is made of: recipe, version, teacher, student
minutes/          with --minutes: the steps that were chosen before the run, as a recipe too
metrics.jsonl     losses and scores by stage and step
result.json       the result table, when the run has finished; answers.parquet: row by row
student/          the distilled student        plain-student/  the one it is compared with
work/             tokens, the teachers' scores, the student after stage 1, checkpoints of an
                  unfinished stage

All of it but the log is sealed (``distill.runs.records``) with the digest of what the run is
made of. What lies in ``work`` can be made again, and is where it is not as it was written.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from augment.contract import Fault, OutputUnwritable
from augment.contract.files import disk_errors, locked, nearest, partial_of
from distill.errors import DataInvalid, ModelInvalid, ModelNotFound, RunDiffers, UsageError
from distill.runs.distributed import is_main_process, main_process_first
from distill.runs.progress import Narrator
from distill.runs.records import (
    Origin,
    Record,
    digest_of,
    discard,
    flatten,
    flaw,
    read_json,
    read_object,
    read_seal,
    seal_of,
    write_sealed_json,
)

R = TypeVar("R", bound=Record)

LOCK = ".lock"
RUN, RESULT = "run.json", "result.json"
RUNS = "arms"
"""Where an ablation has its runs."""
STUDENT, PLAIN_STUDENT = "student", "plain-student"
MINUTES = "minutes"
"""A folder that may lie there before the run begins."""
LATER = ("prediction", "plain")
"""Sections of a recipe that the student after stage 1 does not depend on."""


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The files of one run; see the module's picture.

    Attributes:
        path: The directory.
        shared: Where several runs keep tokens and first stages together; nothing if they do not.
        made_from: The digest of what the run is made of, see ``of``.
    """

    path: Path
    shared: Path | None = None
    made_from: str = ""

    def of(self, identity: dict[str, Any]) -> RunDirectory:
        """The directory of a run that is made of this: what it reads back must be, too."""
        return replace(self, made_from=digest_of(identity))

    def origin(self, part: str) -> Origin:
        """What a part of the run is sealed with."""
        return Origin(made_from=self.made_from, part=part)

    @property
    def in_minutes(self) -> bool:
        """Whether ``--minutes`` chose the steps: of a run, or of the teacher that it tunes."""
        whole = self.path.resolve()  # "." has no name
        run = whole.parent / whole.name.removesuffix("-teacher")
        return any((place / MINUTES).is_dir() for place in (whole, run))

    @property
    def work(self) -> Path:
        """Where unfinished things are."""
        return self.path / "work"

    @property
    def tokens(self) -> Path:
        """Where tokenized splits are."""
        return (self.shared or self.work) / "tokens"

    def first_stage(self, identity: dict[str, Any]) -> FirstStage:
        """The student after stage 1; runs that agree in all but the later stages share it.

        Args:
            identity: JSON values that decide the final student's weights.
        """
        recipe = {key: own for key, own in identity["recipe"].items() if key not in LATER}
        origin = Origin(made_from=digest_of({**identity, "recipe": recipe}), part="first stage")
        if self.shared is None:
            return FirstStage(self.work / "intermediate" / "student", origin)
        return FirstStage(self.shared / "first-stages" / origin.made_from[:16], origin)

    @property
    def begun(self) -> bool:
        """Whether an earlier call made this directory a run's."""
        return (self.path / RUN).exists() or seal_of(self.path / RUN).exists()

    @contextmanager
    def claim(self, identity: dict[str, Any], narrator: Narrator | None = None) -> Iterator[Claim]:
        """Make the directory this run's own, or find that it is already, and hold it meanwhile.

        What a killed call was writing is removed. Under torchrun the main process holds the
        directory for all.

        Args:
            identity: JSON values that decide the student's weights.
            narrator: Is told what was mended.

        Yields:
            What is known of the run meanwhile.

        Raises:
            RunDiffers: It belongs to another run; the sentence says what differs.
            UsageError: It holds other things.
            DataInvalid: Nobody can say any more whose it is.
            OutputBusy: Another process is at work in it.
            OutputUnwritable: It cannot be written to, or was removed meanwhile.
        """
        with ExitStack() as held:
            with main_process_first():
                begun = self._begin(json.loads(json.dumps(identity)), held, narrator)
            claim = Claim(self, begun)
            try:
                yield claim
            except Exception as error:
                if self.begun or claim.refused:
                    raise
                discard(self.work)  # what was written after the directory was removed
                (self.path / LOCK).unlink(missing_ok=True)
                with suppress(OSError):
                    self.path.rmdir()
                raise _gone(self.path) from error

    @property
    def chosen(self) -> set[Path]:
        """What was chosen before the run begins, and its seal."""
        return {self.path / MINUTES, seal_of(self.path / MINUTES)}

    def refuse_foreign(self) -> None:
        """Check that the directory is a run's, or as good as empty.

        Raises:
            UsageError: It holds other things.
        """
        ours = {self.path / LOCK, partial_of(self.path / RUN), *self.chosen}  # left by a kill
        if self.work.is_dir() and not any(self.work.iterdir()):
            ours.add(self.work)
        if not self.begun and set(self.path.glob("*")) - ours:
            raise UsageError(
                f"{self.path} is not empty and holds no run.", "Choose another --out directory."
            )

    def _begin(self, identity: dict[str, Any], held: ExitStack, narrator: Narrator | None) -> bool:
        file, begun = self.path / RUN, self.begun
        self.refuse_foreign()
        lost = begun and self._lost(identity)
        with disk_errors(nearest(self.path)):
            self.work.mkdir(parents=True, exist_ok=True)
            if is_main_process():
                held.enter_context(locked(self.path / LOCK))
                self._sweep()
                if lost or not begun:
                    write_sealed_json(file, _run_origin(identity), identity)
        if lost and narrator:
            narrator.say("notice", f"{file} was not as it was written; it is written again")
        return begun

    def _sweep(self) -> None:
        """Remove what killed calls were writing, and files in the place of folders of ``work``.

        Whoever holds the lock is the only one here.
        """
        partial = [*self.path.glob(".*.partial"), *self.work.rglob(".*.partial")]
        folders = [self.work, *self.work.glob("[!.]*"), *self.work.glob("*/checkpoints")]
        for left in [*partial, *(p for p in folders if not p.suffix and p.is_file())]:
            discard(left)

    def _lost(self, identity: dict[str, Any]) -> bool:
        """Whether ``run.json`` was damaged, though its seal, or what it says, is that of this run.

        Raises:
            RunDiffers: It is another run's.
            DataInvalid: Nobody can say any more whose it is.
        """
        file, origin = self.path / RUN, _run_origin(identity)
        if not (why := flaw(file, origin)):
            return False
        stored, sealed = read_object(file), read_seal(file)
        if not file.is_dir() and sealed and sealed.origin == origin:
            return True
        if stored is None:
            raise DataInvalid(
                f"{file} {why}: nobody can say whether {self.path} holds this run.",
                "Put the file back, or choose another --out directory.",
            )
        self.compare(stored, identity)
        return True

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

    def compare(self, stored: dict[str, Any], asked: dict[str, Any]) -> None:
        """Check that what the directory was begun with is what is asked for.

        Raises:
            RunDiffers: The sentence says what differs.
        """
        old, new = flatten(stored), flatten(asked)
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

    def check_place(self) -> None:
        """See that nobody removed the directory while the run was at work.

        Raises:
            OutputUnwritable: It is gone; what is written now would lie in a directory of no run.
        """
        if not (self.path / RUN).is_file():
            raise _gone(self.path)

    def reuse(self, path: Path, origin: Origin, narrator: Narrator | None = None) -> bool:
        """Whether something that an earlier call made is there and can be used.

        What is not as it was written is removed, to be made again; but a finished student, which
        took hours and may have been changed on purpose, is refused.

        Args:
            path: A file or folder of the run.
            origin: What it must have been made from.
            narrator: Is told what is made again.

        Raises:
            ModelInvalid: It is a finished student.
        """
        if path.parent != self.path:
            return reuse(path, origin, narrator)
        if not os.path.lexists(path):
            return False
        if why := flaw(path, origin):
            raise ModelInvalid(
                f"{path} {why}.",
                f"Put it back, or remove {path} and repeat the command: it is made again.",
            )
        return True

    def result(
        self, kind: type[R], *choices: tuple[str, ...], narrator: Narrator | None = None
    ) -> R | None:
        """The stored result, if it is that of this run and of its students; nothing is written.

        Args:
            kind: Of the result.
            choices: Folders that it may be of, together; any of these will do.
            narrator: Is told where a result is not as it was written.

        Raises:
            ModelInvalid: A student was damaged.
        """
        file, begun = self.path / RESULT, read_seal(self.path / RUN)
        if begun is None or begun.origin.made_from != self.made_from:
            return None  # whose run it is will be told by ``claim``
        sealed = read_seal(file)
        part = sealed.origin.part if sealed else ""
        students = next((own for own in choices if _result_part(own) == part), choices[0])
        if file.is_dir():
            raise DataInvalid(f"{file} is a folder.", "Move it away, then repeat the command.")
        if not file.exists() or (sealed and part != _result_part(students)):
            return None
        if not all(self.reuse(self.path / name, self.origin(name)) for name in students):
            return None
        if why := flaw(file, self._result_origin(students)):
            if narrator:
                narrator.say("notice", f"{file} {why}; it is made again")
            return None
        return read_json(file, kind)

    def made(self, kind: type[R], students: tuple[str, ...]) -> R:
        """The result that this call has written.

        Raises:
            OutputUnwritable: It was removed meanwhile.
        """
        found = self.result(kind, students)
        if found is None:
            raise _gone(self.path)
        return found

    def finish(self, result: Record, *students: str) -> None:
        """Write the result of these students, which ends the run.

        Raises:
            OutputUnwritable: The directory, or a student, was removed meanwhile.
        """
        self.check_place()
        write_sealed_json(self.path / RESULT, self._result_origin(students), result.to_json())

    def _result_origin(self, students: Sequence[str]) -> Origin:
        """What was measured: the run, and its students as they were sealed."""
        seals = [read_seal(self.path / name) for name in students]
        digests = [own.digest if own else "" for own in seals]
        return Origin(made_from=digest_of(self.made_from, digests), part=_result_part(students))


@dataclass(slots=True)
class Claim:
    """A directory that is held, whether an earlier call began its run, or this one refused it."""

    run: RunDirectory
    begun: bool
    refused: bool = False

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Around what comes before training: where it fails, nothing remains of a new run."""
        try:
            yield
        except Fault:
            ours = self.run.begun or not is_main_process()  # else somebody removed it before us
            if ours and not self.begun and not any(self.run.path.glob(f"{RUNS}/*")):
                self.refused = True
                self._clear()
            raise

    def _clear(self) -> None:
        """Leave nothing of the run but what was chosen before it, which a resume goes by."""
        for left in set(self.run.path.iterdir()) - self.run.chosen:
            discard(left)
        with suppress(OSError):
            self.run.path.rmdir()


def _result_part(students: Sequence[str]) -> str:
    return f"result of {', '.join(students)}"


@dataclass(frozen=True, slots=True)
class FirstStage:
    """Where the student after stage 1 lies, and what it is sealed with."""

    folder: Path
    origin: Origin


def reuse(path: Path, origin: Origin, narrator: Narrator | None = None) -> bool:
    """Whether something that can be made again is there and as it was written; else it is removed.

    Of several processes the first one looks, and the others trust it.

    Args:
        path: A file or folder.
        origin: What it must have been made from.
        narrator: Is told what is made again.
    """
    if not is_main_process() or not (path.exists() or path.is_symlink()):
        return path.exists()
    if why := flaw(path, origin):
        if narrator:
            narrator.say("notice", f"{path} {why}; it is made again")
        discard(path)
    return not why


def _gone(folder: Path) -> OutputUnwritable:
    return OutputUnwritable(
        f"{folder} is gone: it was removed or renamed while this run was at work in it.",
        "Put it back, or repeat the command to begin anew.",
    )


def _run_origin(identity: dict[str, Any]) -> Origin:
    return Origin(made_from=digest_of(identity), part="run")


def _brief(value: Any) -> str:
    """A digest by its first digits."""
    text = str(value)
    return text[:12] if re.fullmatch("[0-9a-f]{64}", text) else text
