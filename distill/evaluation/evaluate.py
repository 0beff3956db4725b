"""How good, how large and how fast a classifier is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import datasets
import numpy as np

from augment.contract import TaskSpec
from augment.contract.foreign import counted
from distill.data.batching import length_batches
from distill.errors import ModelInvalid
from distill.evaluation.calibration import CalibrationFit, fit_calibration
from distill.evaluation.classes import class_report
from distill.evaluation.collapse import find_collapse
from distill.evaluation.cost import (
    flops_per_sentence,
    measure_latency,
    parameter_counts,
    weight_bytes,
)
from distill.evaluation.intervals import interval, resample
from distill.evaluation.metrics import Array, guess_score, is_weak, score
from distill.evaluation.reliability import calibration_report
from distill.evaluation.results import Judgment, Measurement, Scores
from distill.evaluation.target import (
    EvaluationTarget,
    Logits,
    LogitsFunction,
    Splits,
    classifier_logits,
)
from distill.inference.probabilities import UNCALIBRATED, most_probable
from distill.inference.settings import Calibration
from distill.models.loading import Classifier

EVALUATION_BATCH = 64


def measure(targets: Sequence[EvaluationTarget], task: TaskSpec) -> list[Measurement]:
    """Score, weigh and time classifiers on the same rows, by the metrics of the task."""
    latencies, measured = measure_latency(targets), []
    for target, latency in zip(targets, latencies, strict=True):
        parameters = parameter_counts(target.classifier.model)
        judged = target.judged or judge(target.classifier, task, target.splits)
        if target.tests:
            judged = judged.joined(judge(target.classifier, task, target.tests))
        measured.append(
            Measurement(
                model=target.name,
                scores=judged.scores,
                parameters=parameters.total,
                encoder_parameters=parameters.encoder,
                flops=flops_per_sentence(target.classifier, target.rows),
                file_bytes=weight_bytes(target.classifier.model),
                max_length=target.max_length,
                latency=latency,
                **judged.found,
            )
        )
    return measured


def judge(
    classifier: Classifier, task: TaskSpec, splits: Splits, *, intervals: bool = True
) -> Judgment:
    """A classifier on some splits, see ``judge_answers``.

    With ``intervals`` also how far its probabilities can be believed, on the first split.
    """
    own = classifier.calibration
    logits = {split: predict(classifier, rows) for split, rows in splits.items()}
    answers = {split: answers_of(each, task, own) for split, each in logits.items()}
    labels = {split: np.asarray(rows["labels"]) for split, rows in splits.items()}
    judged = judge_answers(answers, labels, task, intervals=intervals)
    if not intervals or not task.label.names:
        return judged
    first = next(iter(splits))
    fits, metric = first == task.splits.validation[0], task.selection_metric
    report = calibration_report(logits[first], labels[first], metric, first, stored=own, fits=fits)
    return judged.model_copy(update={"calibration": report})


def calibrate(
    classifier: Classifier, task: TaskSpec, rows: datasets.Dataset
) -> CalibrationFit | None:
    """Fit a calibration; the model's config holds it, with the names of the task's text columns.

    Weights stay as they are.

    Args:
        classifier: Its config is changed.
        task: Of the rows.
        rows: Labeled, in the classifier's tokens: the split that selects.

    Returns:
        What it brings; None for a regression, which has no probabilities.
    """
    classifier.calibrate(UNCALIBRATED)  # what it began as may have been another task's
    classifier.name_texts(task.text_columns)
    if task.label.kind == "regression":
        return None
    labels = np.asarray(rows["labels"])
    fit = fit_calibration(predict(classifier, rows), labels, task.selection_metric)
    classifier.calibrate(fit.calibration)
    return fit


def judge_answers(
    answers: Mapping[str, Array],
    labels: Mapping[str, Array],
    task: TaskSpec,
    *,
    intervals: bool = True,
) -> Judgment:
    """Every metric and class on every split, and whether a model has collapsed on one.

    Args:
        answers: Split to class numbers or scores, shape (rows,).
        labels: Likewise.
        task: Of the rows.
        intervals: Find out how sure the selection metric is.
    """
    scores: Scores = {}
    found: dict[str, Any] = {}
    names = task.label.names
    for split, own in answers.items():
        known = labels[split]
        scores[split] = score(task.metrics, own, known, len(names))
        if "collapse" not in found and (seen := find_collapse(own, known, task, split)):
            found["collapse"] = seen
        if names:
            found.setdefault("classes", {})[split] = class_report(own, known, names)
        if intervals:
            drawn = resample(task.selection_metric, own, known, len(names))
            found.setdefault("intervals", {})[split] = interval(drawn, len(known))
            found.setdefault("resampled", tuple(drawn.tolist()))
    return Judgment(scores=scores, **found)


def answers_of(logits: Logits, task: TaskSpec, calibration: Calibration = UNCALIBRATED) -> Array:
    """Class numbers, or scores, from logits of shape (rows, classes).

    The answer is the class that calibration makes the most probable; a temperature alone leaves it
    that of the largest logit.
    """
    if task.label.kind == "regression":
        return logits[:, 0]
    return most_probable(logits, calibration)


def changed_answers(
    one: Logits, other: Logits, task: TaskSpec, calibration: Calibration = UNCALIBRATED
) -> int:
    """Rows whose class is another one; none of a regression."""
    if task.label.kind == "regression":
        return 0
    first, second = (answers_of(own, task, calibration) for own in (one, other))
    return int((first != second).sum())


def scores_of(
    logits: Logits,
    rows: datasets.Dataset,
    task: TaskSpec,
    calibration: Calibration = UNCALIBRATED,
) -> dict[str, float]:
    """Every metric of the task for the logits of labeled rows, shape (rows, classes)."""
    labels = np.asarray(rows["labels"])
    return score(task.metrics, answers_of(logits, task, calibration), labels, len(task.label.names))


@dataclass(frozen=True, slots=True)
class Fitness:
    """Whether a model knows enough of its task to teach it.

    Attributes:
        score: By the selection metric, on the split that selects.
        guess: What guessing scores there.
        weakness: Why it is not fit, as sentences but for their subject; empty if it is.
    """

    score: float
    guess: float
    weakness: str


def fitness(judged: Judgment, task: TaskSpec, splits: Splits) -> Fitness:
    """Compare a model with guessing, on the split that selects."""
    split, rows = next(iter(splits.items()))
    metric, collapse = task.selection_metric, judged.collapse
    own = judged.scores[split][metric]
    guess = guess_score(metric, np.asarray(rows["labels"]), len(task.label.names))
    if not is_weak(own, guess) and (collapse is None or collapse.partial):
        return Fitness(own, guess, "")
    scored = f"scores {own:.3f} ({metric}) on {split}; guessing scores {guess:.3f}."
    return Fitness(own, guess, f"{scored} It {collapse.sentence if collapse else 'looks untuned'}.")


def predict(
    classifier: Classifier, rows: datasets.Dataset, tick: Callable[[int], None] | None = None
) -> Logits:
    """A classifier's logits of a data set, see ``batched_logits``.

    Raises:
        ModelInvalid: They are no finite numbers.
    """
    logits = batched_logits(partial(classifier_logits, classifier), rows, tick)
    return finite(classifier.name, logits)


def finite(name: str, logits: Logits) -> Logits:
    """A model's logits, unless they are no numbers: the largest would still be some class's.

    Raises:
        ModelInvalid: One is NaN or infinity.
    """
    if bad := int((~np.isfinite(logits).all(axis=-1)).sum()):
        raise ModelInvalid(
            f"{name} answers {bad:,} of {counted(len(logits), 'row')} with NaN or infinity.",
            "Its training broke down, or config.json is not the one that it was trained with: "
            "give an earlier checkpoint.",
        )
    return logits


def batched_logits(
    logits_of: LogitsFunction, rows: datasets.Dataset, tick: Callable[[int], None] | None = None
) -> Logits:
    """The logits of all rows, computed in batches of like length.

    ``tick`` is told after each batch how many rows are done.

    Returns:
        Shape (rows, classes), in the order of the rows and of the labels.
    """
    positions, batches, done = [], [], 0
    for batch in length_batches(rows, EVALUATION_BATCH):
        positions.append(batch)
        batches.append(logits_of(rows.select(batch).to_list()))
        done += len(batch)
        if tick:
            tick(done)
    by_length = np.concatenate(batches)
    logits = np.empty_like(by_length)
    logits[np.concatenate(positions)] = by_length
    return logits
