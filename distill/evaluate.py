"""How good, how large and how fast a classifier is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from augment.contract import TaskSpec
from distill.batching import Collator, model_inputs
from distill.metrics import chance, score
from distill.models import Classifier

EVALUATION_BATCH = 64
WARM_UP, REPEATS = 3, 15
MOST_SECONDS = 3.0

Scores = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds for one call on real rows, median after a warm-up, tokenising left out.

    Attributes:
        batch_1: One sentence; the median is over different sentences.
        batch_32: 32 sentences, padded to the longest.
        device: ``cpu`` or ``cuda``.
        threads: Threads that torch may use.
    """

    batch_1: float
    batch_32: float
    device: str
    threads: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One row of the result table.

    Attributes:
        model: What it is, such as ``student, distilled``.
        scores: Split to metric to value; validation splits are kept apart.
        parameters: In all.
        encoder_parameters: Without the embedding tables.
        latency: How fast it answers.
    """

    model: str
    scores: Scores
    parameters: int
    encoder_parameters: int
    latency: Latency


def measure(
    classifiers: Mapping[str, Classifier],
    task: TaskSpec,
    splits: Mapping[str, datasets.Dataset],
    *,
    known: Mapping[str, Scores] | None = None,
    own_splits: Mapping[str, Mapping[str, datasets.Dataset]] | None = None,
) -> list[Measured]:
    """Score, weigh and time classifiers on the same rows.

    Args:
        classifiers: Name in the table to classifier, in evaluation mode.
        task: Names the metrics.
        splits: Split name to tokenised, labelled rows.
        known: Scores that need not be computed again, by name.
        own_splits: The same rows for classifiers that split text in a way of their own, by name.

    Returns:
        One row for each classifier, in order.
    """
    read = {name: (own_splits or {}).get(name, splits) for name in classifiers}
    first = [next(iter(own.values())) for own in read.values()]
    latencies = time_answers(list(classifiers.values()), first)
    rows = []
    for (name, classifier), latency in zip(classifiers.items(), latencies, strict=True):
        scores = (known or {}).get(name) or evaluate(classifier, task, read[name])
        rows.append(Measured(name, scores, *parameter_counts(classifier.model), latency))
    return rows


def evaluate(
    classifier: Classifier, task: TaskSpec, splits: Mapping[str, datasets.Dataset]
) -> dict[str, dict[str, float]]:
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
    """Every metric of the task for answers to labelled rows.

    Args:
        logits: Shape (rows, classes), in the order of the rows and of the labels.
        rows: Gives the labels.
        task: Names the metrics.
    """
    answers = logits[:, 0] if task.label.kind == "regression" else logits.argmax(axis=-1)
    return score(task.metrics, answers, np.asarray(rows["labels"]), len(task.label.names))


def guessing(task: TaskSpec, rows: datasets.Dataset) -> float:
    """What the best constant answer scores by the selection metric."""
    return chance(task.selection_metric, np.asarray(rows["labels"]), len(task.label.names))


def predict(classifier: Classifier, rows: datasets.Dataset) -> NDArray[np.float32]:
    """Logits in float32, shape (rows, classes), in the order of the rows and of the labels."""
    order = np.argsort(np.asarray(rows["length"]), kind="stable")
    chunks = []
    for start in range(0, len(order), EVALUATION_BATCH):
        chosen = rows.select(order[start : start + EVALUATION_BATCH])
        chunks.append(_logits(classifier, chosen.to_list()))
    logits = np.concatenate(chunks)
    unsorted = np.empty_like(logits)
    unsorted[order] = logits
    return unsorted


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """Parameters in all, and without embedding tables (words, positions, segments)."""
    total = sum(weight.numel() for weight in model.parameters())
    tables = {
        id(module.weight): module.weight.numel()
        for module in model.modules()
        if isinstance(module, nn.Embedding)
    }
    return total, total - sum(tables.values())


def time_answers(
    classifiers: Sequence[Classifier], rows: Sequence[datasets.Dataset]
) -> list[Latency]:
    """Time single sentences and batches of 32.

    The models take turns, so that a busy moment of the machine falls on all of them.

    Args:
        classifiers: In evaluation mode.
        rows: The same rows for each classifier, as it splits them.
    """
    some = [own.select(range(min(32, len(own)))).to_list() for own in rows]
    singles = _medians_ms(classifiers, [[[row] for row in own] for own in some])
    full = [[own[index % len(own)] for index in range(32)] for own in some]
    batches = _medians_ms(classifiers, [[batch] for batch in full])
    return [
        Latency(single, many, classifier.model.device.type, torch.get_num_threads())
        for classifier, single, many in zip(classifiers, singles, batches, strict=True)
    ]


def _medians_ms(
    classifiers: Sequence[Classifier], batches: Sequence[Sequence[Sequence[dict[str, Any]]]]
) -> list[float]:
    """Median milliseconds of each classifier over its own batches."""
    seconds: list[list[float]] = [[] for _ in classifiers]
    began = time.perf_counter()
    for turn in range(WARM_UP + REPEATS):
        for classifier, own, measured in zip(classifiers, batches, seconds, strict=True):
            start = time.perf_counter()
            _logits(classifier, own[turn % len(own)])
            measured.append(time.perf_counter() - start)
        if turn >= 2 * WARM_UP and time.perf_counter() - began > MOST_SECONDS * len(classifiers):
            break
    return [1000 * statistics.median(measured[WARM_UP:]) for measured in seconds]


def _logits(classifier: Classifier, rows: Sequence[dict[str, Any]]) -> NDArray[np.float32]:
    pad = classifier.tokenizer.pad_token_id
    batch = {
        name: tensor.to(classifier.model.device)
        for name, tensor in model_inputs(Collator(pad)(rows)).items()
    }
    with torch.inference_mode():
        answer: NDArray[np.float32] = classifier.logits(batch).float().cpu().numpy()
    return answer
