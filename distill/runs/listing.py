"""Runs as they lie on disk: opened and listed without a model being read.

A run is what ``distill run``, ``teacher``, ``general`` and ``ablate`` write. What was written by
this release, and whole, is read; of the rest a sentence says what it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from augment.contract import Fault, sha256_file
from augment.contract.files import beside
from augment.contract.foreign import Displayed, shown
from distill.errors import DataInvalid
from distill.evaluation.results import (
    AblationResult,
    EvaluationResult,
    GeneralResult,
    TeacherRecord,
)
from distill.recipes.auto import Facts, resolve
from distill.recipes.load import DEFAULT_RECIPE, load_recipe
from distill.runs.directory import PLAIN_STUDENT, RESULT, RUN, STUDENT
from distill.runs.journal import Call, Layers, Part, read_journal
from distill.runs.records import (
    TEACHER_RECORD,
    TEACHER_SEAL,
    Record,
    digest_of,
    flatten,
    flaw,
    read_json,
    read_object,
    read_seal,
    seal_of,
)

if TYPE_CHECKING:
    import pandas as pd

Outcome = EvaluationResult | GeneralResult | AblationResult
DEEPEST = 6
"""Folders below the one that is listed."""
_INSIDE = ("work", STUDENT, PLAIN_STUDENT)


class Kind(StrEnum):
    """What made a run."""

    TASK = "run"
    TEACHER = "teacher"
    GENERAL = "general"
    ABLATION = "ablate"
    UNKNOWN = "unknown"


class State(StrEnum):
    """How far a run is, and whether it can be read."""

    FINISHED = "finished"
    UNFINISHED = "unfinished"
    DAMAGED = "damaged"
    OTHER_RELEASE = "other release"


class Unreadable(DataInvalid):
    """A run that was damaged, or that another release wrote."""

    state = State.DAMAGED


class OtherRelease(Unreadable):
    """A run that is whole, and holds what this release does not know."""

    state = State.OTHER_RELEASE


class Change(Record):
    """A key of a recipe that has another value in another recipe.

    Attributes:
        key: Its path, such as ``prediction.temperature``.
        before: The value there; nothing where there is no such key.
        after: The value here.
    """

    key: str
    before: Any = None
    after: Any = None


@dataclass(frozen=True, slots=True)
class Run(Displayed):
    """A run directory, or the folder of a teacher.

    Attributes:
        path: Where it lies.
        kind: What made it.
        state: How far it is.
        identity: What it is made of, as ``run.json`` keeps it.
        outcome: What was measured; None where it is not finished.
        calls: Commands that worked on it, in order.
        seconds: By part, all calls together.
        problem: Why it cannot be read; empty where it can.

    Examples:
        >>> from distill import list_runs, open_run
        >>> run = open_run("runs/reviews")
        >>> run.table().model.tolist()
        ['teacher', 'student, distilled']
        >>> [str(run.state) for run in list_runs("runs")]
        ['finished']
    """

    path: Path
    kind: Kind = Kind.UNKNOWN
    state: State = State.FINISHED
    identity: Mapping[str, Any] = field(default_factory=dict, repr=False)
    outcome: Outcome | None = field(default=None, repr=False)
    calls: tuple[Call, ...] = field(default=(), repr=False)
    seconds: Mapping[str, float] = field(default_factory=dict, repr=False)
    problem: str = ""

    @classmethod
    def finished(cls, path: Path, kind: Kind, identity: Mapping[str, Any], outcome: Outcome) -> Run:
        """A run that this process has finished, or found so."""
        return cls(path, kind, State.FINISHED, identity, outcome, *_journal(path))

    @property
    def layers(self) -> Layers | None:
        """Which teacher layers its student's layers learn from, as the journal tells."""
        known = [line for line in read_journal(self.path) if isinstance(line, Layers)]
        return known[-1] if known else None

    @property
    def result(self) -> EvaluationResult:
        """The result table of a finished run or teacher.

        Raises:
            DataInvalid: It is not finished, or of a kind without one.
        """
        if isinstance(self.outcome, EvaluationResult):
            return self.outcome
        if self.outcome is None:
            raise DataInvalid(
                f"{self.path} is not finished: it has no result yet.",
                "Repeat the command that began it: it goes on from there.",
            )
        raise DataInvalid(
            f"{self.path} was made by distill {self.kind} and has no table of models.",
            "Name the directory of a distill run, or a teacher.",
        )

    @property
    def student(self) -> Path:
        """The model that was made: a plain transformers folder."""
        return self.path if self.kind is Kind.TEACHER else self.path / STUDENT

    @property
    def version_id(self) -> str:
        """Of the version that it was trained on; empty where there is none."""
        return str(self.identity.get("version", ""))

    @property
    def version_path(self) -> Path | None:
        """Where that version lay, as far as the journal tells."""
        known = [call.version for call in self.calls if call.version]
        return Path(known[-1]) if known else None

    @property
    def task(self) -> str:
        """The task, where it is known: an unfinished run tells it by the place of its version."""
        if self.outcome and not isinstance(self.outcome, GeneralResult):
            return self.outcome.task
        return self.version_path.parent.name if self.version_path else ""

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The recipe as it was followed: JSON values, none of them ``auto`` but by choice."""
        recipe: Mapping[str, Any] = self.identity.get("recipe", {})
        return recipe

    @property
    def changes(self) -> tuple[Change, ...]:
        """Where the recipe is not the default one; see ``recipe_changes``."""
        facts = [own for call in self.calls if (own := _facts(call)) is not None]
        default = load_recipe(DEFAULT_RECIPE, self.task)
        if facts:
            default = resolve(default, facts[-1])
        before = default.model_dump(mode="json", include=set(self.recipe))
        found = recipe_changes(before, self.recipe)
        return tuple(own for own in found if own.before != "auto" or facts)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Sentences: which model has collapsed, and what the distilled student loses to."""
        return tuple(verdict.sentence for verdict in self.result.verdicts)

    def table(self) -> pd.DataFrame:
        """Teacher and students, one row each: scores, retention, parameters, latency."""
        return self.result.table()

    def to_pandas(self) -> pd.DataFrame:
        """The rows of what was measured; none of a run that has no result yet."""
        import pandas as pd

        return self.outcome.to_pandas() if self.outcome else pd.DataFrame()

    def __repr__(self) -> str:
        facts = filter(None, (self.task, str(self.state), self.problem))
        return shown(f"Run({self.path}: {' · '.join([str(self.kind), *facts])})")

    def __fspath__(self) -> str:
        return str(self.path)


