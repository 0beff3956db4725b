"""Thresholds of a classifier on a version; with a teacher, the cascade of both.

In a cascade the student answers where it is sure, and the teacher where it is not.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from augment.contract import TaskSpec, Version
from augment.contract.data_files import listed
from augment.contract.models import quiet_libraries
from augment.contract.version import open_checked
from distill.data.scratch import scratch
from distill.errors import UsageError
from distill.evaluation.answer_times import EndToEnd
from distill.evaluation.compare import labeled_splits
from distill.evaluation.end_to_end import measure_end_to_end, texts_of, thread_counts
from distill.evaluation.evaluate import predict
from distill.evaluation.metrics import score
from distill.evaluation.pytorch import torch_backend
from distill.evaluation.results import MeasuredOn
from distill.evaluation.target import EvaluationTarget
from distill.evaluation.thresholds import SHARES, Numbers, OperatingPoint, Ranked
from distill.inference.probabilities import UNCALIBRATED, most_probable, probabilities
from distill.models.loading import open_classifier, own_length
from distill.runs.records import Record

Classes = NDArray[np.int64]
WITHIN = 0.01
"""Of the teacher's score."""
_FINE = tuple(np.linspace(1, 0, 101).tolist())


class Wanted(Record):
    """A threshold for a wanted precision or a wanted share of rows without an answer.

    Attributes:
        precision: That was wanted, or nothing.
        abstain: The largest share that was wanted, or nothing.
        label: Answers that count; all of them if nothing.
        point: What gives it, on the rows whose answer counts; nothing if no threshold does.
    """

    precision: float | None
    abstain: float | None
    label: str | None
    point: OperatingPoint | None


class CascadePoint(Record):
    """A threshold below which the teacher answers.

    Attributes:
        threshold: Of the student's confidence; nothing where the student is not asked.
        handed_over: Rows that the teacher answers.
        score: By the selection metric, of all rows.
        milliseconds: Mean for a text: the student's, and the teacher's for its share of them.
    """

    threshold: float | None
    handed_over: int
    score: float
    milliseconds: float


class Cascade(Record):
    """A student and a teacher on the same rows.

    Attributes:
        teacher: What the user called it.
        alone: The teacher without the student.
        points: From the student alone on.
        chosen: Within a point of the teacher at the least cost.
    """

    teacher: str
    alone: CascadePoint
    points: tuple[CascadePoint, ...]
    chosen: CascadePoint


class ThresholdResult(MeasuredOn):
    """What thresholds of a model's confidence give on a split.

    Attributes:
        model: What the user called it.
        calibrated: Whether it holds a calibration.
        used_for: What a model of this version needed the split for; nothing where it is new to it.
        points: From the threshold that answers all on.
        wanted: What was asked for beside them.
        cascade: With a teacher, where one was named.
    """

    model: str
    calibrated: bool
    used_for: Literal["training", "selection"] | None
    points: tuple[OperatingPoint, ...]
    wanted: tuple[Wanted, ...]
    cascade: Cascade | None


@dataclass(frozen=True, slots=True)
class Answers:
    """A model's answers to labeled rows.

    Attributes:
        classes: Shape (rows,).
        confidence: Their probabilities, shape (rows,).
    """

    classes: Classes
    confidence: Numbers


def find_thresholds(
    model: str | os.PathLike[str],
    version: Version | str | Path,
    *,
    teacher: str | os.PathLike[str] | None = None,
    split: str | None = None,
    precision: float | None = None,
    label: str | None = None,
    abstain: float | None = None,
) -> ThresholdResult:
    """See what thresholds of a model's confidence give on the labeled rows of a split.

    Args:
        model: Folder, run directory or hub name.
        version: A version or a reference to one.
        teacher: Likewise: who answers below a threshold.
        split: The first labeled validation split if left out.
        precision: Also find the threshold from which on so many answers are right.
        label: Of those that name this label.
        abstain: Also find the threshold that leaves at most this share without an answer.

    Raises:
        UsageError: The task has no labels, or not this one.
        DataInvalid: No row is labeled.
        Fault: With a sentence that says what to do.

    Examples:
        >>> from distill import find_thresholds
        >>> found = find_thresholds("runs/reviews", "data/versions/reviews", abstain=0.1)
        >>> found.wanted[0].abstain
        0.1
    """
    quiet_libraries()
    opened = open_checked(version)
    task = opened.task
    _check(task, precision, label, abstain)
    models = [os.fspath(name) for name in (model, teacher) if name]
    with scratch() as folder:
        targets = [_target(opened, name, split, folder) for name in models]
        split, rows = next(iter(targets[0].splits.items()))
        labels = np.asarray(rows["labels"])
        answers = [_answers(target) for target in targets]
        times = [own.batch_1 for own in _times(targets, opened)] if teacher else []
    own = answers[0]
    right = own.classes == labels
    ranked, wanted = Ranked.of(own.confidence, right), []
    if precision is not None:
        named = own.classes == task.label.names.index(label) if label else right | True
        some = Ranked.of(own.confidence[named], right[named])
        point = some.for_precision(precision)
        wanted.append(Wanted(precision=precision, abstain=None, label=label, point=point))
    if abstain is not None:
        point = ranked.for_abstaining(abstain)
        wanted.append(Wanted(precision=None, abstain=abstain, label=None, point=point))
    return ThresholdResult.on(
        opened,
        {split: rows},
        model=models[0],
        calibrated=targets[0].classifier.calibration != UNCALIBRATED,
        used_for=_used_for(opened, split),
        points=ranked.curve(),
        wanted=tuple(wanted),
        cascade=cascade(
            own, answers[1], labels, task, name=models[1], milliseconds=(times[0], times[1])
        )
        if teacher
        else None,
    )


