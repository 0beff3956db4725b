"""What a report reads of a run: as much as is there; for the rest, why it is not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from augment.contract import Fault
from distill.errors import DataInvalid
from distill.evaluation.results import AblationResult, EvaluationResult, GeneralResult
from distill.models.folders import folder_digest
from distill.runs.answers import ANSWERS, RowAnswers, read_answers
from distill.runs.journal import METRICS
from distill.runs.listing import Kind, Run, State, Unreadable, open_run
from distill.runs.records import last_lines, parse_object, read_json
from distill.serving.export import RECORD, ExportedForm, ExportResult

EXPORT = "export"
MOST_STAGES, MOST_TERMS, LARGEST = 20, 12, 1e30
"""Charts of a log, curves of a chart, and what their values lie below."""
_ABOUT = ("stage", "step", "epoch", "learning_rate", "grad_norm")


@dataclass(frozen=True, slots=True)
class StageLog:
    """What one stage logged.

    Attributes:
        name: ``intermediate``, ``prediction``, ``plain``, ``general``.
        losses: Term to the points (step, mean value), the sum of all as ``loss``.
        scores: The same of what was measured on rows that are not trained on.
    """

    name: str
    losses: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    scores: dict[str, list[tuple[int, float]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReadRun:
    """A run with what is left of it.

    Attributes:
        name: Short, and no other run's of the page.
        run: As it was opened; where it could not be, its ``problem`` says why.
        stages: Its log, and before it that of its teacher.
        answers: Row by row, where they were kept.
        without: Why there are none.
        forms: What was exported into its folder, with size and speed.
    """

    name: str
    run: Run
    stages: tuple[StageLog, ...] = ()
    answers: RowAnswers | None = None
    without: str = ""
    forms: tuple[ExportedForm, ...] = ()

    @property
    def result(self) -> EvaluationResult | None:
        """Its table of models, if it has one."""
        own = self.run.outcome
        return own if isinstance(own, EvaluationResult) else None

    @property
    def general(self) -> GeneralResult | None:
        """What a general distillation came to."""
        return own if isinstance(own := self.run.outcome, GeneralResult) else None

    @property
    def ablation(self) -> AblationResult | None:
        """The arms of an ablation."""
        return own if isinstance(own := self.run.outcome, AblationResult) else None


def read_runs(places: Sequence[str | Path]) -> tuple[ReadRun, ...]:
    """Read runs; one that is damaged, or of another release, has its problem in its place.

    Raises:
        DataInvalid: At a place is no run at all, or nothing of any can be shown.
    """
    paths = list({Path(place).resolve(): Path(place) for place in places}.values())
    found = [_read(path, name) for path, name in zip(paths, _names(paths), strict=True)]
    if not any(own.run.outcome or own.stages or own.run.identity for own in found):
        first = found[0].run
        raise DataInvalid(first.problem, "A report needs a run that can be read.")
    return tuple(found)


def _read(path: Path, name: str) -> ReadRun:
    try:
        run = open_run(path)
    except Unreadable as fault:
        run = Run(path, state=fault.state, problem=fault.problem)
    answers, without = None, "answers by row are kept when a distill run ends."
    if run.kind is Kind.TASK and run.state is State.FINISHED:
        try:
            answers = read_answers(path)
        except Fault as fault:
            old = not (path / ANSWERS).exists()
            without = "the release that made it kept no answers by row." if old else fault.problem
    return ReadRun(
        name, run, (*_of_teacher(run), *_stages(path)), answers, without, _exported(path)
    )


def _of_teacher(run: Run) -> Iterable[StageLog]:
    """What the teacher's folder keeps of its own training, if it is still that teacher's."""
    known = [call.teacher for call in run.calls if call.teacher]
    if not known or not Path(known[-1]).is_dir():
        return ()
    try:
        same = folder_digest(known[-1]) in str(run.identity.get("teacher"))
    except (Fault, OSError):
        return ()
    return (own for own in _stages(Path(known[-1])) if own.name == "teacher") if same else ()


def _exported(path: Path) -> tuple[ExportedForm, ...]:
    """The forms of an export in the run's own folder; none where there is none that can be read."""
    file = path / EXPORT / RECORD
    try:
        return read_json(file, ExportResult).forms if file.is_file() else ()
    except (Fault, OSError):
        return ()


def _stages(path: Path) -> Iterable[StageLog]:
    """What the log holds, stage by stage; a line that is cut or damaged is left out."""
    found: dict[str, StageLog] = {}
    for line in last_lines(path / METRICS):
        row = parse_object(line) or {}
        stage, step = row.get("stage"), row.get("step")
        if not isinstance(stage, str) or len(found) > MOST_STAGES:
            continue
        if not isinstance(step, int) or not _drawable(step):
            continue
        own = found.setdefault(stage, StageLog(stage))
        for key, value in row.items():
            if key not in _ABOUT and _drawable(value):
                kept = own.scores if key.startswith("eval_") else own.losses
                if key.removeprefix("eval_") in kept or len(kept) < MOST_TERMS:
                    kept.setdefault(key.removeprefix("eval_"), []).append((step, float(value)))
    return found.values()


def _drawable(value: Any) -> bool:
    """Whether it is a number that can be drawn."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) < LARGEST


def _names(paths: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as many as tell them apart."""
    parts = [path.resolve().parts for path in paths]
    for count in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(own[-count:]) for own in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]