def recipe_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """The keys in which two recipes, as JSON values, differ; in the order of the first. PURE."""
    old, new = flatten(before), flatten(after)
    return tuple(
        Change(key=key, before=old.get(key), after=new.get(key))
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    )


def _facts(call: Call) -> Facts | None:
    """What a call knew of its data; None where it says nothing that this release understands."""
    try:
        return TypeAdapter(Facts).validate_python(call.facts)
    except ValidationError:
        return None


def open_run(path: str | Path) -> Run:
    """Open a run directory or the folder of a teacher, finished or not.

    Raises:
        DataInvalid: There is none, it was damaged, or another release wrote it.
    """
    place = Path(path)
    try:
        return _open(place)
    except OSError as error:
        raise Unreadable(f"{place} cannot be read: {error.strerror}.") from error


def list_runs(folder: str | Path) -> tuple[Run, ...]:
    """Every run in a folder and below, by path; of one that cannot be read, why.

    Raises:
        DataInvalid: There is no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        says = "is a file" if root.exists() else "is not there"
        raise DataInvalid(f"{root} {says}.", "Name a folder that holds runs.")
    return tuple(map(_opened, _places(root)))


def _places(root: Path) -> Iterator[Path]:
    for at, folders, files in os.walk(root):
        place = Path(at)
        unfinished = [n for n in folders if n.startswith(".") and n.endswith(".work")]
        depth = len(place.relative_to(root).parts)
        shown = sorted(n for n in folders if not n.startswith(".") and n not in _INSIDE)
        folders[:] = shown if depth < DEEPEST else []
        if _holds(files):
            yield place
        for name in sorted(unfinished):
            made = place / name[1 : -len(".work")]
            if (place / name / RUN).is_file() and not (made / TEACHER_RECORD).is_file():
                yield made


def _holds(files: list[str]) -> bool:
    """Whether a folder is a run's or a teacher's."""
    return any(name in files for name in (RUN, seal_of(Path(RUN)).name, TEACHER_RECORD))


def _opened(place: Path) -> Run:
    try:
        return open_run(place)
    except Fault as fault:
        state = fault.state if isinstance(fault, Unreadable) else State.DAMAGED
        return Run(place, state=state, problem=fault.problem)


def _open(place: Path) -> Run:
    if (place / TEACHER_RECORD).is_file():
        return _open_teacher(place)
    if (place / RUN).is_file() or seal_of(place / RUN).is_file():
        return _open_directory(place, place)
    begun = beside(place, ".work")
    if (begun / RUN).is_file():
        return _open_directory(place, begun)
    if not place.is_dir():
        raise DataInvalid(
            f"there is no run {place}.", "distill list FOLDER shows those of a folder."
        )
    if (place.parent / RUN).is_file():
        raise DataInvalid(f"{place} is a part of a run.", f"Name the run: {place.parent}")
    raise DataInvalid(
        f"{place} holds no run: neither {RUN} nor {TEACHER_RECORD}.",
        "distill list FOLDER shows the runs of a folder.",
    )


def _open_directory(place: Path, directory: Path) -> Run:
    identity = _sealed(directory / RUN)
    sealed, kind = read_seal(directory / RUN), _kind(identity)
    if sealed and sealed.origin.made_from != digest_of(identity):
        raise Unreadable(f"{directory / RUN} was made from something else.", _PUT_BACK)
    outcome = None
    if (directory / RESULT).exists() and directory == place:
        outcome = _result(directory / RESULT, _RESULTS[kind])
        if isinstance(outcome, EvaluationResult) and outcome.version_id != identity.get("version"):
            raise Unreadable(f"{directory / RESULT} is the result of another run.", _PUT_BACK)
    state = State.UNFINISHED if outcome is None else State.FINISHED
    return Run(place, kind, state, identity, outcome, *_journal(directory))


def _open_teacher(folder: Path) -> Run:
    file, place = folder / TEACHER_RECORD, folder / TEACHER_SEAL
    sealed = read_seal(folder, place=place)
    if sealed is None or sealed.files.get(TEACHER_RECORD) != sha256_file(file):
        raise Unreadable(f"{file} was changed after it was written.", _PUT_BACK)
    record: TeacherRecord = _valid(file, TeacherRecord)
    _refuse_unscored(file, record.result)
    return Run(
        folder, Kind.TEACHER, State.FINISHED, record.identity, record.result, *_journal(folder)
    )


_PUT_BACK = "Put it back from a copy, or repeat the command that made it into another directory."
_AGAIN = "Repeat the command that made it: it goes on from there."
_RESULTS: dict[Kind, Any] = {
    Kind.TASK: EvaluationResult,
    Kind.TEACHER: EvaluationResult,
    Kind.GENERAL: GeneralResult,
    Kind.ABLATION: AblationResult,
}


def _kind(identity: Mapping[str, Any]) -> Kind:
    if "corpus" in identity:
        return Kind.GENERAL
    if "general" in identity:
        return Kind.ABLATION
    return Kind.TASK if "student" in identity else Kind.TEACHER


def _sealed(file: Path) -> dict[str, Any]:
    """The JSON object of a file that is as it was sealed."""
    sealed = read_seal(file)
    why = flaw(file, sealed.origin) if sealed else "has no whole seal: it was cut short"
    if why:
        raise Unreadable(f"{file} {why}.", _PUT_BACK)
    found = read_object(file)
    if found is None or not isinstance(found.get("recipe", {}), dict):
        raise Unreadable(f"{file} is not as it was written.", _PUT_BACK)
    return found


def _result(file: Path, kind: Any) -> Outcome:
    sealed = read_seal(file)
    if why := flaw(file, sealed.origin) if sealed else "has no whole seal: it was cut short":
        raise Unreadable(f"{file} {why}.", _PUT_BACK if sealed else _AGAIN)
    found: Outcome = _valid(file, kind)
    if isinstance(found, EvaluationResult):
        _refuse_unscored(file, found)
    return found


def _refuse_unscored(file: Path, result: EvaluationResult) -> None:
    """Check that a table has rows, and each of them the score that selects."""
    selection = result.selection
    scores = [*(own.scores for own in result.models), *(own.scores for own in result.baselines)]
    if not result.models or any(
        selection.metric not in own.get(selection.split, {}) for own in scores
    ):
        raise OtherRelease(
            f"{file} was written by another release: a model has no {selection.metric} on "
            f"{selection.split} there.",
            "Read it with the release that wrote it, or install a newer one.",
        )


def _valid(file: Path, kind: type[Any]) -> Any:
    """A record whose bytes are known to be whole: what does not fit is another release's."""
    try:
        return read_json(file, kind)
    except DataInvalid as fault:
        if not isinstance(fault.__cause__, ValidationError):
            raise
        key = ".".join(map(str, fault.__cause__.errors()[0]["loc"]))
        raise OtherRelease(
            f"{file} was written by another release: this one does not know {key} as it is there.",
            "Read it with the release that wrote it, or install a newer one.",
        ) from fault


def _journal(directory: Path) -> tuple[tuple[Call, ...], dict[str, float]]:
    lines, seconds = read_journal(directory), dict[str, float]()
    for line in lines:
        if isinstance(line, Part):
            seconds[line.part] = seconds.get(line.part, 0.0) + line.seconds
    return tuple(line for line in lines if isinstance(line, Call)), seconds