def _check(
    task: TaskSpec, precision: float | None, label: str | None, abstain: float | None
) -> None:
    names = task.label.names
    if not names:
        raise UsageError(
            f"{task.name} asks for a score: there is no confidence to set a threshold to.",
            "Thresholds are for tasks with classes.",
        )
    for share in (precision, abstain):
        if share is not None and not 0 <= share <= 1:
            raise UsageError(f"{share} is no share.", "Give a number from 0 to 1.")
    if label is not None and label not in names:
        raise UsageError(f"{task.name} has no label {label!r}.", f"It has {listed(names)}.")
    if label is not None and precision is None:
        raise UsageError(
            "--label says whose precision is wanted, and --precision is not given.",
            "Give both: --label NAME --precision 0.95",
        )


def _used_for(version: Version, split: str) -> Literal["training", "selection"] | None:
    known = version.task.splits
    if split == known.train:
        return "training"
    first = next((own for own in known.validation if own in version.splits), None)
    return "selection" if split == first else None


def _target(version: Version, model: str, split: str | None, folder: Path) -> EvaluationTarget:
    classifier = open_classifier(model, version.task)
    length = own_length(classifier, version.task)
    rows = labeled_splits(version, split, classifier, length, folder)
    return EvaluationTarget(model, classifier, rows, length)


def _answers(target: EvaluationTarget) -> Answers:
    """A model's answers, as it gives them: by its calibrated probabilities."""
    logits = predict(target.classifier, target.rows)
    own = target.classifier.calibration
    return Answers(most_probable(logits, own), probabilities(logits, own).max(axis=1))


def _times(targets: Sequence[EvaluationTarget], version: Version) -> list[EndToEnd]:
    """How long one text takes each model, from its characters to its label."""
    backends = [torch_backend(own.classifier, own.max_length) for own in targets]
    texts = texts_of(version, next(iter(targets[0].splits)))
    return measure_end_to_end(backends, texts, thread_counts()[-1])


def cascade(
    student: Answers,
    teacher: Answers,
    labels: Classes,
    task: TaskSpec,
    *,
    name: str,
    milliseconds: tuple[float, float],
) -> Cascade:
    """Score thresholds between the student alone and the teacher for all.

    Args:
        student: Asked first.
        teacher: Asked below the threshold.
        labels: Shape (rows,).
        task: Its selection metric scores.
        name: Of the teacher.
        milliseconds: For a text: the student's and the teacher's.
    """
    metric, classes = task.selection_metric, len(task.label.names)
    ranked = Ranked.of(student.confidence, student.classes == labels)

    def point(threshold: float) -> CascadePoint:
        unsure = student.confidence < threshold
        answers = np.where(unsure, teacher.classes, student.classes)
        return CascadePoint(
            threshold=threshold,
            handed_over=int(unsure.sum()),
            score=score((metric,), answers, labels, classes)[metric],
            milliseconds=milliseconds[0] + float(unsure.mean()) * milliseconds[1],
        )

    def points(shares: Sequence[float]) -> list[CascadePoint]:
        found = {ranked.threshold_of(round(share * len(labels))) for share in shares}
        return [point(threshold) for threshold in sorted(found)]

    alone = CascadePoint(
        threshold=None,
        handed_over=len(labels),
        score=score((metric,), teacher.classes, labels, classes)[metric],
        milliseconds=milliseconds[1],
    )
    near = [own for own in points(_FINE) if own.score >= alone.score - WITHIN]
    return Cascade(
        teacher=name,
        alone=alone,
        points=tuple(points(SHARES)),
        chosen=min([*near, alone], key=lambda own: own.milliseconds),
    )
