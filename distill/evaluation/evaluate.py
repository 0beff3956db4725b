"""How good, how large and how fast a classifier is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import datasets
import numpy as np
import torch
from numpy.typing import NDArray

from augment.contract import TaskSpec
from distill.data.batching import Collator, lengths_of, model_inputs
from distill.evaluation.cost import (
    Answer,
    Latency,
    Row,
    TimedModel,
    flops_per_sentence,
    parameter_counts,
    time_answers,
    weight_bytes,
)
from distill.evaluation.metrics import majority_score, score
from distill.models.loading import Classifier

EVALUATION_BATCH = 64

Splits = Mapping[str, datasets.Dataset]
Scores = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class EvaluationTarget:
    """A classifier to be measured.

    Attributes:
        name: In the table, such as ``student, distilled``.
        classifier: In evaluation mode.
        splits: Split name to its labeled rows in the classifier's own tokens.
        max_length: Pieces a row was cut to.
        scores: Where they are known already.
    """

    name: str
    classifier: Classifier
    splits: Splits
    max_length: int
    scores: Scores | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """One row of the result table.

    Attributes:
        model: What it is.
        scores: Split to metric to value; validation splits are kept apart.
        parameters: In all.
        encoder_parameters: Without the embedding tables.
        flops: Floating-point operations for a sentence, mean over the first split, no padding.
        file_bytes: Size of the weights on disk, as they are stored.
        max_length: Pieces a row was cut to.
        latency: How fast it answers.
    """

    model: str
    scores: Scores
    parameters: int
    encoder_parameters: int
    flops: int
    file_bytes: int
    max_length: int
    latency: Latency


def measure(subjects: Sequence[EvaluationTarget], task: TaskSpec) -> list[Measurement]:
    """Score, weigh and time classifiers on the same rows.

    Args:
        subjects: What to measure.
        task: Names the metrics.

    Returns:
        One row for each classifier, in order.
    """
    contenders = [_contender(subject) for subject in subjects]
    return [
        Measurement(
            subject.name,
            subject.scores or evaluate(subject.classifier, task, subject.splits),
            *parameter_counts(subject.classifier.model),
            flops=flops_per_sentence(subject.classifier, _first(subject.splits)),
            file_bytes=weight_bytes(subject.classifier.model),
            max_length=subject.max_length,
            latency=latency,
        )
        for subject, latency in zip(subjects, time_answers(contenders), strict=True)
    ]


def _contender(subject: EvaluationTarget) -> TimedModel:
    device = subject.classifier.model.device.type
    return TimedModel(answers(subject.classifier), _first(subject.splits), device)


def _first(splits: Splits) -> datasets.Dataset:
    return next(iter(splits.values()))


def evaluate(classifier: Classifier, task: TaskSpec, splits: Splits) -> dict[str, dict[str, float]]:
    """Every metric of the task on every split.

    Returns:
        Split to metric to value.
    """
    return {
        split: scores_of(predict(classifier, rows), rows, task) for split, rows in splits.items()
    }


def scores_of(
    logits: NDArray[np.float32], rows: datasets.Dataset, task: TaskSpec
) -> dict[str, float]:
    """Every metric of the task for answers to labeled rows.

    Args:
        logits: Shape (rows, classes), in the order of the rows and of the labels.
        rows: Gives the labels.
        task: Names the metrics.
    """
    found = logits[:, 0] if task.label.kind == "regression" else logits.argmax(axis=-1)
    return score(task.metrics, found, np.asarray(rows["labels"]), len(task.label.names))


def majority_baseline(task: TaskSpec, rows: datasets.Dataset) -> float:
    """What the best constant answer scores by the selection metric."""
    return majority_score(task.selection_metric, np.asarray(rows["labels"]), len(task.label.names))


def predict(classifier: Classifier, rows: datasets.Dataset) -> NDArray[np.float32]:
    """Logits in float32, shape (rows, classes), in the order of the rows and of the labels."""
    return collect(answers(classifier), rows)


def collect(
    answer: Answer, rows: datasets.Dataset, tick: Callable[[int], None] | None = None
) -> NDArray[np.float32]:
    """Ask for the logits of all rows, in batches of one length.

    Args:
        answer: See ``answers``.
        rows: Tokenized rows with a ``length`` column.
        tick: Told after each batch how many rows are done.

    Returns:
        Shape (rows, classes), in the order of the rows.
    """
    order = np.argsort(lengths_of(rows), kind="stable")
    chunks = []
    for start in range(0, len(order), EVALUATION_BATCH):
        chosen = rows.select(order[start : start + EVALUATION_BATCH])
        chunks.append(answer(chosen.to_list()))
        if tick:
            tick(start + len(chosen))
    logits = np.concatenate(chunks)
    unsorted = np.empty_like(logits)
    unsorted[order] = logits
    return unsorted


def answers(classifier: Classifier) -> Answer:
    """A classifier as a function from rows to logits in the order of the data's labels."""
    collate = Collator(classifier.tokenizer.pad_token_id)

    def answer(rows: Sequence[Row]) -> NDArray[np.float32]:
        inputs = model_inputs(collate(rows))
        device = classifier.model.device
        placed = {name: tensor.to(device) for name, tensor in inputs.items()}
        with torch.inference_mode():
            logits: NDArray[np.float32] = classifier.logits(placed).float().cpu().numpy()
        return logits

    return answer
