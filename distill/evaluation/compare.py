"""Measure models on a version, outside of any run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from augment.contract import Version
from augment.contract.models import quiet_libraries
from augment.contract.version import open_checked
from distill.data.scratch import scratch
from distill.data.versions import (
    labeled,
    labeled_tests,
    tokenize_split,
    tokenize_tests,
    tokenize_validation,
)
from distill.errors import DataInvalid
from distill.evaluation.end_to_end import measure_on_threads, texts_of
from distill.evaluation.evaluate import measure
from distill.evaluation.pytorch import torch_backend
from distill.evaluation.results import EvaluationResult, Measurement
from distill.evaluation.target import EvaluationTarget, Splits
from distill.evaluation.verdicts import with_verdicts
from distill.models.loading import Classifier, open_classifier, own_length


def evaluate_models(
    models: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    version: Version | str | Path,
    *,
    split: str | None = None,
) -> EvaluationResult:
    """Score, weigh and time classifiers on the same rows.

    Args:
        models: A folder, run directory or hub name, or several.
        version: A version or a reference to one.
        split: A labeled split; all validation splits, and the test splits that have labels, each
            by itself, if left out.

    Raises:
        DataInvalid: The split has no labels.
        Fault: With a sentence that says what to do.

    Examples:
        >>> from distill import evaluate
        >>> evaluate(["models/teacher", "runs/reviews"], "data/versions/reviews").selection.metric
        'accuracy'
    """
    quiet_libraries()
    several = [models] if isinstance(models, str | os.PathLike) else models
    named, opened = [os.fspath(model) for model in several], open_checked(version)
    with scratch() as folder:
        targets, with_labels = [], () if split else labeled_tests(opened)
        for model, name in zip(named, _short(named), strict=True):
            classifier = open_classifier(model, opened.task)
            length = own_length(classifier, opened.task)
            splits = labeled_splits(opened, split, classifier, length, folder)
            tests = tokenize_tests(opened, with_labels, classifier.tokenizer, length, folder)
            targets.append(EvaluationTarget(name, classifier, splits, length, tests=tests))
        found = EvaluationResult.on(
            opened,
            {**targets[0].splits, **targets[0].tests},
            models=_with_times(measure(targets, opened.task), targets, opened),
            **({"tests": with_labels} if with_labels else {}),
        )
        return with_verdicts(found)


def _with_times(
    measured: Sequence[Measurement], targets: Sequence[EvaluationTarget], version: Version
) -> list[Measurement]:
    """The measurements with the time from raw texts to answers."""
    backends = [torch_backend(target.classifier, target.max_length) for target in targets]
    texts = texts_of(version, next(iter(targets[0].splits)))
    found = measure_on_threads(lambda _: backends, texts)
    return [
        one.model_copy(update={"end_to_end": times})
        for one, times in zip(measured, found, strict=True)
    ]


def labeled_splits(
    version: Version, split: str | None, classifier: Classifier, length: int, cache: Path
) -> Splits:
    """The labeled rows of a split, or of every validation split, in a classifier's tokens.

    Raises:
        DataInvalid: There are none.
    """
    settings = (classifier.tokenizer, length, cache)
    if split is None:
        return tokenize_validation(version, *settings)
    rows = labeled(tokenize_split(version, split, *settings), version.task, split)
    if not len(rows):
        raise DataInvalid(
            f"{version.reference}: split {split!r} has no labels to compare with.",
            f"Choose another: {', '.join(version.task.splits.validation)}.",
        )
    return {split: rows}


def _short(models: Sequence[str]) -> list[str]:
    """Folder names, where they tell the models apart."""
    names = [Path(model).name or model for model in models]
    return names if len(set(names)) == len(names) else list(models)
