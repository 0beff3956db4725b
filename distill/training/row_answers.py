"""Every model's answers to rows of the split that selects, for whoever reads a result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from augment.contract import Fault, Version
from distill.data.batching import evenly_spread
from distill.data.versions import texts_of_rows
from distill.evaluation.evaluate import predict
from distill.evaluation.target import EvaluationTarget
from distill.runs.answers import ModelAnswers, RowAnswers, most_rows, write_answers
from distill.training.context import TaskContext


def keep_answers(context: TaskContext, targets: Sequence[EvaluationTarget]) -> None:
    """Answer rows spread over the first validation split once more, and keep that with the run."""
    try:
        answers = answer_rows(context.version, targets)
    except Fault as gone:  # the version, since the run began
        context.narrator.say("notice", f"no answers by row are kept: {gone.problem}")
        return
    write_answers(context.run, answers)


def answer_rows(version: Version, targets: Sequence[EvaluationTarget]) -> RowAnswers:
    """Every model's logits of rows evenly spread over the first split.

    Raises:
        ContractError: The version is no longer what it was.
    """
    task, first = version.task, targets[0]
    split, total = next(iter(first.splits)), len(first.rows)
    at = evenly_spread(total, min(total, most_rows(len(task.label.names))))
    index = np.asarray(first.rows["idx"])[at]
    texts = texts_of_rows(version, split, index.tolist())
    models = {
        own.name: ModelAnswers(
            predict(own.classifier, own.rows.select(at)), own.classifier.calibration
        )
        for own in targets
    }
    labels = np.asarray(first.rows["labels"])[at]
    unknown = ("",) * len(task.text_columns)  # of a generated row, where a split has some
    shown = tuple(texts.get(i, unknown) for i in index.tolist())
    return RowAnswers(split, total, task.label.names, index, shown, labels, models)
